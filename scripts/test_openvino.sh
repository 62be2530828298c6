#!/usr/bin/env bash
# Compares drawn networks with OpenVINO's CPU plugin, in an environment of its own. Needs Python 3.11
# or newer on x86-64, and PyPI. Arguments go to pytest. With GOLDENS=1 it makes the committed files
# and outputs of OpenVINO again instead.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$(mktemp -d)
trap 'rm -rf "$venv"' EXIT
"${PYTHON:-python3.11}" -m venv "$venv"
"$venv/bin/pip" install --quiet -e '.[test]' openvino==2026.4.1
if [ -n "${GOLDENS:-}" ]; then
    "$venv/bin/python" -m tests.data.make_openvino_goldens
    exit
fi
"$venv/bin/python" -m pytest -m "" tests/formats/test_openvino.py \
    tests/formats/test_openvino_peer.py "$@"
