#!/usr/bin/env bash
# Runs the quick tests, two files at a time, to verify an installation: at most 10 minutes on two
# cores. Tests marked `slow` are skipped; scripts/test_all.sh runs them too. The backend is
# KERAS_BACKEND, by default TensorFlow. Arguments go to pytest, as in:
# scripts/test.sh -k quicknet
set -euo pipefail
cd "$(dirname "$0")/.."
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-3}
# Files go to workers in the order of tests/conftest.py, the longest first.
# One thread for each of the two: more of them wait for each other.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} TF_NUM_INTRAOP_THREADS=${TF_NUM_INTRAOP_THREADS:-1}
python -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@"
