#!/usr/bin/env bash
# Builds the documentation's pages into the folder that is given, and fails on a broken link. Needs
# bnnzoo[docs].
set -euo pipefail
cd "$(dirname "$0")/.."
# Without --quiet, which would hide from --strict what it counts.
NO_MKDOCS_2_WARNING=1 mkdocs build --strict --site-dir "$1"
