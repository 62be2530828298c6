"""Every other operator as nodes of a graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.deploy.formats.lce.geometry import explicit
from bnnzoo.deploy.formats.lce.model_file import ABSENT
from bnnzoo.deploy.formats.lce.reading import Constant, Operation, Value
from bnnzoo.deploy.formats.lce.reading_convolutions import (
    activated,
    bconv2d,
    conv2d,
    depthwise_conv2d,
    fully_connected,
    map_shape,
)

__all__ = ["READ", "RESULT"]

Array = NDArray[Any]

_MAX_CONCATENATED = 1024
# Option of an operator with several results, which is read once for each: which one it is.
RESULT = "result"


def _simple(op: str, operation: Operation, **attributes: Any) -> Value:
    operation.operands(1, 1)
    return operation.add(op, op, operation.value(0), **attributes)


def _same(operation: Operation) -> Value:
    """QUANTIZE and DEQUANTIZE: other integers, or none, for the same real numbers."""
    operation.operands(1, 1)
    return operation.value(0)


def _quantize(operation: Operation) -> Value:
    return _simple("sign", operation)


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
    return _sloped(operation, value, *_per_channel(operation, 1, value))


def _sloped(operation: Operation, value: Value, place: int, alpha: Array) -> Value:
    return operation.add("prelu", "prelu", value, tensors={"alpha": (place, alpha)})


def _leaky(slope: float | None, operation: Operation) -> Value:
    """LEAKY_RELU, and ABS, whose slope below 0 is -1."""
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


def _per_channel(operation: Operation, place: int, value: Value) -> tuple[int, Array]:
    """Returns a constant as one number per channel, and the place it may be shared by.

    One number for all channels is not shared: elsewhere there may be more channels.
    """
    array, channels = operation.constant(place), value.type.shape[-1]
    last = array.shape[-1] if array.ndim else 1
    if array.size != last or last not in (1, channels):
        raise operation.wrong(
            f"input {place} must be one number per channel, {channels} in all, got {array.shape}"
        )
    operation.reading.spend(4 * channels)
    vector = np.broadcast_to(array.reshape(last), (channels,)).astype(np.float32)
    return (place if last == channels else ABSENT), vector


def _two(op: str, operation: Operation) -> Value:
    """ADD, SUB and MUL: of two values, or of a value and one constant per channel."""
    operation.operands(2, 2)
    constants = [isinstance(operation.operand(place), Constant) for place in (0, 1)]
    if any(constants):
        result = _with_vector(op, operation, place=constants.index(True))
    else:
        first, second = operation.value(0), operation.value(1)
        axes = max(len(first.type.shape), len(second.type.shape))
        result = operation.add(
            op, op, _widened(operation, first, axes), _widened(operation, second, axes)
        )
    return activated(operation, result, "fusedActivationFunction")


def _widened(operation: Operation, value: Value, axes: int) -> Value:
    """Gives a value as many axes as the other has; missing ones stand in front."""
    missing = axes - len(value.type.shape)
    if not missing:
        return value
    return operation.add("widened", "reshape", value, shape=(1,) * missing + value.type.shape)


def _with_vector(op: str, operation: Operation, place: int) -> Value:
    value = operation.value(1 - place)
    shared, vector = _per_channel(operation, place, value)
    tensors: dict[str, Any] = {}
    if op == "multiply":
        tensors["scale"] = (shared, vector)
    elif op == "add":
        tensors["bias"] = (shared, vector)
    elif place == 1:
        tensors["bias"] = (ABSENT, -vector)
    else:
        tensors = {"scale": (ABSENT, np.full_like(vector, -1)), "bias": (shared, vector)}
    return operation.add("affine", "affine", value, tensors=tensors)


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
    height, width, down, right = (operation.option(name, least=1) for name in names)
    rule = operation.option("padding", most=1)
    size = map_shape(operation, value)[:2]
    padding = explicit(rule, size, (height, width), (down, right))
    return {"pool": (height, width), "strides": (down, right), "padding": padding}


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
        raise operation.wrong("its axis must not be that of the batch")
    joined = operation.add("concat", "concat", *values, axis=axis - 1)
    return activated(operation, joined, "fusedActivationFunction")


def _reshape(operation: Operation) -> Value:
    """RESHAPE, SQUEEZE and EXPAND_DIMS: the result's shape says everything."""
    operation.operands(1, 2)
    source, shape = operation.operand(0), operation.target.shape
    if not isinstance(source, Value):
        raise operation.wrong("input 0 must be computed before it")
    if len(shape) < 2 or shape[0] != 1 or not all(shape):
        raise operation.wrong(f"its result must be a batch of one, got {shape}")
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
    """Puts channels of one number before and behind those of a value.

    They are channels of the value between bounds that are that number.
    """
    channels = value.type.shape[-1]
    if sum(counts) > (_MAX_CONCATENATED - 3) * channels:
        raise operation.wrong(f"it must add fewer channels to {channels}, got {sum(counts)}")
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


