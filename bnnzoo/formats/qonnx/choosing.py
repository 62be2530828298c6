"""Recognizes choices by signs that are clips, or affine functions of the signs."""

from __future__ import annotations

import math

import numpy as np

from bnnzoo.formats.qonnx.reading import Choice, Value
from bnnzoo.formats.qonnx.reading_operation import Operation

__all__ = ["choose", "range_of"]


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
    clipped, low, high = _clipped(operation, value, source.name)
    if number != bound or clipped != source.name or not low <= bound <= high:
        return None
    is_least = less == (number is minus)
    low, high = (bound, math.inf) if is_least else (-math.inf, bound)
    return operation.add("clip", "clip", value, low=low, high=high)


def _clipped(operation: Operation, value: Value, source: str) -> tuple[str, float, float]:
    """Returns the value before a chain of clips, and the range of the result.

    Args:
        operation: The operator that is being read.
        value: The result of any number of clips.
        source: Name of the value at which the chain ends at the latest.
    """
    nodes, name, chain = operation.reading.builder.nodes, value.name, []
    while name != source and name in nodes and nodes[name].op == "clip":
        chain.append(nodes[name].attributes)
        name = nodes[name].inputs[0]
    low, high = -math.inf, math.inf
    for limits in reversed(chain):
        low, high = (min(max(end, limits["low"]), limits["high"]) for end in (low, high))
    return name, low, high


def range_of(operation: Operation, value: Value) -> tuple[float, float]:
    """Returns the range of a value after its clips."""
    return _clipped(operation, value, "")[1:]
