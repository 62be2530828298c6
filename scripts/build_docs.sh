#!/usr/bin/env bash
# Builds the documentation into the given folder and fails on a broken link. Needs bnnzoo[docs].
set -euo pipefail
cd "$(dirname "$0")/.."
# Without --quiet: it hides the warnings that --strict counts.
NO_MKDOCS_2_WARNING=1 mkdocs build --strict --site-dir "$1"