def _slice(operation: Operation) -> Value:
    """SLICE: a range of one axis after the other."""
    operation.operands(3, 3)
    value = operation.value(0)
    axes = len(value.type.shape) + 1
    begins, sizes = operation.table(1, (axes,)), operation.table(2, (axes,))
    lengths = (1, *value.type.shape)
    sizes = [
        length - begin if size == -1 else size
        for begin, size, length in zip(begins, sizes, lengths, strict=True)
    ]
    return _ranges(operation, value, begins, sizes)


def _strided_slice(operation: Operation) -> Value:
    """STRIDED_SLICE with steps of one; a bit of a mask stands for an end of its axis."""
    operation.operands(4, 4)
    value = operation.value(0)
    lengths = (1, *value.type.shape)
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


def _split(operation: Operation) -> Value:
    """SPLIT: one of its results, a part of an axis that is divided evenly."""
    operation.operands(2, 2)
    value = operation.value(1)
    lengths = (1, *value.type.shape)
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
    """Returns a place on an axis; a negative one counts from the end."""
    return min(max(place + length if place < 0 else place, 0), length)


def _ranges(
    operation: Operation, value: Value, begins: Sequence[int], sizes: Sequence[int]
) -> Value:
    if begins[0] != 0 or sizes[0] != 1:
        raise operation.wrong("it must keep the batch")
    last = len(value.type.shape) - 1
    for axis, (begin, size) in enumerate(zip(begins[1:], sizes[1:], strict=True)):
        length = value.type.shape[axis]
        if begin < 0 or size < 1:
            raise operation.wrong(f"{begin} + {size} must lie inside {length}")
        if (begin, size) != (0, length) or axis == last:
            value = operation.add(f"axis{axis}", "slice", value, axis=axis, begin=begin, size=size)
    return value


def _transpose(operation: Operation) -> Value:
    operation.operands(2, 2)
    value = operation.value(0)
    first, *rest = operation.table(1, (len(value.type.shape) + 1,))
    if first != 0 or sorted(rest) != list(range(1, len(rest) + 1)):
        raise operation.wrong(f"it must keep the batch, got {(first, *rest)}")
    return operation.add("permute", "permute", value, axes=tuple(axis - 1 for axis in rest))


READ: dict[str, Callable[[Operation], Value]] = {
    "ABS": partial(_leaky, -1.0),
    "ADD": partial(_two, "add"),
    "AVERAGE_POOL_2D": partial(_pool, "avg_pool2d"),
    "CONCATENATION": _concat,
    "CONV_2D": conv2d,
    "DEPTHWISE_CONV_2D": depthwise_conv2d,
    "DEQUANTIZE": _same,
    "EXPAND_DIMS": _reshape,
    "FULLY_CONNECTED": fully_connected,
    "HARD_SWISH": _hard_swish,
    "LEAKY_RELU": partial(_leaky, None),
    "LOGISTIC": partial(_simple, "sigmoid"),
    "LceBMaxPool2d": _bmax_pool2d,
    "LceBconv2d": bconv2d,
    "LceDequantize": _dequantize,
    "LceQuantize": _quantize,
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
    "RELU6": partial(_clip, 0.0, 6.0),
    "RELU_N1_TO_1": partial(_clip, -1.0, 1.0),
    "RESHAPE": _reshape,
    "SLICE": _slice,
    "SOFTMAX": _softmax,
    "SPLIT": _split,
    "SQUEEZE": _reshape,
    "STRIDED_SLICE": _strided_slice,
    "SUB": partial(_two, "subtract"),
    "TANH": partial(_simple, "tanh"),
    "TRANSPOSE": _transpose,
}
