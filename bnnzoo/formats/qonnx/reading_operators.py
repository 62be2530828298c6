"""Reads the remaining operators, and lists all of them in a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from bnnzoo.formats.qonnx.choosing import choose
from bnnzoo.formats.qonnx.reading import Choice, Found, Value, channels_first
from bnnzoo.formats.qonnx.reading_convolutions import conv, conv_transpose, gemm, matmul, window
from bnnzoo.formats.qonnx.reading_operation import Operation
from bnnzoo.formats.qonnx.reading_parts import gather, slice_, split, tile
from bnnzoo.formats.qonnx.reading_quantizers import (
    bipolar_quant,
    cast,
    compare,
    multi_threshold,
    not_,
    quant,
    round_,
    sign,
    where,
)
from bnnzoo.formats.qonnx.reading_shapes import (
    expand,
    flatten,
    pad,
    reshape,
    resize,
    shape,
    squeeze,
    transpose,
    unsqueeze,
)

__all__ = ["READ"]

_MAP = channels_first(3)
_MAX_CONCATENATED = 1024


def _identity(operation: Operation) -> Found:
    """Identity, and Dropout, which does nothing at inference."""
    operation.operands(1, 3)
    found = operation.operand(0)
    if found is None or operation.results > 1:
        raise operation.wrong("it must have one input and one output")
    operation.copies(0)
    return found


def _simple(op: str, operation: Operation, **attributes: Any) -> Value:
    operation.operands(1, 1)
    return operation.add(op, op, operation.value(), **attributes)


def _clip(operation: Operation) -> Value:
    """Clip. Its limits were attributes before opset 11."""
    operation.operands(1, 3)
    if operation.opset < 11:
        ends = [operation.number(name, end) for name, end in
                (("min", -3.4028234663852886e38), ("max", 3.4028234663852886e38))]  # fmt: skip
    else:
        ends = [operation.scalar(1, -math.inf), operation.scalar(2, math.inf)]
    low, high = ends
    return operation.add("clip", "clip", operation.value(), low=low, high=high)


def _extreme(kind: str, operation: Operation) -> Value:
    """Max and Min of a value and a scalar constant."""
    operation.operands(2, 2)
    place = 1 if isinstance(operation.operand(0), Value) else 0
    bound = operation.scalar(place)
    low, high = (bound, math.inf) if kind == "low" else (-math.inf, bound)
    return operation.add("clip", "clip", operation.value(1 - place), low=low, high=high)


def _prelu(operation: Operation) -> Value:
    operation.operands(2, 2)
    return operation.elementwise("prelu", "prelu", operation.value(), alpha=operation.constant(1))


def _sloped(slope: float | None, operation: Operation) -> Value:
    """LeakyRelu, and Abs, which has a negative slope of -1."""
    operation.operands(1, 1)
    slope = operation.number("alpha", 0.01) if slope is None else slope
    return operation.elementwise("prelu", "prelu", operation.value(), alpha=np.float32(slope))


def _hard_sigmoid(operation: Operation) -> Value:
    operation.operands(1, 1)
    alpha, beta = operation.number("alpha", 0.2), operation.number("beta", 0.5)
    return _gate(operation, alpha, beta)


def _gate(operation: Operation, alpha: float, beta: float) -> Value:
    line = operation.affine(
        "line", operation.value(), scale=np.float32(alpha), bias=np.float32(beta)
    )
    return operation.add("clip", "clip", line, low=0.0, high=1.0)


def _hard_swish(operation: Operation) -> Value:
    operation.operands(1, 1)
    gate = _gate(operation, 1 / 6, 0.5)
    return operation.add("product", "multiply", operation.value(), gate)


def _softmax(operation: Operation) -> Value:
    """Softmax. Before opset 13, it was over `axis` and all following axes."""
    operation.operands(1, 1)
    value = operation.value()
    rank = len(value.shape)
    axis = operation.axis(operation.integer("axis", -1 if operation.opset >= 13 else 1), rank)
    if axis == 0 or (operation.opset < 13 and math.prod(value.shape[axis + 1 :]) > 1):
        raise operation.wrong(f"it must be over one axis other than the batch, got axis {axis}")
    return operation.add("softmax", "softmax", operation.last(value, axis - 1))


def _batch_norm(operation: Operation) -> Value:
    operation.operands(5, 5)
    if operation.results > 1 or operation.integer("training_mode", 0):
        raise operation.wrong("it must be in inference mode")
    value = operation.last(operation.value(), 0)
    gamma, beta, mean, variance = (operation.whole(place) for place in range(1, 5))
    epsilon = operation.number("epsilon", 1e-5)
    if not (variance.astype(np.float64) + epsilon > 0).all():
        raise operation.wrong("the sum of its variance and epsilon must be above 0")
    return operation.add(
        "norm", "batch_norm", value, epsilon=epsilon,
        tensors={"gamma": gamma, "beta": beta, "mean": mean, "variance": variance},
    )  # fmt: skip


def _negative(operation: Operation) -> Value:
    operation.operands(1, 1)
    return operation.affine("affine", operation.value(), scale=-1.0)


def _add(operation: Operation) -> Found:
    operation.operands(2, 2)
    known = operation.cancelled()
    return _two("add", operation) if known is None else known


def _subtract(operation: Operation) -> Found:
    """Sub. A value minus itself is 0."""
    operation.operands(2, 2)
    if operation.tensor(0) == operation.tensor(1):
        return operation.zero()
    operation.subtracts()
    return _two("subtract", operation)


def _two(op: str, operation: Operation) -> Found:
    """Add, Sub and Mul of two values, or of a value and a constant."""
    first, second = operation.operand(0), operation.operand(1)
    if isinstance(first, Value) and isinstance(second, Value):
        pair = operation.alike(first, second)
        known = _combined(op, operation, *pair)
        return operation.add(op, op, *pair) if known is None else known
    place = 1 if isinstance(first, Value) else 0
    value = operation.value(1 - place)
    array = operation.parameter(place, value)
    if op == "multiply":
        if operation.is_zero(place):
            return operation.zero()
        return operation.affine("affine", value, scale=array)
    if op == "add":
        return operation.affine("affine", value, bias=array)
    if place == 1:
        return operation.affine("affine", value, bias=-array)
    return operation.affine("affine", value, scale=-1.0, bias=array)


def _combined(op: str, operation: Operation, first: Value, second: Value) -> Value | None:
    """Returns a sum or product of choices as a choice, or None if it is not one.

    TensorFlow exports a choice between a and b by a mask m of 0 and 1 as m * a + (1 - m) * b.
    """
    choices = operation.reading.choices
    one, two = choices.get(first.name), choices.get(second.name)
    if op == "multiply" and (one is None) != (two is None):
        mask, value = (one, second) if two is None else (two, first)
        assert mask is not None
        if {mask.minus, mask.plus} == {0.0, 1.0}:
            taken = [value if part == 1.0 else 0.0 for part in (mask.minus, mask.plus)]
            choice = Choice(mask.bits, *taken)
            product = choose(operation, choice) or operation.add(op, op, first, second)
            choices[product.name] = choice
            return product
    if op == "add" and one is not None and two is not None and one.bits.name == two.bits.name:
        minus, plus = _sum_of(one.minus, two.minus), _sum_of(one.plus, two.plus)
        if minus is not None and plus is not None:
            return choose(operation, Choice(one.bits, minus, plus))
    return None


def _sum_of(first: Value | float, second: Value | float) -> Value | float | None:
    if not isinstance(first, Value) and not isinstance(second, Value):
        return first + second
    if isinstance(first, Value) and isinstance(second, Value):
        return None
    value, number = (first, second) if isinstance(first, Value) else (second, first)
    return value if number == 0 else None


def _multiply(operation: Operation) -> Found:
    operation.operands(2, 2)
    return _two("multiply", operation)


def _divide(operation: Operation) -> Value:
    """Div of a value by a constant."""
    operation.operands(2, 2)
    array, value = operation.constant(1), operation.value()
    divisor = operation.aligned(array, value).astype(np.float32)
    if (divisor == 0).any():
        raise operation.wrong("input 1 must not be 0")
    return operation.affine("affine", value, scale=1 / divisor)


def _sum(operation: Operation) -> Value:
    values = [operation.value(place) for place in range(operation.operands(1, 64))]
    total, *others = values
    for value in others:
        total = operation.add("sum", "add", *operation.alike(total, value))
    return total


def _pool(op: str, operation: Operation) -> Value:
    operation.operands(1, 1)
    if operation.results > 1 or set(operation.integers("dilations") or ()) - {1}:
        raise operation.wrong("it must have one output and no dilations")
    value, size = operation.map(operation.value()), operation.integers("kernel_shape")
    if size is None or len(size) != 2 or min(size) < 1:
        raise operation.wrong(f"kernel_shape must be two integers, got {size}")
    settings = window(operation, value, size)
    del settings["dilation"]
    padding, strides = settings["padding"], settings["strides"]
    if op == "avg_pool2d" and operation.integer("count_include_pad", 0) and any(padding):
        value = operation.add("padded", "pad", value, padding=padding, value=0.0)
        padding = (0, 0, 0, 0)
        if operation.integer("ceil_mode", 0):
            raise operation.wrong("ceil_mode must not be combined with count_include_pad")
    if operation.integer("ceil_mode", 0, least=0, most=1):
        padding = _ceiled(value.type.shape[:2], size, strides, padding)
    return operation.add("pool", op, value, pool=size, strides=strides, padding=padding)


def _ceiled(
    pixels: Sequence[int], size: Sequence[int], strides: Sequence[int], padding: Sequence[int]
) -> tuple[int, ...]:
    """Returns the padding that completes the last window of each axis, as `ceil_mode` requires.

    A window that would begin in the padding after the pixels is dropped.
    """
    sides = list(padding)
    for axis, (n, taps, stride) in enumerate(zip(pixels, size, strides, strict=True)):
        before, behind = sides[2 * axis : 2 * axis + 2]
        rest = -(n + before + behind - taps) % max(stride, 1)
        if n + before + behind - taps + rest < n + before:
            sides[2 * axis + 1] += rest
    return tuple(sides)


def _global_pool(op: str, operation: Operation) -> Value:
    operation.operands(1, 1)
    value = operation.map(operation.value())
    pooled = operation.add("pool", op, value, view=(0,))
    shape = (1, 1, value.channels)
    return operation.add("pixel", "reshape", pooled, view=_MAP, shape=shape)


def _reduce(op: str, operation: Operation) -> Value:
    """ReduceMean and ReduceMax over all pixels."""
    operation.operands(1, 2)
    value = operation.value()
    given = operation.setting("axes", 1, 18) or ()
    rank = len(value.shape)
    axes = {operation.axis(axis, rank) for axis in given}
    if rank != 4 or len(axes) != 2 or 0 in axes:
        raise operation.wrong(f"it must be over two axes of images, got axes {sorted(axes)}")
    (kept,) = {1, 2, 3} - axes
    pooled = operation.add("pool", op, operation.last(value, kept - 1), view=(0,))
    if not operation.integer("keepdims", 1, least=0, most=1):
        return pooled
    shape = [1, 1, 1, 1]
    shape[kept] = value.shape[kept]
    return operation.reshaped(pooled, shape)


def _concat(operation: Operation) -> Value:
    count = operation.operands(1, _MAX_CONCATENATED)
    first, *others = (operation.value(place) for place in range(count))
    axis = operation.axis(operation.integer("axis"), len(first.shape))
    if axis == 0 or any(len(value.axes) != len(first.axes) for value in others):
        raise operation.wrong("its inputs must have equal ranks, and its axis not be the batch")
    others = [operation.ordered(value, first.axes) for value in others]
    return operation.add("concat", "concat", first, *others, axis=first.axes[axis - 1])


READ: dict[str, Callable[[Operation], Found | tuple[Found, ...]]] = {
    "Abs": partial(_sloped, -1.0),
    "Add": _add,
    "AveragePool": partial(_pool, "avg_pool2d"),
    "BatchNormalization": _batch_norm,
    "BipolarQuant": bipolar_quant,
    "Cast": cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Div": _divide,
    "Dropout": _identity,
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "Gemm": gemm,
    "GlobalAveragePool": partial(_global_pool, "global_avg_pool2d"),
    "GlobalMaxPool": partial(_global_pool, "global_max_pool2d"),
    "Greater": partial(compare, below=False, strict=True),
    "GreaterOrEqual": partial(compare, below=False, strict=False),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Identity": _identity,
    "LeakyRelu": partial(_sloped, None),
    "Less": partial(compare, below=True, strict=True),
    "LessOrEqual": partial(compare, below=True, strict=False),
    "MatMul": matmul,
    "Max": partial(_extreme, "low"),
    "MaxPool": partial(_pool, "max_pool2d"),
    "Min": partial(_extreme, "high"),
    "Mul": _multiply,
    "MultiThreshold": multi_threshold,
    "Neg": _negative,
    "Not": not_,
    "PRelu": _prelu,
    "Pad": pad,
    "Quant": quant,
    "ReduceMax": partial(_reduce, "global_max_pool2d"),
    "ReduceMean": partial(_reduce, "global_avg_pool2d"),
    "Relu": partial(_simple, "clip", low=0.0, high=math.inf),
    "Reshape": reshape,
    "Resize": resize,
    "Round": round_,
    "Shape": shape,
    "Sigmoid": partial(_simple, "sigmoid"),
    "Sign": sign,
    "Slice": slice_,
    "Softmax": _softmax,
    "Split": split,
    "Squeeze": squeeze,
    "Sub": _subtract,
    "Sum": _sum,
    "Tanh": partial(_simple, "tanh"),
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
    "Upsample": resize,
    "Where": where,
}
