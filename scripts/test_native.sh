#!/usr/bin/env bash
# Runs the native code under sanitizers: the tests of the kernels and of the thread pool, and
# tests/runtime and the gradients of tests/training with extensions that are built with
# AddressSanitizer and UndefinedBehaviorSanitizer.
# Needs g++ with its sanitizers, and the test environment's Python. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "== kernels and thread pool"
cmake -S tests/native -B "$work/native" -DSANITIZE=ON >"$work/cmake.log"
cmake --build "$work/native" -j 2 >"$work/build.log" || { tail -40 "$work/build.log"; exit 1; }
ctest --test-dir "$work/native" --no-tests=error --output-on-failure

echo "== engine"
cmake -S . -B "$work/engine" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DBNNZOO_SANITIZE=ON \
    -DPython_EXECUTABLE="$(command -v "$python")" >"$work/cmake.log"
cmake --build "$work/engine" -j 2 >"$work/build.log" || { tail -40 "$work/build.log"; exit 1; }
# A tree of its own, so that no other engine is found; without `site`, an editable install is not.
mkdir "$work/tree"
cp -r bnnzoo tests pyproject.toml weights_manifest.json "$work/tree"
rm -f "$work"/tree/bnnzoo/runtime/_engine.* "$work"/tree/bnnzoo/training/native/_network.*
cp "$work"/engine/_engine.* "$work/tree/bnnzoo/runtime"
cp "$work"/engine/_network.* "$work/tree/bnnzoo/training/native"
packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# The sanitizers must be loaded before Python; the C++ library too, for its exceptions.
preload=
for library in libasan.so libubsan.so libstdc++.so; do
    preload="$preload $(g++ -print-file-name="$library")"
done
cd "$work/tree"
# Python frees little at its end, so leaks cannot be told from it. Times and memory are not the
# engine's here, and processes that tests start have another engine.
LD_PRELOAD="$preload" ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
    PYTHONPATH="$work/tree:$packages" "$python" -S -m pytest -q tests/runtime \
    tests/training/native/test_gradients.py \
    --ignore tests/runtime/test_start_up.py --ignore tests/runtime/test_processes.py \
    --ignore tests/runtime/test_speed.py "$@"
