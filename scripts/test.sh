#!/usr/bin/env bash
# Runs every test on TensorFlow, and those whose results depend on the backend again on JAX, two files
# at a time. Of the architectures these are the outputs: layers, names and shapes are the same on all.
# Arguments go to pytest, as in: scripts/test.sh -k quicknet
set -euo pipefail
cd "$(dirname "$0")/.."
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-3}
# One thread for each of the two: more of them wait for each other.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} TF_NUM_INTRAOP_THREADS=${TF_NUM_INTRAOP_THREADS:-1}
pytest="python -m pytest -n 2 --dist loadfile"
KERAS_BACKEND=tensorflow $pytest "$@"
KERAS_BACKEND=jax $pytest tests/nn tests/architectures/test_golden.py \
    tests/evaluation tests/publishing tests/test_loading.py tests/test_pretrained.py \
    tests/training/test_training_model.py \
    "tests/training/test_trainer.py::test_a_resumed_run_equals_an_uninterrupted_one[2-3-1]" "$@"
