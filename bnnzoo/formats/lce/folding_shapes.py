"""Folds operators on shapes, which converters write for networks with a dynamic batch size.

The batch size is known when a file is read, so all shapes are constants.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.formats.lce.reading import Constant, Operation

__all__ = ["FOLD_SHAPES", "fold_shapes", "is_shape"]

Array = NDArray[Any]

_MAX_AXES = 8
_MAX_ELEMENTS = 2**31  # of any tensor


def is_shape(operation: Operation) -> bool:
    """Returns whether an operator computes with integers."""
    first = operation.operand(0)
    return isinstance(first, Constant) and first.kind == "integers"


def fold_shapes(operation: Operation) -> Constant:
    """Returns the result of an operator on integers."""
    if operation.kind not in FOLD_SHAPES:
        raise operation.wrong("it must not be computed from integers only")
    try:
        array = np.asarray(FOLD_SHAPES[operation.kind](operation))
    except (IndexError, ValueError) as error:
        raise operation.wrong("its inputs must be shapes, or parts of them") from error
    if array.size > _MAX_AXES or (np.abs(array) > _MAX_ELEMENTS).any():
        raise operation.wrong(f"its result must be a shape of at most {_MAX_AXES} axes")
    return Constant(array, "integers")


def _few(operation: Operation, place: int) -> Array:
    array = operation.constant(place, "integers")
    if array.size > _MAX_AXES or array.ndim > 1:
        raise operation.wrong(f"input {place} must be at most {_MAX_AXES} integers")
    return array.astype(np.int64)


def _all(operation: Operation) -> list[Array]:
    return [_few(operation, place) for place in range(operation.operands(1, _MAX_AXES))]


def _sliced(operation: Operation) -> Array:
    """STRIDED_SLICE: `shape[begin:end:step]`, or one element of a shape."""
    operation.operands(4, 4)
    array = _few(operation, 0)
    begin, end, step = (operation.table(place, (1,))[0] for place in (1, 2, 3))
    for mask in ("ellipsisMask", "newAxisMask"):
        operation.option(mask, most=0)
    if operation.option("shrinkAxisMask", most=1):
        return np.asarray(array[begin])
    first = None if operation.option("beginMask", most=1) else begin
    last = None if operation.option("endMask", most=1) else end
    return array[first:last:step]


def _taken(operation: Operation) -> Array:
    operation.operands(2, 2)
    operation.option("batchDims", most=0)
    return np.take(_few(operation, 0), _few(operation, 1))


def _product(operation: Operation) -> Array:
    operation.operands(2, 2)
    product = min(math.prod(_few(operation, 0).tolist()), 2 * _MAX_ELEMENTS)
    return np.asarray([product] if operation.option("keepDims", most=1) else product)


def _multiplied(operation: Operation) -> Array:
    operation.operands(2, 2)
    return np.multiply(_few(operation, 0), _few(operation, 1))


FOLD_SHAPES: dict[str, Callable[[Operation], Array]] = {
    "CAST": lambda operation: _few(operation, 0),
    "CONCATENATION": lambda operation: np.concatenate(_all(operation)),
    "GATHER": _taken,
    "MUL": _multiplied,
    "PACK": lambda operation: np.stack(_all(operation)),
    "REDUCE_PROD": _product,
    "RESHAPE": lambda operation: _few(operation, 0).reshape(operation.target.shape),
    "STRIDED_SLICE": _sliced,
}
