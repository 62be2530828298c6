#!/usr/bin/env bash
# Checks format, lint, types and documentation. Needs bnnzoo[check].
set -euo pipefail
cd "$(dirname "$0")/.."
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT

echo "== lint"
ruff check .
ruff format --check .
find src tests/native -name '*.cc' -o -name '*.h' -o -name '*.inc' | xargs clang-format --dry-run -Werror
echo "== types"
mypy
mypy --strict tests/typing/user_script.py
basedpyright --level error
echo "== documentation"
scripts/build_docs.sh "$site"
