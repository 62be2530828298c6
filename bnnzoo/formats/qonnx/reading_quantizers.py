"""Reads quantizers and comparisons as signs, levels, or sums of these.

A comparison is read as bits, so that a choice between two numbers becomes a sign:

    x < t    is    sign(x - t) = -1        x > t    is    sign(t - x) = -1

<= and >= are the opposite signs of these. This is exact: the difference of two float32 numbers is 0
only if they are equal.
"""

from __future__ import annotations

import numpy as np

from bnnzoo.formats.qonnx.choosing import choose
from bnnzoo.formats.qonnx.reading import Array, Choice, Condition, Value, compact
from bnnzoo.formats.qonnx.reading_operation import Operation

__all__ = [
    "bipolar_quant",
    "cast",
    "compare",
    "levels_of",
    "multi_threshold",
    "not_",
    "quant",
    "round_",
    "sign",
    "where",
]

_MAX_LEVEL_BITS = 8
_MAX_THRESHOLDS = 63  # limited by the inputs of one sum
_FLOATS = (1, 10, 11, 16)  # ONNX's numbers of float32, float16, float64, bfloat16


def _bits(operation: Operation, part: str, value: Value) -> Value:
    """Returns -1.0 where a value is below 0, +1.0 elsewhere."""
    return operation.signs(part, operation.add(f"{part}/bits", "sign", value))


def bipolar_quant(operation: Operation) -> Value:
    """BipolarQuant: (x, scale)."""
    operation.operands(2, 2)
    signs = _bits(operation, "signs", operation.value())
    return operation.affine("scaled", signs, scale=operation.parameter(1, signs))


def quant(operation: Operation) -> Value:
    """Quant: (x, scale, zero point, bits), to 2^bits levels, or to -1, 0 and +1."""
    operation.operands(4, 4)
    operation.word("rounding_mode", "ROUND")
    value = operation.value()
    scale, zero = operation.parameter(1, value), operation.parameter(2, value)
    if not (scale > 0).all() or (zero != np.rint(zero)).any():
        raise operation.wrong("its scale must be above 0, and its zero point must be an integer")
    bits = operation.scalar(3)
    signed, narrow = (operation.integer(name, int(name == "signed"), least=0, most=1)
                      for name in ("signed", "narrow"))  # fmt: skip
    if bits == 2 and signed and narrow and not zero.any():
        steps = _three_way(operation, operation.affine("steps", value, scale=1 / scale), 0.5)
        return operation.affine("scaled", steps, scale=scale)
    if narrow or not signed <= bits - 1 < _MAX_LEVEL_BITS or bits != int(bits):
        raise operation.wrong(
            f"it must be not narrow with 1 to {_MAX_LEVEL_BITS} bits (at least 2 if it is signed), "
            f"or signed and narrow with 2 bits, got bits {bits}, signed {signed}, narrow {narrow}"
        )
    least = -(2 ** (int(bits) - 1)) if signed else 0
    return _levels(operation, value, scale, zero - least, int(bits))


def _levels(operation: Operation, value: Value, scale: Array, offset: Array, bits: int) -> Value:
    """Returns (round(clip(value / scale + offset, 0, n)) - offset) * scale, n = 2^bits - 1.

    Levels of a graph are round(n * u) with u from 0 to 1. Halves round to the same integers in
    both forms, because the offset differs from the zero point by an even number.
    """
    n = np.float32(2**bits - 1)
    source, factor = operation.scaled(value)
    by = np.float32(factor) / (scale * n)
    exact = (factor / (scale.astype(np.float64) * (2**bits - 1)) == 1).all()
    unit = operation.affine("unit", source, scale=np.ones(1) if exact else by, bias=offset / n)
    numbers = levels_of(operation, unit, bits)
    return operation.affine("scaled", numbers, scale=scale * n, bias=-offset * scale)


def levels_of(operation: Operation, unit: Value, bits: int) -> Value:
    """Returns round(clip(unit, 0, 1) * n) / n, n = 2^bits - 1."""
    levels = operation.add("levels", "quantize", unit, bits=bits)
    return operation.add("numbers", "dequantize", levels)


def _three_way(operation: Operation, value: Value, bound: float) -> Value:
    """Returns +1 where a value is above a bound, -1 where it is below -bound, and 0 elsewhere."""
    minus = operation.affine("opposite", value, scale=-1.0, bias=bound)
    above = _bits(operation, "above", minus)
    plus = operation.affine("shifted", value, bias=bound)
    half, opposite = np.float32(0.5), np.float32(-0.5)
    return operation.add(
        "sum", "add",
        operation.affine("not_below", _bits(operation, "below", plus), scale=half),
        operation.affine("is_above", above, scale=opposite),
    )  # fmt: skip


def sign(operation: Operation) -> Value:
    """Sign, which is 0 at 0. Sign(Sign(x) + c) with 0 < |c| < 1 has no zeros and becomes bits."""
    operation.operands(1, 1)
    value = operation.value()
    reading = operation.reading
    source, added = operation.shifted(value)
    if source.name in reading.three_way and 0 < abs(added) < 1:
        value = reading.three_way[source.name]
        if added > 0:
            return _bits(operation, "signs", value)
        opposite = operation.affine("opposite", value, scale=-1.0)
        return operation.affine("minus", _bits(operation, "signs", opposite), scale=-1.0)
    result = _three_way(operation, value, 0.0)
    reading.three_way[result.name] = value
    return result


