#!/usr/bin/env bash
# Tests the runtime from a wheel in an environment of its own that has neither Keras nor a backend.
# Needs a C++ compiler, Python 3.10 or newer and PyPI. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet '.[test,lce]'
if "$folder/venv/bin/python" -c "import keras" 2>/dev/null; then
    echo "Keras is installed: nothing would be shown." >&2
    exit 1
fi
# Away from the source tree, so that the installed package is the one that is imported.
cp -r docs examples pyproject.toml scripts tests "$folder"
cd "$folder"
venv/bin/python -m pytest -n 2 tests/runtime tests/formats tests/graph/passes \
    tests/graph/test_ops.py tests/graph/test_interpreter.py "$@"
