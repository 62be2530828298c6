#!/usr/bin/env bash
# Tests the runtime from a wheel in an environment of its own that has neither Keras nor a backend. WHEEL
# names the wheel; without it, one is built, which needs a C++ compiler. Needs Python 3.10 or newer and
# PyPI. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$(mktemp -d)
trap 'rm -rf "$venv"' EXIT
"${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/pip" install --quiet "${WHEEL:-.}[test,lce]"
if "$venv/bin/python" -c "import keras" 2>/dev/null; then
    echo "Keras is installed: nothing would be shown." >&2
    exit 1
fi
PATH="$venv/bin:$PATH" scripts/test_installed.sh "$@"