def multi_threshold(operation: Operation) -> Value:
    """MultiThreshold: (x, thresholds `(channels, steps)`), the number of thresholds <= x."""
    operation.operands(2, 2)
    value, thresholds = operation.value(), operation.constant(1)
    layout = operation.word("data_layout", "NCHW", "NC", "NHWC")
    place = len(value.axes) - 1 if layout == "NHWC" else 0
    value = operation.last(value, place)
    fits = thresholds.ndim == 2 and thresholds.shape[0] in (1, value.channels)
    if not fits or not 0 < thresholds.shape[1] <= _MAX_THRESHOLDS:
        raise operation.wrong(
            f"input 1 must be ({value.channels}, 1 to {_MAX_THRESHOLDS}), got {thresholds.shape}"
        )
    scale, bias = operation.number("out_scale", 1.0), operation.number("out_bias", 0.0)
    lengths = [1] * len(value.shape)
    lengths[1 + place] = -1
    parts = []
    for column in thresholds.astype(np.float32).T:
        shifted = operation.affine("shifted", value, bias=-column.reshape(lengths))
        parts.append(_bits(operation, "signs", shifted))
    total = parts[0] if len(parts) == 1 else operation.add("sum", "add", *parts)
    half = scale / 2
    return operation.affine(
        "scaled", total, scale=np.float32(half), bias=np.float32(half * len(parts) + bias)
    )


def compare(operation: Operation, *, below: bool, strict: bool) -> Condition:
    """Less, Greater and similar, of a value and a constant, or of two values.

    Args:
        operation: The operator.
        below: Whether it is `<` or `<=`.
        strict: Whether it is `<` or `>`.
    """
    operation.operands(2, 2)
    first, second = operation.operand(0), operation.operand(1)
    bound = None
    if isinstance(first, Value) and isinstance(second, Value):
        pair = operation.alike(first, second)
        pair = pair if below == strict else pair[::-1]
        difference = operation.add("difference", "subtract", *pair)
    else:
        place = 1 if isinstance(first, Value) else 0
        value = operation.value(1 - place)
        bound = operation.parameter(place, value)
        sign = 1.0 if (below == strict) == (place == 1) else -1.0
        difference = operation.affine("difference", value, scale=sign, bias=-sign * bound)
    bits = operation.add("bits", "sign", difference)
    if bound is not None and bound.size == 1:
        # -1 where a strict comparison is true, or where another one is false.
        less = below == strict if place == 1 else below != strict
        operation.reading.bounds[bits.name] = value, float(bound.item()), less
    return Condition(bits, strict)


def not_(operation: Operation) -> Condition:
    """Not: the same bits, with a strict comparison becoming a non-strict one and vice versa."""
    condition = _condition(operation)
    return Condition(condition.bits, not condition.strict)


def _condition(operation: Operation) -> Condition:
    condition = operation.operand(0)
    if not isinstance(condition, Condition):
        raise operation.wrong("input 0 must be a comparison of values")
    return condition


def cast(operation: Operation) -> Value:
    """Cast to a floating-point type. A comparison becomes 0 and 1."""
    operation.operands(1, 1)
    if operation.integer("to") not in _FLOATS:
        raise operation.wrong(f"it must be to floating point, got type {operation.integer('to')}")
    if isinstance(operation.operand(0), Condition):
        condition = _condition(operation)
        ends = (1.0, 0.0) if condition.strict else (0.0, 1.0)
        chosen = choose(operation, Choice(condition.bits, *ends))
        assert chosen is not None
        return chosen
    operation.copies(0)
    return operation.value()


def where(operation: Operation) -> Value:
    """Where: (condition, result where it is true, result where it is false)."""
    operation.operands(3, 3)
    condition = _condition(operation)
    taken = [_taken(operation, place) for place in (1, 2)]
    minus, plus = taken if condition.strict else taken[::-1]
    if not isinstance(minus, np.ndarray) and not isinstance(plus, np.ndarray):
        known = choose(operation, Choice(condition.bits, minus, plus))
        if known is not None:
            return known
    signs = operation.signs("signs", condition.bits)
    parts = []
    for sign, part in ((-0.5, minus), (0.5, plus)):
        mask = operation.affine("mask", signs, scale=np.float32(sign), bias=np.float32(0.5))
        if isinstance(part, Value):
            parts.append(operation.add("taken", "multiply", *operation.alike(part, mask)))
        else:
            parts.append(operation.affine("taken", mask, scale=np.asarray(part)))
    return operation.add("choice", "add", *operation.alike(*parts))


def _taken(operation: Operation, place: int) -> Value | Array | float:
    """Returns an input: a value, a constant array, or a number if all its elements are equal."""
    if isinstance(operation.operand(place), np.ndarray):
        array = compact(operation.constant(place)).astype(np.float32)
        return float(array.item()) if array.size == 1 else array
    return operation.value(place)


def round_(operation: Operation) -> Value:
    """Round of (2^bits - 1) * x with x from 0 to 1: the levels of DoReFa-Net."""
    operation.operands(1, 1)
    source, steps = operation.scaled(operation.value())
    _, low, high = operation.reading.builder.clipped(source.name)
    bits = next((n for n in range(1, _MAX_LEVEL_BITS + 1) if 2**n - 1 == steps), None)
    if bits is None or low < 0 or high > 1:
        raise operation.wrong("its input must be (2^bits - 1) * x with x clipped to 0 and 1")
    numbers = levels_of(operation, source, bits)
    return operation.affine("rounded", numbers, scale=np.float32(steps))
