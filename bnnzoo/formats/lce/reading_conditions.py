"""Reads comparisons and selections, which TensorFlow's own converter writes for quantizers.

It has no operator for a sign, and writes SELECT(LESS(x, 0), -1, 1). A comparison is read as bits,
so that this selection becomes a sign:

    x < t    is    sign(x - t) = -1        x > t    is    sign(t - x) = -1

and <=, >= are the opposite signs. The difference of two float32 is 0 only if they are equal, so
that the sign is exact. A selection between a bound and the value compared with it is a clip, one
between two numbers is an affine of the signs, and any other is a sum of products with 0 and 1.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bnnzoo.formats.lce.model_file import ABSENT
from bnnzoo.formats.lce.reading import Condition, Constant, Operation, Value, uniform

__all__ = ["compare", "per_channel", "round_levels", "select"]

Array = NDArray[np.float32]

_MAX_LEVEL_BITS = 8


def per_channel(operation: Operation, place: int, value: Value) -> tuple[int, Array]:
    """Returns the index of a constant input and its values, one per channel.

    The index is `ABSENT` if one number was repeated for all channels, because the vector cannot be
    shared with values that have another number of channels.
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


def compare(below: bool, strict: bool, operation: Operation) -> Condition:
    """LESS, GREATER, LESS_EQUAL and GREATER_EQUAL of a value and a constant or another value.

    Args:
        below: Whether it is `<` or `<=`.
        strict: Whether it is `<` or `>`.
        operation: The operator.
    """
    operation.operands(2, 2)
    if isinstance(operation.operand(0), Constant):
        place, below = 0, not below
    else:
        place = 1
    value = operation.value(1 - place)
    bound = None
    if isinstance(operation.operand(place), Value):
        pair = (value, operation.value(1)) if below == strict else (operation.value(1), value)
        difference = operation.add("difference", "subtract", *pair)
    else:
        _, vector = per_channel(operation, place, value)
        bound = uniform(vector)
        difference = _difference(operation, value, vector, below == strict)
    bits = operation.add("sign", "sign", difference)
    return Condition(bits, strict, value, below, bound)


def _difference(operation: Operation, value: Value, vector: Array, rising: bool) -> Value:
    """Returns value - vector if `rising`, otherwise vector - value."""
    if rising and not vector.any():
        return value
    tensors = {"bias": (ABSENT, -vector if rising else vector)}
    if not rising:
        tensors["scale"] = (ABSENT, np.full_like(vector, -1))
    return operation.add("difference", "affine", value, tensors=tensors)


def select(operation: Operation) -> Value:
    """SELECT and SELECT_V2: (condition, result where it is true, result where it is false)."""
    operation.operands(3, 3)
    condition = operation.operand(0)
    if not isinstance(condition, Condition):
        raise operation.wrong("input 0 must be a comparison that depends on the network's input")
    clipped = _clipped(operation, condition)
    if clipped is not None:
        return clipped
    if all(isinstance(operation.operand(place), Constant) for place in (1, 2)):
        return _levels(operation, condition)
    parts = [_masked(operation, condition, place) for place in (1, 2)]
    first, *rest = [part for part in parts if part is not None]
    return operation.add("choice", "add", first, *rest) if rest else first


def _clipped(operation: Operation, condition: Condition) -> Value | None:
    """Returns a selection between a bound and the value that it bounds; None for any other.

    The value may have been clipped before, to a range that includes the bound.
    """
    for place in (1, 2):
        bound, value = operation.operand(place), operation.operand(3 - place)
        if not isinstance(bound, Constant) or not isinstance(value, Value):
            continue
        if condition.bound is None or uniform(bound.array) != condition.bound:
            continue
        source, low, high = operation.reading.builder.clipped(value.name, condition.value.name)
        if source == condition.value.name and low <= condition.bound <= high:
            is_least = condition.below == (place == 1)
            limits = (condition.bound, math.inf) if is_least else (-math.inf, condition.bound)
            return operation.add("clip", "clip", value, low=limits[0], high=limits[1])
    return None


def _levels(operation: Operation, condition: Condition) -> Value:
    """Returns a selection between two numbers as an affine of signs."""
    signs = operation.add("signs", "dequantize", condition.bits)
    holds, other = (per_channel(operation, place, signs)[1] for place in (1, 2))
    minus, plus = (holds, other) if condition.strict else (other, holds)
    scale, bias = (plus - minus) / 2, (plus + minus) / 2
    tensors = {}
    for role, vector, neutral in (("scale", scale, 1), ("bias", bias, 0)):
        if (vector != neutral).any():
            tensors[role] = (ABSENT, vector)
    return operation.add("choice", "affine", signs, tensors=tensors) if tensors else signs


def _masked(operation: Operation, condition: Condition, place: int) -> Value | None:
    """Returns an input where it is selected and 0 elsewhere; None for an input of zeros."""
    taken = operation.operand(place)
    if isinstance(taken, Constant) and uniform(taken.array) == 0:
        return None
    # 1 where the bit is -1, or where it is +1.
    half = np.float32(-0.5 if (place == 1) == condition.strict else 0.5)
    signs = operation.add("signs", "dequantize", condition.bits)
    if isinstance(taken, Constant):
        _, vector = per_channel(operation, place, signs)
    else:
        vector = np.ones(signs.type.shape[-1], np.float32)
    tensors = {"scale": (ABSENT, half * vector), "bias": (ABSENT, vector / 2)}
    mask = operation.add("mask", "affine", signs, tensors=tensors)
    if isinstance(taken, Constant):
        return mask
    return operation.add("taken", "multiply", operation.value(place), mask)


def round_levels(operation: Operation) -> Value:
    """ROUND of 2^bits - 1 times a value between 0 and 1: levels, as in DoReFa-Net."""
    operation.operands(1, 1)
    value = operation.value(0)
    source, steps = operation.reading.scaled(value)
    _, low, high = operation.reading.builder.clipped(source.name)
    bits = next((n for n in range(1, _MAX_LEVEL_BITS + 1) if 2**n - 1 == steps), None)
    if bits is None or low < 0 or high > 1:
        raise operation.wrong("its input must be 2^bits - 1 times a value clipped to [0, 1]")
    levels = operation.add("levels", "quantize", source, bits=bits)
    numbers = operation.add("numbers", "dequantize", levels)
    scale = np.full(value.type.shape[-1], steps, np.float32)
    return operation.add("rounded", "affine", numbers, tensors={"scale": (ABSENT, scale)})
