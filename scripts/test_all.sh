#!/usr/bin/env bash
# Runs every test on TensorFlow, and those whose results depend on the backend on JAX as well: at
# most 18 minutes on two cores. For architectures, only the outputs are tested again: layers, names
# and shapes are the same on both. Tests marked `long` are skipped. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
KERAS_BACKEND=tensorflow scripts/test.sh -m "not long and not network" "$@"
KERAS_BACKEND=jax scripts/test.sh -m "not long and not network" \
    tests/nn tests/architectures/test_golden.py tests/architectures/test_authors.py \
    tests/evaluation tests/publishing tests/test_loading.py tests/test_pretrained.py \
    tests/training/test_training_model.py \
    "tests/training/test_trainer.py::test_a_resumed_run_equals_an_uninterrupted_one[2-3-1]" "$@"
