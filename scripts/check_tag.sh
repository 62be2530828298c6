#!/usr/bin/env bash
# Fails unless the given tag, such as v0.2.0, matches bnnzoo/version.py.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' bnnzoo/version.py)
if [ "$1" != "v$version" ]; then
    echo "The tag must be v$version, the version in bnnzoo/version.py, got $1." >&2
    exit 1
fi
