#!/bin/sh
# check_symbols.sh NM OBJECT...
# Objects of an instruction set must share no function with the rest of the program, as the linker
# keeps one copy and its instructions may be missing on this CPU; and run nothing at start-up.
nm=$1
shift
failed=0
for object in "$@"; do
    case $object in *available.cc*) continue ;; esac
    symbols=$("$nm" "$object") || exit 1
    found=$(printf '%s\n' "$symbols" | grep -E ' [WVu] |_GLOBAL__sub_I' ||
        printf '%s\n' "$symbols" | grep -E ' U ' | grep -vE ' (memset|memcpy|memmove)$')
    if [ -n "$found" ]; then
        printf '%s:\n%s\n' "$object" "$found"
        failed=1
    fi
done
exit $failed
