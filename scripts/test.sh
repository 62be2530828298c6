#!/usr/bin/env bash
# Runs every test on TensorFlow, and those that touch Keras again on JAX.
# Arguments go to pytest, as in: scripts/test.sh -k quicknet
set -euo pipefail
cd "$(dirname "$0")/.."
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-3}
KERAS_BACKEND=tensorflow python -m pytest "$@"
KERAS_BACKEND=jax python -m pytest tests/nn tests/architectures tests/test_loading.py "$@"
