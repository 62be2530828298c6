"""Reads operators that change shapes: reshaping, padding and resizing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bnnzoo.formats.qonnx.reading import Array, Value
from bnnzoo.formats.qonnx.reading_operation import Operation
from bnnzoo.graph.resizing import between

__all__ = [
    "expand",
    "flatten",
    "pad",
    "reshape",
    "resize",
    "shape",
    "squeeze",
    "transpose",
    "unsqueeze",
]

_MAX_PIXELS = 2**16  # per side
_MAX_ADDED = 1021  # limited by the inputs of one concatenation


def shape(operation: Operation) -> Array:
    """Shape: a constant, since the batch is 1."""
    operation.operands(1, 1)
    lengths = operation.value().shape
    part = slice(operation.integer("start", 0), operation.integer("end", len(lengths)))
    return np.asarray(lengths[part], np.int64)


def transpose(operation: Operation) -> Value:
    """Transpose: another view of the same value."""
    operation.operands(1, 1)
    value = operation.value()
    perm = operation.integers("perm") or ()
    if not perm or perm[0] != 0 or sorted(perm) != list(range(len(value.shape))):
        raise operation.wrong(f"it must keep the batch and permute the other axes, got {perm}")
    return operation.reading.value(value.name, tuple(value.axes[axis - 1] for axis in perm[1:]))


def reshape(operation: Operation) -> Value:
    """Reshape: 0 keeps the size of an axis, and -1 infers it."""
    operation.operands(2, 2)
    value, wanted = operation.value(), operation.table(1)
    lengths = list(wanted)
    if not operation.integer("allowzero", 0):
        if any(n == 0 and place >= len(value.shape) for place, n in enumerate(lengths)):
            raise operation.wrong(f"{wanted} must keep only axes of {value.shape}")
        lengths = [value.shape[place] if n == 0 else n for place, n in enumerate(lengths)]
    if lengths.count(-1) == 1:
        known = math.prod(n for n in lengths if n != -1)
        lengths[lengths.index(-1)] = math.prod(value.shape) // known if known > 0 else 0
    return operation.reshaped(value, lengths)


def flatten(operation: Operation) -> Value:
    """Flatten to one row."""
    operation.operands(1, 1)
    value = operation.value()
    axis = operation.integer("axis", 1)
    rank = len(value.shape)
    axis = rank if axis == rank else operation.axis(axis, rank)
    rows = math.prod(value.shape[:axis])
    if rows > 1:
        raise operation.wrong(f"it must have one row, got {rows}")
    return operation.reshaped(value, (1, math.prod(value.shape)))


def squeeze(operation: Operation) -> Value:
    """Squeeze: removes axes of size 1."""
    operation.operands(1, 2)
    value = operation.value()
    axes = operation.setting("axes", 1, 13)
    rank = len(value.shape)
    if not axes:
        dropped = {axis for axis, n in enumerate(value.shape) if n == 1}
    else:
        dropped = {operation.axis(axis, rank) for axis in axes}
    if 0 in dropped or any(value.shape[axis] > 1 for axis in dropped):
        raise operation.wrong(
            "its axes must have size 1 and not be the batch, got "
            f"{sorted(dropped)} of {value.shape}"
        )
    return operation.reshaped(value, [n for i, n in enumerate(value.shape) if i not in dropped])


def unsqueeze(operation: Operation) -> Value:
    """Unsqueeze: inserts axes of size 1."""
    operation.operands(1, 2)
    value = operation.value()
    axes = operation.setting("axes", 1, 13) or ()
    rank = len(value.shape) + len(axes)
    new = {operation.axis(axis, rank) for axis in axes}
    if len(new) < len(axes) or 0 in new:
        raise operation.wrong(f"its axes must be distinct and not before the batch, got {axes}")
    lengths = iter(value.shape)
    return operation.reshaped(value, [1 if i in new else next(lengths) for i in range(rank)])


def expand(operation: Operation) -> Value:
    """Expand, only to the shape that a value already has."""
    operation.operands(2, 2)
    value, wanted = operation.value(), operation.table(1)
    try:
        fits = np.broadcast_shapes(value.shape, wanted) == value.shape
    except ValueError:
        fits = False
    if not fits:
        raise operation.wrong(f"it must keep the shape {value.shape}, got {wanted}")
    return value


def pad(operation: Operation) -> Value:
    """Pad with one number. Its settings were attributes before opset 11."""
    operation.operands(1, 4)
    operation.word("mode", "constant")
    value = operation.value()
    number = operation.number("value", 0.0) if operation.opset < 11 else operation.scalar(2, 0.0)
    pads = operation.setting("pads", 1, 11) or ()
    rank = len(value.shape)
    axes = list(range(rank))
    if operation.operand(3) is not None:
        axes = [operation.axis(axis, rank) for axis in operation.table(3)]
    if len(pads) != 2 * len(axes) or min(pads, default=0) < 0 or len(set(axes)) < len(axes):
        raise operation.wrong(f"pads must be two integers of at least 0 per axis, got {pads}")
    if not any(pads):
        return value
    pairs = zip(pads[: len(axes)], pads[len(axes) :], strict=True)
    sides = dict(zip(axes, pairs, strict=True))
    if rank != 4 or any(sides.get(0, ())):
        raise operation.wrong("it must pad images, and not the batch")
    rows, columns, channels = (sides.get(1 + value.axes.index(axis), (0, 0)) for axis in range(3))
    if any(channels):
        value = _more_channels(operation, value, channels, number)
    if any((*rows, *columns)):
        value = operation.add("pad", "pad", value, padding=(*rows, *columns), value=number)
    return value


def _more_channels(
    operation: Operation, value: Value, counts: Sequence[int], number: float
) -> Value:
    """Adds channels with one number before and after those of a value.

    They are copies of the value's own channels, clipped to that number.
    """
    channels = value.channels
    if sum(counts) > _MAX_ADDED * channels:
        raise operation.wrong(
            f"it must add at most {_MAX_ADDED * channels} channels, got {sum(counts)}"
        )
    filled = operation.add("filled", "clip", value, low=number, high=number)
    before, behind = (
        [filled] * (count // channels)
        + [
            operation.add("some", "slice", filled, axis=2, begin=0, size=count % channels)
            for _ in range(count % channels > 0)
        ]
        for count in counts
    )
    return operation.add("channels", "concat", *before, value, *behind, axis=2)


def resize(operation: Operation) -> Value:
    """Resize and Upsample of images, if they select the same pixels as the graph's operations."""
    operation.operands(1, 4)
    value = operation.map(operation.value())
    modes = ("nearest", "linear", "bilinear")
    mode = operation.word("mode", *modes)
    old = operation.kind == "Upsample" or operation.opset < 11
    before = value.type.shape[:2]
    after = _lengths(operation, value, old)
    if not 1 <= min(after) <= max(after) <= _MAX_PIXELS:
        raise operation.wrong(f"it must have 1 to {_MAX_PIXELS} pixels, got {after}")
    place = (
        "asymmetric"
        if old
        else operation.word(
            "coordinate_transformation_mode", "half_pixel", "pytorch_half_pixel", "asymmetric"
        )
    )
    if operation.integer("antialias", 0) or "axes" in operation.entry.attributes:
        raise operation.wrong("it must not have antialias or axes")
    if mode != "nearest":
        halves = place == "half_pixel" or (place == "pytorch_half_pixel" and min(after) > 1)
        if not halves and tuple(after) != tuple(before):
            raise operation.wrong(f"linear must be combined with half_pixel, got {place}")
        return operation.add("resized", "bilinear_resize2d", value, pixels=after)
    rounding = (
        "floor"
        if old
        else operation.word(
            "nearest_mode", "round_prefer_floor", "round_prefer_ceil", "floor", "ceil"
        )
    )
    for n, m in zip(before, after, strict=True):
        ours, _, _ = between("nearest_resize2d", n, m)
        if not np.array_equal(_nearest(n, m, place, rounding), ours):
            raise operation.wrong(
                f"{place} and {rounding} must select the same pixels as half-pixel centers for {n} "
                f"to {m} pixels"
            )
    return operation.add("resized", "nearest_resize2d", value, pixels=after)


