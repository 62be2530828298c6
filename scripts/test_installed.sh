#!/usr/bin/env bash
# Tests the runtime of the installed bnnzoo, outside the source tree, so that only the installed package is
# imported. Needs bnnzoo[test]. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp -r docs examples pyproject.toml scripts tests "$folder"
cd "$folder"
python -m pytest -n 2 tests/runtime tests/formats tests/graph/passes \
    tests/graph/test_ops.py tests/graph/test_interpreter.py "$@"
