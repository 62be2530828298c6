"""Reads convolutions and dense layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bnnzoo.formats.qonnx.reading import Array, Value, channels_first
from bnnzoo.formats.qonnx.reading_operation import Operation
from bnnzoo.graph.windows import ONE_BY_ONE, Padding, extent, padding_of, span

__all__ = ["conv", "conv_transpose", "convolved", "gemm", "matmul", "window"]

_MAP = channels_first(3)
# Absolute rounding error of (a - b) + b, where a is the scale of a channel and b is in [-1, 1], and
# the largest error relative to the scale.
_ROUNDING_ERROR = 2.0**-22
_MAX_SPREAD = 0.01


def window(operation: Operation, value: Value, kernel: tuple[int, ...]) -> dict[str, Any]:
    """Returns the strides, dilation and padding of a window over a feature map."""
    strides, dilation = (_pair(operation, name) for name in ("strides", "dilations"))
    rule = operation.word("auto_pad", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
    padding = _pads(operation) if rule == "NOTSET" else (0, 0, 0, 0)
    if rule.startswith("SAME"):
        padding = padding_of("same", value.shape[2:], kernel, strides, dilation)
    if rule == "SAME_LOWER":
        padding = (padding[1], padding[0], padding[3], padding[2])
    return {"strides": strides, "dilation": dilation, "padding": padding}


def _pads(operation: Operation) -> Padding:
    """Returns pads as (top, bottom, left, right)."""
    pads = operation.integers("pads") or (0, 0, 0, 0)
    if len(pads) != 4 or min(pads) < 0:
        raise operation.wrong(f"pads must be four integers of at least 0, got {pads}")
    top, left, bottom, right = pads
    return top, bottom, left, right


def _pair(operation: Operation, name: str) -> tuple[int, ...]:
    pair = operation.integers(name) or (1, 1)
    if len(pair) != 2 or min(pair) < 1:
        raise operation.wrong(f"{name} must be two integers of at least 1, got {pair}")
    return pair


def _kernel(operation: Operation) -> Array:
    kernel = operation.whole(1)
    if kernel.ndim != 4 or 0 in kernel.shape:
        raise operation.wrong(f"input 1 must be a kernel with 4 axes, got shape {kernel.shape}")
    wanted = operation.integers("kernel_shape")
    if wanted not in (None, kernel.shape[2:]):
        raise operation.wrong(f"kernel_shape must be {kernel.shape[2:]}, got {wanted}")
    return kernel


def _one_scale(kernel: Array) -> Array:
    """Makes the magnitudes in each channel of a kernel `(c_out, ...)` equal if they nearly are.

    When an exporter folds a straight-through estimator, its rounding errors remain in the weights.
    """
    sizes = np.abs(kernel).reshape(len(kernel), -1)
    mean = sizes.mean(axis=1)
    spread = sizes.max(axis=1) - sizes.min(axis=1)
    if (spread > np.minimum(_ROUNDING_ERROR, _MAX_SPREAD * mean)).any():
        return kernel
    scale = mean.reshape(-1, *[1] * (kernel.ndim - 1))
    return np.asarray(np.where(kernel < 0, -scale, scale))


def conv(operation: Operation) -> Value:
    """Conv: (images, kernel `(c_out, c_in / group, h, w)`, bias)."""
    operation.operands(2, 3)
    value, kernel = operation.map(operation.value()), _kernel(operation)
    sums = convolved(operation, value, kernel, operation.integer("group", 1, least=1))
    return _biased(operation, sums, kernel.shape[0])


def convolved(operation: Operation, value: Value, kernel: Array, groups: int) -> Value:
    """Returns a feature map convolved with a kernel `(c_out, c_in / groups, h, w)`."""
    kernel = _one_scale(kernel)
    return operation.add(
        "conv", "conv2d", value, tensors={"kernel": kernel.transpose(0, 2, 3, 1)},
        groups=groups, **window(operation, value, kernel.shape[2:]),
    )  # fmt: skip


def _biased(operation: Operation, sums: Value, channels: int) -> Value:
    if operation.operand(2) is None:
        return sums
    bias = operation.constant(2)
    if bias.shape != (channels,):
        raise operation.wrong(f"input 2 must have shape ({channels},), got {bias.shape}")
    return operation.affine("bias", sums, bias=bias.reshape(1, -1, 1, 1))


def conv_transpose(operation: Operation) -> Value:
    """ConvTranspose: (images, kernel `(c_in, c_out, h, w)`, bias)."""
    operation.operands(2, 3)
    value, kernel = operation.map(operation.value()), _kernel(operation)
    operation.integer("group", 1, least=1, most=1)
    operation.word("auto_pad", "NOTSET")
    if "output_shape" in operation.entry.attributes:
        raise operation.wrong("output_shape must be omitted. Use pads instead")
    strides, dilation = (_pair(operation, name) for name in ("strides", "dilations"))
    top, bottom, left, right = _pads(operation)
    more = operation.integers("output_padding") or (0, 0)
    if len(more) != 2:
        raise operation.wrong(f"output_padding must be two integers, got {more}")
    pixels = tuple(
        span(n, extent(taps, rate), stride) - before - behind + extra
        for n, stride, taps, rate, before, behind, extra in zip(
            value.shape[2:], strides, kernel.shape[2:], dilation, (top, left), (bottom, right),
            more, strict=True,
        )
    )  # fmt: skip
    sums = operation.add(
        "conv", "conv2d_transpose", value, tensors={"kernel": kernel.transpose(1, 2, 3, 0)},
        strides=strides, dilation=dilation, crop=(top, left), pixels=pixels,
    )  # fmt: skip
    return _biased(operation, sums, kernel.shape[1])


def gemm(operation: Operation) -> Value:
    """Gemm: alpha * x @ w + beta * c."""
    operation.operands(2, 3)
    operation.integer("transA", 0, least=0, most=0)
    weights = _weights(operation)
    if operation.integer("transB", 0, least=0, most=1):
        weights = weights.T
    weights = weights * np.float32(operation.number("alpha", 1.0))
    value = operation.value()
    if len(value.shape) != 2:
        raise operation.wrong(f"input 0 must be (1, units), got {value.shape}")
    sums = _dense(operation, value, weights)
    if operation.operand(2) is None:
        return sums
    beta = np.float32(operation.number("beta", 1.0))
    return operation.affine("bias", sums, bias=beta * operation.parameter(2, sums))


def matmul(operation: Operation) -> Value:
    """MatMul of a value and a constant matrix."""
    operation.operands(2, 2)
    return _dense(operation, operation.value(), _weights(operation))


def _weights(operation: Operation) -> Array:
    weights = operation.whole(1)
    if weights.ndim != 2 or 0 in weights.shape:
        raise operation.wrong(f"input 1 must be a matrix, got shape {weights.shape}")
    return weights


def _dense(operation: Operation, value: Value, weights: Array) -> Value:
    """Multiplies the last axis of a tensor by `(inputs, units)`, as a 1 x 1 convolution."""
    inputs, units = weights.shape
    value = operation.last(value, len(value.axes) - 1)
    if value.channels != inputs:
        raise operation.wrong(f"input 0 must have {inputs} features, got shape {value.shape}")
    rest = value.type.shape[:-1]
    pixels = operation.add(
        "pixels", "reshape", value, view=_MAP, shape=(1, math.prod(rest), inputs)
    )
    kernel = _one_scale(weights.T.reshape(units, 1, 1, inputs))
    sums = operation.add("conv", "conv2d", pixels, tensors={"kernel": kernel}, **ONE_BY_ONE)
    return operation.add("units", "reshape", sums, view=value.axes, shape=(*rest, units))