def _lengths(operation: Operation, value: Value, old: bool) -> tuple[int, ...]:
    """Returns the rows and columns of the result, from its size or from scale factors."""
    if not old and operation.operand(3) is not None:
        wanted = operation.table(3)
        if len(wanted) != 4 or wanted[:2] != value.shape[:2]:
            raise operation.wrong(f"it must keep batch and channels, got {wanted}")
        return wanted[2:]
    factors = operation.whole(1 if old else 2).astype(np.float64)
    if factors.shape != (4,):
        raise operation.wrong(f"it must have 4 factors, got shape {factors.shape}")
    if (factors[:2] != 1).any():
        raise operation.wrong(f"it must keep batch and channels, got {factors.tolist()}")
    lengths = factors[2:] * value.shape[2:]
    if (lengths != np.rint(lengths)).any():
        raise operation.wrong(f"its factors must give whole pixels, got {factors.tolist()}")
    return tuple(int(n) for n in np.clip(lengths, 0, 2**20))


def _nearest(before: int, after: int, place: str, rounding: str) -> Array:
    """Returns the pixels that ONNX selects."""
    at = np.arange(after) + (0.0 if place == "asymmetric" else 0.5)
    at = at * before / after - (0.0 if place == "asymmetric" else 0.5)
    if place == "pytorch_half_pixel" and after == 1:
        at = np.zeros(1)
    at = at + {"round_prefer_floor": -0.5, "round_prefer_ceil": 0.5}.get(rounding, 0.0)
    taken = np.ceil(at) if rounding in ("ceil", "round_prefer_floor") else np.floor(at)
    return np.asarray(np.clip(taken, 0, before - 1), np.int64)
