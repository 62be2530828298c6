"""Reads operators that select or repeat parts of a value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from bnnzoo.formats.qonnx.reading import Value
from bnnzoo.formats.qonnx.reading_operation import Operation
from bnnzoo.graph.resizing import between

__all__ = ["gather", "slice_", "split", "tile"]

_MAX_CONCATENATED = 1024


def slice_(operation: Operation) -> Value:
    """Slice. Its ranges were attributes before opset 10. Steps along pixels become a pooling."""
    operation.operands(1, 5)
    value = operation.value()
    rank = len(value.shape)
    names = ("starts", "ends", "axes", "steps")
    starts, ends, axes, steps = (
        operation.setting(name, place, 10) for place, name in enumerate(names, 1)
    )
    if starts is None or ends is None or len(starts) != len(ends):
        raise operation.wrong("it must have the same number of starts and ends")
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    if not len(axes) == len(steps) == len(starts) or len(set(axes)) < len(axes):
        raise operation.wrong("it must have an axis and a step for each start")
    strides = [1, 1]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        axis = operation.axis(axis, rank)
        if step < 1:
            raise operation.wrong(f"its steps must be at least 1, got {step}")
        first, last, _ = slice(start, end, 1).indices(value.shape[axis])
        if axis == 0 and (first, last) != (0, 1):
            raise operation.wrong("it must keep the batch")
        if axis > 0:
            spatial = _is_spatial(value, axis)
            places = range(first, last, 1 if spatial else step)
            value = _taken(operation, value, axis, places)
            if spatial:
                strides[value.axes[axis - 1]] = step
    if max(strides) == 1:
        return value
    return operation.add(
        "steps", "max_pool2d", value, pool=(1, 1), strides=tuple(strides), padding=(0,) * 4
    )


def _is_spatial(value: Value, axis: int) -> bool:
    """Returns whether an axis of a tensor is the rows or columns of an image."""
    return len(value.axes) == 3 and value.axes[axis - 1] < 2


def _range(operation: Operation, value: Value, axis: int, begin: int, size: int) -> Value:
    if size == value.shape[axis]:
        return value
    return operation.add("range", "slice", value, axis=value.axes[axis - 1], begin=begin, size=size)


def split(operation: Operation) -> tuple[Value, ...]:
    """Split along an axis other than the batch, evenly if no sizes are given."""
    operation.operands(1, 2)
    value = operation.value()
    axis = operation.axis(operation.integer("axis", 0), len(value.shape))
    if axis == 0:
        raise operation.wrong("it must keep the batch")
    length, count = value.shape[axis], operation.results
    sizes = operation.setting("split", 1, 13)
    if sizes is None:
        each = -(-length // count)
        sizes = (each,) * (count - 1) + (length - each * (count - 1),)
    if len(sizes) != count or sum(sizes) != length or min(sizes) < 1:
        raise operation.wrong(f"its {count} parts must add up to {length}, got {sizes}")
    begins = np.cumsum((0, *sizes)).tolist()
    return tuple(
        _range(operation, value, axis, begin, size)
        for begin, size in zip(begins, sizes, strict=False)
    )


def gather(operation: Operation) -> Value:
    """Gather: one element of an axis, or several in any order."""
    operation.operands(2, 2)
    value, indices = operation.value(), operation.constant(1)
    axis = operation.axis(operation.integer("axis", 0), len(value.shape))
    length = value.shape[axis]
    if axis == 0 or indices.dtype.kind not in "iu" or indices.ndim > 1 or indices.size == 0:
        raise operation.wrong("its indices must be a scalar or a list, and its axis not the batch")
    operation.reading.spend(indices.size)
    if indices.min() < -length or indices.max() >= length:
        raise operation.wrong(f"its indices must be {-length} to {length - 1}")
    places = (indices.astype(np.int64) % length).reshape(-1).tolist()
    if indices.ndim == 0:
        one = _range(operation, value, axis, places[0], 1)
        return operation.reshaped(one, value.shape[:axis] + value.shape[axis + 1 :])
    if _is_spatial(value, axis) and len(places) > length == len(set(places)):
        if places != _nearest(length, len(places)):
            raise operation.wrong("repeated pixels must be those of a nearest-neighbour resize")
        pixels = list(value.type.shape[:2])
        pixels[value.axes[axis - 1]] = len(places)
        return operation.add("repeated", "nearest_resize2d", value, pixels=tuple(pixels))
    return _taken(operation, value, axis, places)


def _taken(operation: Operation, value: Value, axis: int, places: Sequence[int]) -> Value:
    """Returns elements of an axis as concatenated ranges."""
    # Consecutive places have the same difference from their index.
    runs = [
        [place for _, place in run]
        for _, run in groupby(enumerate(places), lambda pair: pair[1] - pair[0])
    ]
    if len(runs) > _MAX_CONCATENATED:
        raise operation.wrong(f"it must select at most {_MAX_CONCATENATED} ranges, got {len(runs)}")
    if not runs:
        raise operation.wrong(f"its range of axis {axis} must not be empty")
    parts = [_range(operation, value, axis, run[0], len(run)) for run in runs]
    if len(parts) == 1:
        return parts[0]
    return operation.add("taken", "concat", *parts, axis=value.axes[axis - 1])


def tile(operation: Operation) -> Value:
    """Tile: repeats a value along axes other than the batch."""
    operation.operands(2, 2)
    value, counts = operation.value(), operation.table(1)
    if len(counts) != len(value.shape) or counts[0] != 1 or min(counts) < 1:
        raise operation.wrong(f"its repeats must be 1 for the batch and at least 1, got {counts}")
    if math.prod(counts) > _MAX_CONCATENATED:
        raise operation.wrong(f"it must make at most {_MAX_CONCATENATED} copies, got {counts}")
    for axis, count in enumerate(counts):
        if count > 1:
            copies = [value] * count
            value = operation.add("tiled", "concat", *copies, axis=value.axes[axis - 1])
    return value


def _nearest(before: int, after: int) -> list[int]:
    places: list[int] = between("nearest_resize2d", before, after)[0].tolist()
    return places
