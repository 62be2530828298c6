#!/usr/bin/env bash
# Tests files of Larq Compute Engine against its own interpreter, in a separate environment
# with Python 3.11 and packages of 2023, from PyPI. The tests run in the active
# environment, which needs bnnzoo[tensorflow,test]. Arguments go to pytest.
#
#   PYTHON311          the Python that makes the environment (default: python3.11)
#   BNNZOO_LCE_PYTHON  the Python of an existing environment
#   BNNZOO_LCE_FILES   folders with .tflite files to read as well, with colons between them
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${BNNZOO_LCE_PYTHON:-}" ]; then
    python311=${PYTHON311:-python3.11}
    if ! command -v "$python311" >/dev/null; then
        echo "Larq Compute Engine 0.16 needs Python 3.11, and there is no $python311." >&2
        exit 1
    fi
    venv=$(mktemp -d)
    trap 'rm -rf "$venv"' EXIT
    "$python311" -m venv "$venv"
    "$venv/bin/pip" install --quiet \
        tensorflow-cpu==2.15.1 larq==0.14.0 larq-zoo==2.4.0 larq-compute-engine==0.16.0
    export BNNZOO_LCE_PYTHON="$venv/bin/python"
fi
python -m pytest tests/formats/test_lce_peer.py "$@"
