"""Recognizes choices by signs that are clips, or affine functions of the signs."""

from __future__ import annotations

import math

import numpy as np

from bnnzoo.formats.qonnx.reading import Choice, Value
from bnnzoo.formats.qonnx.reading_operation import Operation

__all__ = ["choose"]


def choose(operation: Operation, choice: Choice) -> Value | None:
    """Adds a choice between two numbers, or between a value and its bound. None for others."""
    minus, plus = choice.minus, choice.plus
    if not isinstance(minus, Value) and not isinstance(plus, Value):
        signs = operation.signs("signs", choice.bits)
        scale, bias = np.float32(plus - minus) / 2, np.float32(plus + minus) / 2
        return operation.affine("choice", signs, scale=scale, bias=bias)
    bounds = operation.reading.bounds.get(choice.bits.name)
    if bounds is None or (isinstance(minus, Value) and isinstance(plus, Value)):
        return None
    source, bound, less = bounds
    value, number = (minus, plus) if isinstance(minus, Value) else (plus, minus)
    assert isinstance(value, Value) and isinstance(number, float)
    clipped, low, high = operation.reading.builder.clipped(value.name, source.name)
    if number != bound or clipped != source.name or not low <= bound <= high:
        return None
    is_least = less == (number is minus)
    low, high = (bound, math.inf) if is_least else (-math.inf, bound)
    return operation.add("clip", "clip", value, low=low, high=high)
