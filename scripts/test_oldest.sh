#!/usr/bin/env bash
# Runs the tests with the oldest versions that pyproject.toml declares, in an environment of its
# own. Needs Python 3.11 and PyPI. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$(mktemp -d)
trap 'rm -rf "$venv"' EXIT
"${PYTHON:-python3.11}" -m venv "$venv"
"$venv/bin/pip" install --quiet --upgrade pip
"$venv/bin/pip" install --quiet -e '.[test]' \
    keras==3.12.4 tensorflow-cpu==2.16.1 jax==0.4.33 jaxlib==0.4.33 numpy==1.26.4 \
    click==8.1.7 matplotlib==3.8.0 Pillow==10.0.0 pooch==1.8.0 requests==2.31.0 rich==14.3.0 \
    onnx==1.16.1 onnxruntime==1.17.3 safetensors==0.4.3 tqdm==4.66.0 pyparsing==3.1.0
# Old packages warn of each other's deprecations; those are ignored here.
PATH="$venv/bin:$PATH" scripts/test_all.sh -W ignore::DeprecationWarning "$@"
