"""Constant folding: operators on constants are computed when a file is read.

Exported files have many of them: quantizers of kernels, and shapes that are computed because the
batch size is dynamic. Here the batch is always 1, so that all shapes are known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from bnnzoo.formats.qonnx.onnx_file import MAX_AXES
from bnnzoo.formats.qonnx.reading import Array, compact
from bnnzoo.formats.qonnx.reading_operation import Operation

__all__ = ["FOLD", "broadcast", "fold"]

_TYPES = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float32, 11: np.float32}
_MAX_BITS = 32


def fold(operation: Operation, compute: Callable[[Operation], Any]) -> Array:
    """Returns the result of an operator on constants."""
    try:
        result = np.asarray(compute(operation))
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise operation.wrong("its constants must have compatible shapes and types") from error
    if result.dtype.kind == "f" and result.dtype != np.float32:
        result = result.astype(np.float32)
    if result.dtype.kind == "f" and not np.isfinite(compact(result)).all():
        raise operation.wrong("its output must be finite")
    return result


def broadcast(operation: Operation, least: int, most: int) -> list[Array]:
    """Returns the inputs, after counting the elements of their broadcast shape."""
    arrays = [operation.constant(place) for place in range(operation.operands(least, most))]
    shape = np.broadcast_shapes(*(array.shape for array in arrays))
    operation.reading.spend(math.prod(shape))
    return arrays


def _computed(count: int, compute: Callable[..., Any], operation: Operation) -> Array:
    """Computes elementwise with the inputs' common type. Broadcast axes are computed only once."""
    arrays = [operation.constant(place) for place in range(operation.operands(count, count))]
    shape = _lengths(operation, np.broadcast_shapes(*(array.shape for array in arrays)))
    arrays = [compact(array) for array in arrays]
    operation.reading.spend(math.prod(np.broadcast_shapes(*(array.shape for array in arrays))))
    result: Array = np.asarray(compute(*arrays))
    kind = np.result_type(*arrays)
    return np.broadcast_to(result if result.dtype.kind == "b" else result.astype(kind), shape)


def _divided(x: Array, y: Array) -> Array:
    if x.dtype.kind in "iu":  # ONNX rounds towards zero
        return np.asarray(np.trunc(x.astype(np.float64) / y))
    return np.asarray(x / y)


def _of_axes(
    compute: Callable[..., Any], operation: Operation, *, since: int, keep: bool = True
) -> Array:
    """Reduces over axes, or over all axes if they are omitted."""
    operation.operands(1, 2)
    array = operation.constant(0)
    given = operation.setting("axes", 1, since)
    axes = {operation.axis(axis, array.ndim) for axis in given or range(array.ndim)}
    operation.reading.spend(array.size)
    kept = bool(operation.integer("keepdims", 1)) and keep
    result = compute(array, axis=tuple(sorted(axes)), keepdims=kept)
    return np.asarray(result).astype(array.dtype)


def _constant(operation: Operation) -> Array:
    operation.operands(0, 0)
    attributes = operation.entry.attributes
    if len(attributes) != 1:
        raise operation.wrong(f"it must have one attribute, got {sorted(attributes)}")
    ((name, value),) = attributes.items()
    kinds = {"value": None, "value_float": np.float32, "value_floats": np.float32,
             "value_int": np.int64, "value_ints": np.int64}  # fmt: skip
    if name not in kinds or value is None or isinstance(value, str):
        raise operation.wrong(f"it must be numeric, got {name}")
    return np.asarray(value, kinds[name])


def _constant_of_shape(operation: Operation) -> Array:
    """ConstantOfShape: one number, broadcast without copying it."""
    operation.operands(1, 1)
    value = operation.entry.attributes.get("value", np.zeros(1, np.float32))
    if not isinstance(value, np.ndarray) or value.size != 1:
        raise operation.wrong("its value must be one number")
    return np.broadcast_to(value.reshape(()), _lengths(operation, operation.table(0)))


def _lengths(operation: Operation, lengths: tuple[int, ...]) -> tuple[int, ...]:
    """Checks the shape of a broadcast array, which needs no memory of its own."""
    if len(lengths) > MAX_AXES or math.prod(lengths) > 2**31 or min(lengths, default=1) < 1:
        raise operation.wrong(
            f"its shape must have at most {MAX_AXES} axes of at least 1 and 2^31 elements, got "
            f"{lengths}"
        )
    return lengths


def _expand(operation: Operation) -> Array:
    operation.operands(2, 2)
    array = operation.constant(0)
    shape = np.broadcast_shapes(array.shape, _lengths(operation, operation.table(1)))
    return np.broadcast_to(array, _lengths(operation, shape))


def _cast(operation: Operation) -> Array:
    (array,) = broadcast(operation, 1, 1)
    to = operation.integer("to")
    if to not in _TYPES:
        raise operation.wrong(f"it must be to a numeric or boolean type, got type {to}")
    return array.astype(_TYPES[to])


def _concat(operation: Operation) -> Array:
    arrays = [operation.constant(place) for place in range(operation.operands(1, 1024))]
    operation.reading.spend(sum(array.size for array in arrays))
    return np.concatenate(arrays, operation.integer("axis"))


