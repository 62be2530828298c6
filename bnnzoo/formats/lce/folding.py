"""Constant folding: operators on constants are computed when a file is read.

Converters do not fold all of them. Files of XNOR-Net, for example, compute the scales of kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.formats.lce.folding_shapes import fold_shapes, is_shape
from bnnzoo.formats.lce.reading import Constant, Operation

__all__ = ["FOLD", "fold"]

Array = NDArray[Any]


def fold(operation: Operation) -> Constant:
    """Returns the result of an operator on constants."""
    if is_shape(operation) and operation.kind != "FILL":
        return fold_shapes(operation)
    if operation.kind not in FOLD:
        raise operation.wrong("one of its inputs must depend on the network's input")
    result = FOLD[operation.kind](operation)
    if not np.isfinite(result.array).all():
        raise operation.wrong("its result must be finite numbers")
    return result


def _real(array: Array) -> Constant:
    return Constant(np.asarray(array, np.float32), "real")


def _unary(compute: Callable[[Array], Array]) -> Callable[[Operation], Constant]:
    def folded(operation: Operation) -> Constant:
        operation.operands(1, 1)
        array = operation.constant(0)
        operation.reading.spend(array.nbytes)
        return _real(compute(array))

    return folded


def _binary(compute: Callable[[Array, Array], Array]) -> Callable[[Operation], Constant]:
    def folded(operation: Operation) -> Constant:
        operation.operands(2, 2)
        if operation.option("fusedActivationFunction"):
            raise operation.wrong("an activation of constants is not supported")
        first, second = operation.constant(0), operation.constant(1)
        try:
            shape = np.broadcast_shapes(first.shape, second.shape)
        except ValueError as error:
            raise operation.wrong("its inputs must broadcast") from error
        operation.reading.spend(4 * int(np.prod(shape, dtype=object)))
        with np.errstate(all="ignore"):
            return _real(compute(first, second))

    return folded


def _quantize(operation: Operation) -> Constant:
    operation.operands(1, 1)
    array = operation.constant(0)
    operation.reading.spend(array.nbytes)
    return Constant(np.where(array < 0, np.float32(-1), np.float32(1)), "bits")


def _dequantize(operation: Operation) -> Constant:
    operation.operands(1, 1)
    return Constant(operation.constant(0, "bits"), "real")


def _axes(operation: Operation, array: Array) -> tuple[int, ...]:
    axes = tuple(operation.table(1, (-1,)))
    if not all(-array.ndim <= axis < array.ndim for axis in axes):
        raise operation.wrong(f"its axes must be below {array.ndim}, got {axes}")
    return axes


def _mean(operation: Operation) -> Constant:
    operation.operands(2, 2)
    array = operation.constant(0)
    if 0 in array.shape:
        raise operation.wrong("its input must have elements")
    axes = tuple({axis % array.ndim for axis in _axes(operation, array)})
    operation.reading.spend(array.nbytes)
    keep = bool(operation.option("keepDims"))
    return _real(array.mean(axis=axes, dtype=np.float64, keepdims=keep))


def _transpose(operation: Operation) -> Constant:
    operation.operands(2, 2)
    array = operation.constant(0)
    axes = _axes(operation, array)
    if sorted(axes) != list(range(array.ndim)):
        raise operation.wrong(f"its axes must be a permutation of {array.ndim} axes, got {axes}")
    operation.reading.spend(array.nbytes)
    return _real(np.ascontiguousarray(array.transpose(axes)))


def _reshape(operation: Operation) -> Constant:
    array = operation.constant(0)
    if array.size == 1:  # broadcasts to any shape
        return _real(array.reshape((1,) * len(operation.target.shape)))
    try:
        return _real(array.reshape(operation.target.shape))
    except ValueError as error:
        raise operation.wrong("it must keep the number of elements") from error


def _broadcast_to(operation: Operation) -> Constant:
    """BROADCAST_TO: not copied, since the readers of a constant broadcast it."""
    operation.operands(2, 2)
    array, shape = operation.constant(0), operation.table(1, (-1,))
    try:
        np.broadcast_to(np.empty(array.shape, bool), tuple(shape))
    except ValueError as error:
        raise operation.wrong(f"{array.shape} must broadcast to {tuple(shape)}") from error
    return _real(array.reshape((1,) * (len(shape) - array.ndim) + array.shape))


def _fill(operation: Operation) -> Constant:
    """FILL: one number, which broadcasts to any shape."""
    operation.operands(2, 2)
    return _real(operation.constant(1).reshape((1,) * len(operation.table(0, (-1,)))))


FOLD: dict[str, Callable[[Operation], Constant]] = {
    "ABS": _unary(np.abs),
    "ADD": _binary(np.add),
    "BROADCAST_TO": _broadcast_to,
    "DEQUANTIZE": _unary(lambda array: array),
    "FILL": _fill,
    "LceDequantize": _dequantize,
    "LceQuantize": _quantize,
    "MEAN": _mean,
    "MUL": _binary(np.multiply),
    "RELU_N1_TO_1": _unary(lambda array: np.clip(array, -1, 1)),
    "RESHAPE": _reshape,
    "SUB": _binary(np.subtract),
    "TRANSPOSE": _transpose,
}
