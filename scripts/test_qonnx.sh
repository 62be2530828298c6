#!/usr/bin/env bash
# Compares our QONNX files with the package qonnx, and imports one into hls4ml, in an environment of
# its own. Needs Python 3.11 or newer and PyPI. Arguments go to pytest. With
# GOLDENS=1 it makes the committed outputs and costs of the package qonnx again instead.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$(mktemp -d)
trap 'rm -rf "$venv"' EXIT
"${PYTHON:-python3.11}" -m venv "$venv"
# Newer versions of onnx write files that ONNX Runtime cannot read yet.
"$venv/bin/pip" install --quiet -e '.[jax,test]' qonnx==1.0.0 'onnx<1.22' hls4ml==1.3.0
export KERAS_BACKEND=jax
if [ -n "${GOLDENS:-}" ]; then
    "$venv/bin/python" -m tests.data.make_qonnx_goldens
    exit
fi
# Deprecations in the other packages are ignored here.
"$venv/bin/python" -m pytest -m "" -W ignore::DeprecationWarning tests/formats/test_qonnx.py \
    tests/formats/test_qonnx_peer.py "$@"
