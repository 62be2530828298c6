"""Reads the remaining operators, and lists all of them in a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.formats.lce.model_file import ABSENT, PADDING
from bnnzoo.formats.lce.reading import Condition, Constant, Operation, Value
from bnnzoo.formats.lce.reading_conditions import (
    compare,
    per_channel,
    round_levels,
    select,
)
from bnnzoo.formats.lce.reading_convolutions import (
    activated,
    bconv2d,
    conv2d,
    depthwise_conv2d,
    fully_connected,
    map_shape,
)
from bnnzoo.formats.lce.reading_ranges import slice_, split, strided_slice
from bnnzoo.formats.lce.resizing import nearest_pixels
from bnnzoo.graph.resizing import between
from bnnzoo.graph.windows import padding_of

__all__ = ["READ"]

Array = NDArray[Any]

_MAX_CONCATENATED = 1024


def _simple(op: str, operation: Operation, **attributes: Any) -> Value:
    operation.operands(1, 1)
    return operation.add(op, op, operation.value(0), **attributes)


def _same(operation: Operation) -> Value:
    """QUANTIZE and DEQUANTIZE: the real numbers do not change."""
    operation.operands(1, 1)
    return operation.value(0)


def _dequantize(operation: Operation) -> Value:
    operation.operands(1, 1)
    return operation.add("numbers", "dequantize", operation.value(0, "bits"))


def _softmax(operation: Operation) -> Value:
    if operation.number("beta") != 1:
        raise operation.wrong(f"beta must be 1, got {operation.number('beta')}")
    return _simple("softmax", operation)


def _clip(low: float, high: float, operation: Operation) -> Value:
    return _simple("clip", operation, low=low, high=high)


def _prelu(operation: Operation) -> Value:
    operation.operands(2, 2)
    value = operation.value(0)
    return _sloped(operation, value, *per_channel(operation, 1, value))


def _sloped(operation: Operation, value: Value, place: int, alpha: Array) -> Value:
    return operation.add("prelu", "prelu", value, tensors={"alpha": (place, alpha)})


def _leaky(slope: float | None, operation: Operation) -> Value:
    """LEAKY_RELU, and ABS, which has a negative slope of -1."""
    operation.operands(1, 1)
    value = operation.value(0)
    slope = operation.number("alpha") if slope is None else slope
    alpha = np.full(value.type.shape[-1], slope, np.float32)
    return _sloped(operation, value, ABSENT, alpha)


def _hard_swish(operation: Operation) -> Value:
    """HARD_SWISH: x * min(max(x + 3, 0), 6) / 6."""
    operation.operands(1, 1)
    value = operation.value(0)
    channels = value.type.shape[-1]
    three, sixth = (np.full(channels, n, np.float32) for n in (3, 1 / 6))
    gate = operation.add("plus3", "affine", value, tensors={"bias": (ABSENT, three)})
    gate = operation.add("relu6", "clip", gate, low=0.0, high=6.0)
    product = operation.add("product", "multiply", value, gate)
    return operation.add("sixth", "affine", product, tensors={"scale": (ABSENT, sixth)})


def _zero(operation: Operation) -> Constant:
    """Returns 0, which broadcasts to any shape."""
    return Constant(np.zeros((1,) * len(operation.target.shape), np.float32), "real")


def _two(op: str, operation: Operation) -> Value | Constant:
    """ADD, SUB and MUL of two values, or of a value and a constant.

    A value minus itself is 0. Straight-through estimators leave such nodes.
    """
    operation.operands(2, 2)
    if op == "subtract" and operation.same(0, 1):
        return _zero(operation)
    constants = [isinstance(operation.operand(place), Constant) for place in (0, 1)]
    if any(constants):
        result = _with_vector(op, operation, place=constants.index(True))
    else:
        first, second = operation.value(0), operation.value(1)
        axes = max(len(first.type.shape), len(second.type.shape))
        result = operation.add(
            op, op, _widened(operation, first, axes), _widened(operation, second, axes)
        )
    if isinstance(result, Constant):
        return result
    return activated(operation, result, "fusedActivationFunction")


def _widened(operation: Operation, value: Value, axes: int) -> Value:
    """Adds leading axes to a value until it has `axes`."""
    missing = axes - len(value.type.shape)
    if not missing:
        return value
    return operation.add("widened", "reshape", value, shape=(1,) * missing + value.type.shape)


def _with_vector(op: str, operation: Operation, place: int) -> Value | Constant:
    value = operation.value(1 - place)
    whole = _of_all(operation, place, value)
    if whole is not None:
        source = operation.add("flat", "reshape", value, shape=whole.shape)
        shared, vector = ABSENT, whole
    else:
        source, (shared, vector) = value, per_channel(operation, place, value)
    if not vector.any() and (op != "subtract" or place == 1):
        return _zero(operation) if op == "multiply" else value
    tensors: dict[str, Any] = {}
    if op == "multiply":
        tensors["scale"] = (shared, vector)
    elif op == "add":
        tensors["bias"] = (shared, vector)
    elif place == 1:
        tensors["bias"] = (ABSENT, -vector)
    else:
        tensors = {"scale": (ABSENT, np.full_like(vector, -1)), "bias": (shared, vector)}
    result = operation.add("affine", "affine", source, tensors=tensors)
    if whole is None:
        return result
    return operation.add("whole", "reshape", result, shape=value.type.shape)


def _of_all(operation: Operation, place: int, value: Value) -> Array | None:
    """Returns a constant as one number per element, or None if it is per channel or misfits."""
    array, shape = operation.constant(place), (1, *value.type.shape)
    lengths = (1,) * (len(shape) - array.ndim) + array.shape
    fits = len(lengths) == len(shape) and all(
        n in (1, m) for n, m in zip(lengths, shape, strict=True)
    )
    if not fits or array.size == lengths[-1]:
        return None
    operation.reading.spend(4 * math.prod(shape))
    return np.broadcast_to(array.reshape(lengths), shape).reshape(-1).astype(np.float32)


def _bound(kind: str, operation: Operation) -> Value:
    """MINIMUM and MAXIMUM of a value and one number."""
    operation.operands(2, 2)
    place = 0 if isinstance(operation.operand(0), Constant) else 1
    array = operation.constant(place)
    if array.size != 1:
        raise operation.wrong(f"input {place} must be one number, got {array.shape}")
    bound, value = float(array.reshape(())), operation.value(1 - place)
    low, high = (bound, math.inf) if kind == "low" else (-math.inf, bound)
    return operation.add("clip", "clip", value, low=low, high=high)


def _pool(op: str, operation: Operation) -> Value:
    operation.operands(1, 1)
    value = operation.value(0)
    names = ("filterHeight", "filterWidth", "strideH", "strideW")
    pooled = operation.add("pool", op, value, **_window(operation, value, names))
    return activated(operation, pooled, "fusedActivationFunction")


def _bmax_pool2d(operation: Operation) -> Value:
    operation.operands(1, 1)
    value = operation.value(0, "bits")
    names = ("filter_height", "filter_width", "stride_height", "stride_width")
    return operation.add("pool", "bmax_pool2d", value, **_window(operation, value, names))


def _window(operation: Operation, value: Value, names: tuple[str, ...]) -> dict[str, Any]:
    sizes = tuple(operation.option(name, least=1) for name in names)
    pool, strides = sizes[:2], sizes[2:]
    rule = list(PADDING)[operation.option("padding", most=1)]
    padding = padding_of(rule, map_shape(operation, value)[:2], pool, strides)
    return {"pool": pool, "strides": strides, "padding": padding}


def _global_pool(op: str, operation: Operation) -> Value:
    """MEAN and REDUCE_MAX over all pixels."""
    operation.operands(2, 2)
    value = operation.value(0)
    axes = {axis % 4 if -4 <= axis < 4 else axis for axis in operation.table(1, (-1,))}
    if axes != {1, 2}:
        raise operation.wrong(f"its axes must be height and width, (1, 2), got {sorted(axes)}")
    channels = map_shape(operation, value)[2]
    pooled = operation.add("pool", op, value)
    if operation.option("keepDims", most=1):
        return operation.add("kept", "reshape", pooled, shape=(1, 1, channels))
    return pooled


def _concat(operation: Operation) -> Value:
    count = operation.operands(1, _MAX_CONCATENATED)
    values = [operation.value(place) for place in range(count)]
    axes = len(values[0].type.shape) + 1
    axis = operation.option("axis", least=-axes, most=axes - 1) % axes
    if axis == 0:
        raise operation.wrong("its axis must not be the batch")
    joined = operation.add("concat", "concat", *values, axis=axis - 1)
    return activated(operation, joined, "fusedActivationFunction")


def _reshape(operation: Operation) -> Value:
    """RESHAPE, SQUEEZE and EXPAND_DIMS: defined by the shape of the result."""
    operation.operands(1, 2)
    source, shape = operation.operand(0), operation.target.shape
    if not isinstance(source, Value):
        raise operation.wrong("input 0 must be computed before it")
    batch = operation.reading.batch
    if len(shape) < 2 or shape[0] != batch or not all(shape):
        raise operation.wrong(f"its result must be a batch of {batch}, got {shape}")
    if operation.kind == "RESHAPE" and operation.operand(1) is not None:
        wanted = operation.table(1, (len(shape),))
        if any(n not in (-1, m) for n, m in zip(wanted, shape, strict=True)):
            raise operation.wrong(f"its result must be {tuple(wanted)}, got {shape}")
    bits = source.type.kind == "bits"
    shape = operation.reshaped_bits(source) if bits else shape[1:]
    return operation.add("reshape", "reshape", source, shape=shape)


def _pad(operation: Operation) -> Value:
    count = operation.operands(2, 3)
    value = operation.value(0)
    map_shape(operation, value)
    (first, (top, bottom), (left, right), last) = operation.table(1, (4, 2))
    sides = (top, bottom, left, right)
    if any(first) or min(*sides, *last) < 0:
        raise operation.wrong("it must pad height, width and channels only")
    number = 0.0
    if count == 3:
        constant = operation.constant(2)
        if constant.size != 1:
            raise operation.wrong(f"input 2 must be one number, got {constant.shape}")
        number = float(constant.reshape(()))
    if any(last):
        value = _more_channels(operation, value, last, number)
    if any(sides) or not any(last):
        value = operation.add("pad", "pad", value, padding=sides, value=number)
    return value


def _more_channels(
    operation: Operation, value: Value, counts: Sequence[int], number: float
) -> Value:
    """Adds channels of one number before and after those of a value.

    They are copies of the value's own channels, clipped to that number.
    """
    channels = value.type.shape[-1]
    most = (_MAX_CONCATENATED - 3) * channels
    if sum(counts) > most:
        raise operation.wrong(f"it must add at most {most} channels, got {sum(counts)}")
    filled = operation.add("filled", "clip", value, low=number, high=number)
    before, behind = (
        [filled] * (count // channels)
        + [
            operation.add(f"some{side}", "slice", filled, axis=2, begin=0, size=count % channels)
            for _ in range(count % channels > 0)
        ]
        for side, count in enumerate(counts)
    )
    return operation.add("channels", "concat", *before, value, *behind, axis=2)


def _resize(op: str, operation: Operation) -> Value:
    """RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR with half-pixel centres, or the same pixels."""
    operation.operands(2, 2)
    value = operation.value(0)
    pixels = tuple(operation.table(1, (2,)))
    centres = bool(operation.option("halfPixelCenters", most=1))
    nearest = op == "nearest_resize2d"
    if min(pixels) < 1:
        raise operation.wrong(f"its result must have at least 1 pixel, got {pixels}")
    if operation.option("alignCorners", most=1) or not (centres or nearest):
        raise operation.wrong("it must have half-pixel centres and no aligned corners")
    resized = operation.add("resized", op, value, pixels=pixels)
    for before, after in zip(map_shape(operation, value), pixels, strict=False):
        theirs = nearest_pixels(before, after, half_pixel_centers=centres)
        if nearest and not np.array_equal(between(op, before, after)[0], theirs):
            raise operation.wrong(
                f"it must select the nearest pixels for {before} to {after} pixels"
            )
    return resized


def _shape(operation: Operation) -> Constant:
    """SHAPE: a constant, since the batch size is known."""
    operation.operands(1, 1)
    value = operation.operand(0)
    if not isinstance(value, Value):
        raise operation.wrong("input 0 must depend on the network's input")
    return Constant(np.asarray((operation.reading.batch, *value.type.shape), np.int64), "integers")


def _transpose(operation: Operation) -> Value:
    operation.operands(2, 2)
    value = operation.value(0)
    first, *rest = operation.table(1, (len(value.type.shape) + 1,))
    if first != 0 or sorted(rest) != list(range(1, len(rest) + 1)):
        raise operation.wrong(f"it must keep the batch, got {(first, *rest)}")
    return operation.add("permute", "permute", value, axes=tuple(axis - 1 for axis in rest))


READ: dict[str, Callable[[Operation], Value | Constant | Condition]] = {
    "ABS": partial(_leaky, -1.0),
    "ADD": partial(_two, "add"),
    "AVERAGE_POOL_2D": partial(_pool, "avg_pool2d"),
    "CONCATENATION": _concat,
    "CONV_2D": conv2d,
    "DEPTHWISE_CONV_2D": depthwise_conv2d,
    "DEQUANTIZE": _same,
    "EXPAND_DIMS": _reshape,
    "FULLY_CONNECTED": fully_connected,
    "GREATER": partial(compare, False, True),
    "GREATER_EQUAL": partial(compare, False, False),
    "HARD_SWISH": _hard_swish,
    "LESS": partial(compare, True, True),
    "LESS_EQUAL": partial(compare, True, False),
    "LEAKY_RELU": partial(_leaky, None),
    "LOGISTIC": partial(_simple, "sigmoid"),
    "LceBMaxPool2d": _bmax_pool2d,
    "LceBconv2d": bconv2d,
    "LceDequantize": _dequantize,
    "LceQuantize": partial(_simple, "sign"),
    "MAXIMUM": partial(_bound, "low"),
    "MAX_POOL_2D": partial(_pool, "max_pool2d"),
    "MEAN": partial(_global_pool, "global_avg_pool2d"),
    "MINIMUM": partial(_bound, "high"),
    "MUL": partial(_two, "multiply"),
    "PAD": _pad,
    "PADV2": _pad,
    "PRELU": _prelu,
    "QUANTIZE": _same,
    "REDUCE_MAX": partial(_global_pool, "global_max_pool2d"),
    "RELU": partial(_clip, 0.0, math.inf),
    "RELU_0_TO_1": partial(_clip, 0.0, 1.0),
    "RELU6": partial(_clip, 0.0, 6.0),
    "RELU_N1_TO_1": partial(_clip, -1.0, 1.0),
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": partial(_resize, "bilinear_resize2d"),
    "RESIZE_NEAREST_NEIGHBOR": partial(_resize, "nearest_resize2d"),
    "ROUND": round_levels,
    "SELECT": select,
    "SELECT_V2": select,
    "SHAPE": _shape,
    "SLICE": slice_,
    "SOFTMAX": _softmax,
    "SPLIT": split,
    "SQUEEZE": _reshape,
    "STRIDED_SLICE": strided_slice,
    "SUB": partial(_two, "subtract"),
    "TANH": partial(_simple, "tanh"),
    "TRANSPOSE": _transpose,
}
