"""Reads the layers of OpenVINO that have no ONNX equivalent."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bnnzoo.formats.qonnx.folding import FOLD, broadcast
from bnnzoo.formats.qonnx.reading import Array, Value
from bnnzoo.formats.qonnx.reading_convolutions import convolved, window
from bnnzoo.formats.qonnx.reading_operation import Operation
from bnnzoo.formats.qonnx.reading_operators import READ
from bnnzoo.formats.qonnx.reading_quantizers import levels_of
from bnnzoo.graph.packing import pack

__all__ = ["FOLD_LAYERS", "READ_LAYERS"]

_MAX_LEVEL_BITS = 8


def _binary_convolution(operation: Operation) -> Value:
    """BinaryConvolution: (x, kernel `(c_out, c_in, h, w)`), both with 0 for -1 and 1 for +1.

    With a `pad_value` of 0, padding contributes nothing to a sum, as in OpenVINO's CPU plugin.
    """
    operation.operands(2, 2)
    value, kernel = operation.value(), operation.constant(1)
    choice = operation.reading.choices.get(value.name)
    if choice is None or {choice.minus, choice.plus} != {0.0, 1.0}:
        raise operation.wrong("input 0 must be a FakeQuantize with the 2 levels 0 and 1")
    if kernel.ndim != 4 or 0 in kernel.shape or not np.isin(kernel, (0, 1)).all():
        raise operation.wrong(f"input 1 must be a kernel of 0 and 1, got shape {kernel.shape}")
    border = operation.number("pad_value", math.nan)
    if border not in (-1, 0, 1):
        raise operation.wrong(f"pad_value must be -1, 0 or 1, got {border}")
    bits = operation.map(operation.reading.value(choice.bits.name, value.axes))
    # If +1 bits stand for 0, the products have the opposite sign.
    sign = 1 if choice.plus == 1.0 else -1
    signs = np.where(kernel == 1, np.int8(sign), np.int8(-sign)).transpose(0, 2, 3, 1)
    return operation.add(
        "conv", "bconv2d", bits, tensors={"kernel": pack(signs)}, groups=1,
        pad_value=sign * int(border), **window(operation, operation.map(value), kernel.shape[2:]),
    )  # fmt: skip


def _fake_quantize(operation: Operation) -> Value:
    """FakeQuantize: (x, input_low, input_high, output_low, output_high), with 2^bits levels.

    With two levels, the result is output_high if x is above the middle of input_low and input_high,
    which may be equal, and output_low otherwise.
    """
    operation.operands(5, 5)
    levels = operation.integer("levels", least=2)
    value = operation.value()
    low, high, least, most = (operation.parameter(place, value) for place in range(1, 5))
    if levels == 2 and (low <= high).all():
        middle = np.where(low == high, low, low / 2 + high / 2)
        # x > middle where middle - x < 0. At the middle itself, one half rounds to 0.
        opposite = operation.affine("opposite", value, scale=-1.0, bias=middle)
        signs = operation.signs("signs", operation.add("bits", "sign", opposite))
        return operation.affine("scaled", signs, scale=(least - most) / 2, bias=(least + most) / 2)
    bits = levels.bit_length() - 1
    if levels != 2**bits or bits > _MAX_LEVEL_BITS or not (low < high).all():
        raise operation.wrong(
            f"it must have 2^bits levels with 1 to {_MAX_LEVEL_BITS} bits, and input_low must be "
            f"below input_high, or equal to it with 2 levels, got {levels} levels"
        )
    unit = operation.affine("unit", value, scale=1 / (high - low), bias=-low / (high - low))
    return operation.affine(
        "scaled", levels_of(operation, unit, bits), scale=most - least, bias=least
    )


def _folded_fake_quantize(operation: Operation) -> Array:
    x, low, high, least, most = (array.astype(np.float32) for array in broadcast(operation, 5, 5))
    steps = np.float32(operation.integer("levels", least=2) - 1)
    inside = np.rint((x - low) / (high - low) * steps) / steps * (most - least) + least
    ends = np.where(x > np.maximum(low, high), most, inside)
    return np.where(x <= np.minimum(low, high), least, ends)


def _group_convolution(operation: Operation) -> Value:
    """GroupConvolution: (images, kernel `(groups, c_out / groups, c_in / groups, h, w)`)."""
    operation.operands(2, 2)
    kernel = operation.constant(1)
    if kernel.ndim != 5 or 0 in kernel.shape:
        raise operation.wrong(f"input 1 must be a kernel with 5 axes, got {kernel.shape}")
    merged = kernel.reshape(-1, *kernel.shape[2:]).astype(np.float32)
    return convolved(operation, operation.map(operation.value()), merged, kernel.shape[0])


def _prelu(operation: Operation) -> Value:
    """PReLU: (x, slopes). A vector of slopes has one per channel."""
    operation.operands(2, 2)
    value, alpha = operation.value(), operation.constant(1)
    if alpha.ndim == 1 and alpha.size == value.shape[1]:
        alpha = alpha.reshape(-1, *[1] * (len(value.shape) - 2))
    return operation.elementwise("prelu", "prelu", value, alpha=alpha)


def _clamp(operation: Operation) -> Value:
    operation.operands(1, 1)
    ends: dict[str, Any] = {
        "low": operation.number("min", math.nan), "high": operation.number("max", math.nan),
    }  # fmt: skip
    return operation.add("clip", "clip", operation.value(), **ends)


READ_LAYERS = {
    **READ,
    "BinaryConvolution": _binary_convolution,
    "Clamp": _clamp,
    "FakeQuantize": _fake_quantize,
    "GroupConvolution": _group_convolution,
    "PReLU": _prelu,
}
FOLD_LAYERS = {**FOLD, "FakeQuantize": _folded_fake_quantize}
