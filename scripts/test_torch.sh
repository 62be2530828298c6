#!/usr/bin/env bash
# Runs the building blocks' tests on the torch backend, in an environment of its own.
# Needs Python 3.10 or newer and PyPI. Arguments go to pytest.
#   TORCH        what to install, default: torch
#   TORCH_INDEX  an index to look in too, default: PyTorch's own, whose wheels have no CUDA
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$(mktemp -d)
trap 'rm -rf "$venv"' EXIT
"${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/pip" install --quiet "${TORCH:-torch}" \
    --extra-index-url "${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}"
"$venv/bin/pip" install --quiet -e '.[torch,test]'
KERAS_BACKEND=torch "$venv/bin/python" -m pytest tests/nn/quantizers tests/nn/layers \
    tests/nn/test_activations.py tests/nn/test_constraints.py tests/nn/test_latent_weights.py "$@"
