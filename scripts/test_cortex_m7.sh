#!/usr/bin/env bash
# Builds the compact Fashion-MNIST network for a Cortex-M7 and runs it in an emulator: its self-test
# must pass, and 20 real images must classify as on this machine. Speed is not measured.
# Debian packages: gcc-arm-none-eabi (with libnewlib-arm-none-eabi), qemu-system-arm, make. Needs an
# installed bnnzoo, or the tree on PYTHONPATH.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for tool in arm-none-eabi-gcc qemu-system-arm make; do
    if ! command -v "$tool" >/dev/null; then
        echo "needs $tool: apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm make" >&2
        exit 1
    fi
done

cp examples/microcontroller/* "$work"
packed=$(echo bnnzoo/pretrained/binarynet.fashion_mnist_small*.safetensors)
"$python" -m bnnzoo convert "$packed" "$work/model" --format c
"$python" examples/microcontroller/make_images.py "$packed" 20 >"$work/images.h"
cd "$work"
make --silent
timeout 300 make --silent run