def _gather(operation: Operation) -> Array:
    operation.operands(2, 2)
    array, places = operation.constant(0), operation.constant(1)
    axis = operation.axis(operation.integer("axis", 0), array.ndim)
    operation.reading.spend(places.size * math.prod(array.shape) // max(array.shape[axis], 1))
    return np.take(array, places, axis)


def _slice(operation: Operation) -> Array:
    operation.operands(1, 5)
    array = operation.constant(0)
    names = ("starts", "ends", "axes", "steps")
    starts, ends, axes, steps = (
        operation.setting(name, place, 10) for place, name in enumerate(names, 1)
    )
    starts = starts or ()
    parts = [slice(None)] * array.ndim
    ranges = zip(
        axes or range(len(starts)), starts, ends or (), steps or (1,) * len(starts), strict=True
    )
    for axis, start, end, step in ranges:
        # A backward range may end before the first element.
        last = None if step < 0 and end < -array.shape[axis] else end
        parts[operation.axis(axis, array.ndim)] = slice(start, last, step)
    result: Array = array[tuple(parts)]
    return result


def _reshape(operation: Operation) -> Array:
    operation.operands(2, 2)
    array, wanted = operation.constant(0), operation.table(1)
    if operation.integer("allowzero", 0) == 0:
        wanted = tuple(array.shape[place] if n == 0 else n for place, n in enumerate(wanted))
    operation.reading.spend(array.size)
    return array.reshape(wanted)


def _flatten(operation: Operation) -> Array:
    array = operation.constant(0)
    operation.reading.spend(array.size)
    return array.reshape(math.prod(array.shape[: operation.integer("axis", 1)]), -1)


def _squeeze(operation: Operation) -> Array:
    operation.operands(1, 2)
    return np.squeeze(operation.constant(0), operation.setting("axes", 1, 13))


def _unsqueeze(operation: Operation) -> Array:
    operation.operands(1, 2)
    axes = operation.setting("axes", 1, 13) or ()
    return np.expand_dims(operation.constant(0), axes)


def _transpose(operation: Operation) -> Array:
    array = operation.constant(0)
    operation.reading.spend(array.size)
    return np.asarray(array.transpose(operation.integers("perm")), order="C")


def _where(operation: Operation) -> Array:
    condition, first, second = broadcast(operation, 3, 3)
    if condition.dtype.kind != "b":
        raise operation.wrong("input 0 must be boolean")
    return np.where(condition, first, second)


def _clip(operation: Operation) -> Array:
    if operation.opset < 11:
        low, high = operation.number("min", -math.inf), operation.number("max", math.inf)
    else:
        low, high = operation.scalar(1, -math.inf), operation.scalar(2, math.inf)
    array = operation.constant(0)
    operation.reading.spend(array.size)
    result: Array = np.minimum(np.maximum(array, low), high)
    return result.astype(array.dtype)


def _bipolar_quant(operation: Operation) -> Array:
    array, scale = broadcast(operation, 2, 2)
    signs: Array = np.where(array < 0, np.float32(-1), np.float32(1))
    return signs * scale.astype(np.float32)


# ROUND rounds halves to even.
_ROUNDING = {
    "ROUND": np.rint, "CEIL": np.ceil, "FLOOR": np.floor, "ROUND_TO_ZERO": np.trunc,
    "HALF_EVEN": np.rint, "DOWN": np.trunc,
}  # fmt: skip


def _quant(operation: Operation) -> Array:
    array, scale, zero, bits = broadcast(operation, 4, 4)
    rounding = operation.word("rounding_mode", *_ROUNDING)
    signed, narrow = (operation.integer(name, int(name == "signed"), least=0, most=1)
                      for name in ("signed", "narrow"))  # fmt: skip
    if (scale == 0).any() or not ((bits >= 1) & (bits <= _MAX_BITS)).all():
        raise operation.wrong(f"its scale must not be 0, and its bits must be 1 to {_MAX_BITS}")
    most = 2.0 ** (bits - signed) - 1 - (narrow if not signed else 0)
    least = -signed * (2.0 ** (bits - 1) - narrow)
    scale, zero = scale.astype(np.float32), zero.astype(np.float32)
    levels = np.clip(array.astype(np.float32) / scale + zero, least, most)
    result: Array = (_ROUNDING[rounding](levels) - zero) * scale
    return result.astype(np.float32)


FOLD: dict[str, Callable[[Operation], Any]] = {
    "Abs": partial(_computed, 1, np.abs),
    "Add": partial(_computed, 2, np.add),
    "And": partial(_computed, 2, np.logical_and),
    "BipolarQuant": _bipolar_quant,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Div": partial(_computed, 2, _divided),
    "Equal": partial(_computed, 2, np.equal),
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Greater": partial(_computed, 2, np.greater),
    "GreaterOrEqual": partial(_computed, 2, np.greater_equal),
    "Less": partial(_computed, 2, np.less),
    "LessOrEqual": partial(_computed, 2, np.less_equal),
    "Max": partial(_computed, 2, np.maximum),
    "Min": partial(_computed, 2, np.minimum),
    "Mul": partial(_computed, 2, np.multiply),
    "Neg": partial(_computed, 1, np.negative),
    "Not": partial(_computed, 1, np.logical_not),
    "Quant": _quant,
    "Reciprocal": partial(_computed, 1, np.reciprocal),
    "ReduceMax": partial(_of_axes, np.max, since=18),
    "ReduceMean": partial(_of_axes, np.mean, since=18),
    "ReduceProd": partial(_of_axes, np.prod, since=18),
    "ReduceSum": partial(_of_axes, np.sum, since=13),
    "Reshape": _reshape,
    "Round": partial(_computed, 1, np.rint),
    "Shape": lambda operation: np.asarray(operation.constant(0).shape, np.int64),
    "Sigmoid": partial(_computed, 1, lambda x: 0.5 + 0.5 * np.tanh(0.5 * x)),
    "Sign": partial(_computed, 1, np.sign),
    "Slice": _slice,
    "Sqrt": partial(_computed, 1, np.sqrt),
    "Squeeze": _squeeze,
    "Sub": partial(_computed, 2, np.subtract),
    "Tanh": partial(_computed, 1, np.tanh),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
