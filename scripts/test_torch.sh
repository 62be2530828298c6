#!/usr/bin/env bash
# Runs the building blocks' tests on the torch backend, and compares what is read of changed
# checkpoints with what PyTorch reads, in an environment of its own.
# Needs Python 3.10 or newer and PyPI. Arguments go to pytest. TORCH is what pip installs. PyPI's
# wheels bring CUDA (gigabytes); those without are on PyTorch's own index:
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu scripts/test_torch.sh
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$(mktemp -d)
trap 'rm -rf "$venv"' EXIT
"${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/pip" install --quiet "${TORCH:-torch==2.13.0}"
"$venv/bin/pip" install --quiet -e '.[torch,test]'
KERAS_BACKEND=torch "$venv/bin/python" -m pytest tests/nn/quantizers tests/nn/layers \
    tests/nn/test_activations.py tests/nn/test_constraints.py tests/nn/test_latent_weights.py "$@"
"$venv/bin/python" scripts/fuzz_packed.py --format torch --files 5000 --memory-mb 0
