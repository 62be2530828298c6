"""Reads operators that return a part of a value."""

from __future__ import annotations

from collections.abc import Sequence

from bnnzoo.formats.lce.reading import Operation, Value

__all__ = ["RESULT", "slice_", "split", "strided_slice"]

# Option with the index of the result: an operator with several results is read once for each.
RESULT = "result"


def slice_(operation: Operation) -> Value:
    """SLICE: a range of each axis."""
    operation.operands(3, 3)
    value = operation.value(0)
    axes = len(value.type.shape) + 1
    begins, sizes = operation.table(1, (axes,)), operation.table(2, (axes,))
    lengths = (operation.reading.batch, *value.type.shape)
    sizes = [
        length - begin if size == -1 else size
        for begin, size, length in zip(begins, sizes, lengths, strict=True)
    ]
    return _ranges(operation, value, begins, sizes)


def strided_slice(operation: Operation) -> Value:
    """STRIDED_SLICE with steps of 1. A set bit of a mask selects the begin or end of its axis."""
    operation.operands(4, 4)
    value = operation.value(0)
    lengths = (operation.reading.batch, *value.type.shape)
    begins, ends, strides = (operation.table(place, (len(lengths),)) for place in (1, 2, 3))
    for mask in ("ellipsisMask", "newAxisMask", "shrinkAxisMask"):
        operation.option(mask, most=0)
    if any(stride != 1 for stride in strides):
        raise operation.wrong(f"its steps must be 1, got {tuple(strides)}")
    masks = (operation.option(name) for name in ("beginMask", "endMask"))
    first, last = (
        [default if mask >> axis & 1 else _end(places[axis], length)
         for axis, (length, default) in enumerate(zip(lengths, defaults, strict=True))]
        for mask, places, defaults in zip(
            masks, (begins, ends), ([0] * len(lengths), lengths), strict=True
        )
    )  # fmt: skip
    return _ranges(operation, value, first, [b - a for a, b in zip(first, last, strict=True)])


def split(operation: Operation) -> Value:
    """SPLIT: one of its results, a part of an evenly divided axis."""
    operation.operands(2, 2)
    value = operation.value(1)
    lengths = (operation.reading.batch, *value.type.shape)
    axis, count = operation.constant(0, "integers"), operation.option("numSplits", least=1)
    if axis.size != 1 or not -len(lengths) <= axis.item() < len(lengths):
        raise operation.wrong(f"its axis must be within {len(lengths)}, got {axis.tolist()}")
    place, at = operation.option(RESULT), axis.item() % len(lengths)
    if place >= count or lengths[at] % count:
        raise operation.wrong(f"it must divide {lengths[at]} into {count} results")
    begins, sizes = [0] * len(lengths), list(lengths)
    sizes[at] //= count
    begins[at] = place * sizes[at]
    return _ranges(operation, value, begins, sizes)


def _end(place: int, length: int) -> int:
    """Returns an index on an axis; a negative one counts from the end."""
    return min(max(place + length if place < 0 else place, 0), length)


def _ranges(
    operation: Operation, value: Value, begins: Sequence[int], sizes: Sequence[int]
) -> Value:
    if begins[0] != 0 or sizes[0] != operation.reading.batch:
        raise operation.wrong("it must keep the batch")
    last = len(value.type.shape) - 1
    for axis, (begin, size) in enumerate(zip(begins[1:], sizes[1:], strict=True)):
        length = value.type.shape[axis]
        if begin < 0 or size < 1:
            raise operation.wrong(f"{begin} + {size} must be at most {length}")
        if (begin, size) != (0, length) or axis == last:
            value = operation.add(f"axis{axis}", "slice", value, axis=axis, begin=begin, size=size)
    return value
