#!/usr/bin/env bash
# Compiles the native code for other systems: kernels, engine and kernel tests with zig, a Clang that brings
# the headers of all of them, and with MinGW's GCC where it is installed. The Python module is compiled too,
# with this Python's headers, but for Windows, whose headers differ (PYTHON_FOR_WINDOWS names a folder of
# them). What was made for Windows runs where Wine is installed. Needs Python 3.10 or newer and PyPI; Debian
# packages for the rest: g++-mingw-w64-x86-64-posix, wine. Arguments are targets of zig.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}

"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet nanobind ziglang
zig=$("$work/venv/bin/python" -c 'import ziglang; print(ziglang.__path__[0])')/zig
nanobind=$("$work/venv/bin/python" -m nanobind --include_dir)
export ZIG_GLOBAL_CACHE_DIR="$work/cache"

# compile NAME COMPILER...: makes $work/NAME/test_kernels.
compile() {
    local name=$1 include
    local -a options=(-std=c++17 -O1 -Wall -Wextra -Werror -I"$root/src")
    shift
    echo "== $name"
    mkdir "$work/$name"
    cd "$work/$name"
    include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    case $name in *windows*) include=${PYTHON_FOR_WINDOWS:-} ;; esac
    if [ -n "$include" ]; then
        for module in "$root/src/module.cc" "$root/src/data/module.cc"; do
            "$@" "${options[@]}" -isystem "$include" -isystem "$nanobind" -c "$module"
        done
    else
        echo "without the Python module"
    fi
    for source in "$root"/src/*.cc "$root"/src/data/*.cc; do
        case $source in */module.cc) ;; *) "$@" "${options[@]}" -c "$source" ;; esac
    done
    for source in "$root"/src/kernels/*.cc; do
        "$@" "${options[@]}" -c "$source" -o "kernel_$(basename "$source" .cc).o"
    done
    "$@" "${options[@]}" -o test_kernels.exe "$root"/tests/native/test_{kernels,steps}.cc \
        "$root"/tests/native/test_{binary,float,int8}_kernels.cc kernel_*.o
}

run_on_wine() {
    if command -v wine >/dev/null; then
        WINEDEBUG=-all WINEPREFIX="$work/wine" wine "$work/$1/test_kernels.exe"
    else
        echo "compiled only: there is no wine"
    fi
}

targets=("$@")
if [ $# = 0 ]; then
    targets=(x86_64-windows-gnu x86_64-macos aarch64-macos aarch64-linux-gnu.2.17)
fi
for target in "${targets[@]}"; do
    compile "$target" "$zig" c++ -target "$target"
    case $target in x86_64-windows*) run_on_wine "$target" ;; esac
done
# Compiled only: GCC aligns the stack to 16 bytes on Windows (its bug 54412), which crashes AVX code.
if command -v x86_64-w64-mingw32-g++-posix >/dev/null; then
    compile windows-mingw x86_64-w64-mingw32-g++-posix -static
fi
