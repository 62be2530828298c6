#!/usr/bin/env bash
# Builds the kernel tests for aarch64 and runs them under qemu. This checks that the NEON and portable
# kernels are correct, not their speed. Debian packages: g++-aarch64-linux-gnu,
# qemu-user-static (or qemu-user), cmake.
set -euo pipefail
cd "$(dirname "$0")/.."

compiler=aarch64-linux-gnu-g++
emulator=$(command -v qemu-aarch64-static || command -v qemu-aarch64 || true)
if [ -z "$emulator" ] || ! command -v "$compiler" >/dev/null; then
    echo "needs: apt-get install cmake g++-aarch64-linux-gnu qemu-user-static" >&2
    exit 1
fi

cmake -S tests/native -B build/aarch64 \
    -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
    -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_EXE_LINKER_FLAGS=-static \
    -DCMAKE_CROSSCOMPILING_EMULATOR="$emulator" "$@"
cmake --build build/aarch64 --target test_kernels
ctest --test-dir build/aarch64 -R test_kernels --no-tests=error --verbose
