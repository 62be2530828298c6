#!/usr/bin/env bash
# Builds the source distribution in dist/, and a wheel from it in an isolated environment, to check that
# no file is missing. Needs a C++ compiler, Python 3.10 or newer and PyPI.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet build
rm -f dist/bnnzoo-*.tar.gz
"$work/venv/bin/python" -m build --sdist
"$work/venv/bin/pip" wheel --quiet --no-deps --wheel-dir "$work" dist/bnnzoo-*.tar.gz
ls -l dist/bnnzoo-*.tar.gz "$work"/bnnzoo-*.whl
