"""Choices by signs that are a clip, or levels of signs."""

from __future__ import annotations

import math

import numpy as np

from bnnzoo.formats.qonnx.reading import Choice, Value
from bnnzoo.formats.qonnx.reading_operation import Operation

__all__ = ["choose", "range_of"]


def choose(operation: Operation, choice: Choice) -> Value | None:
    """Adds a choice between two numbers, or of a value and a bound; None for another one."""
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
    """Returns what a value is the clip of, and the range that it is in.

    Args:
        operation: What asks.
        value: What may be a clip, or one of another.
        source: Where the search ends.
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
    """Returns the range that clips leave to a value."""
    return _clipped(operation, value, "")[1:]
