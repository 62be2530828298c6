"""Reads convolutions and dense layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.formats.lce.model_file import ABSENT, PADDING
from bnnzoo.formats.lce.reading import Operation, Value
from bnnzoo.formats.lce.words import from_words, words
from bnnzoo.graph.packing import PackedSigns
from bnnzoo.graph.windows import ONE_BY_ONE, padding_of

__all__ = ["activated", "bconv2d", "conv2d", "depthwise_conv2d", "fully_connected", "map_shape"]

Array = NDArray[Any]

# fused_activation_function -> bounds.
_BOUNDS = {1: (0.0, math.inf), 2: (-1.0, 1.0), 3: (0.0, 6.0)}
_MAX_PRODUCTS = 2**24  # float32 represents every integer below it


def activated(operation: Operation, value: Value, option: str) -> Value:
    """Adds the activation that is part of an operator."""
    activation = operation.option(option)
    if activation == 0:
        return value
    if activation not in _BOUNDS:
        raise operation.wrong(f"{option} must be none, ReLU, ReLU1 or ReLU6, got {activation}")
    low, high = _BOUNDS[activation]
    return operation.add("activation", "clip", value, low=low, high=high)


def map_shape(operation: Operation, value: Value) -> tuple[int, int, int]:
    """Returns the shape of a feature map."""
    if len(value.type.shape) != 3:
        raise operation.wrong(f"input 0 must be (1, h, w, c), got {(1, *value.type.shape)}")
    height, width, channels = value.type.shape
    return height, width, channels


def _window(
    operation: Operation, value: Value, kernel: tuple[int, ...], names: tuple[str, ...]
) -> dict[str, Any]:
    """Returns strides, dilation and padding; `names` are the names of the four options."""
    strides = tuple(operation.option(name, least=1) for name in names[:2])
    dilation = tuple(operation.option(name, least=1) for name in names[2:])
    rule = list(PADDING)[operation.option("padding", most=1)]
    padding = padding_of(rule, map_shape(operation, value)[:2], kernel, strides, dilation)
    return {"strides": strides, "dilation": dilation, "padding": padding}


def _biased(operation: Operation, value: Value, place: int) -> Value:
    if operation.operand(place) is None:
        return value
    bias = operation.constant(place)
    if bias.shape != value.type.shape[-1:]:
        raise operation.wrong(f"input {place} must have {value.type.shape[-1]} numbers")
    return operation.add("bias", "affine", value, tensors={"bias": (place, bias)})


_STRIDES = ("strideH", "strideW", "dilationHFactor", "dilationWFactor")


def _kernel(operation: Operation, axes: int) -> Array:
    kernel = operation.constant(1)
    if kernel.ndim != axes or 0 in kernel.shape:
        raise operation.wrong(f"input 1 must be a kernel with {axes} axes, got {kernel.shape}")
    return kernel


def conv2d(operation: Operation) -> Value:
    """CONV_2D: (input, kernel `(c_out, h, w, c_in / groups)`, bias)."""
    operation.operands(2, 3)
    value, kernel = operation.value(0), _kernel(operation, 4)
    channels = map_shape(operation, value)[2]
    groups = max(1, channels // kernel.shape[3])
    return _real(operation, value, kernel, groups, kernel.shape[1:3])


def depthwise_conv2d(operation: Operation) -> Value:
    """DEPTHWISE_CONV_2D: the kernel is `(1, h, w, c_out)`."""
    operation.operands(2, 3)
    value, kernel = operation.value(0), _kernel(operation, 4)
    if kernel.shape[0] != 1:
        raise operation.wrong(f"input 1 must be (1, h, w, c), got {kernel.shape}")
    groups = map_shape(operation, value)[2]
    return _real(operation, value, kernel.transpose(3, 1, 2, 0), groups, kernel.shape[1:3])


def _real(
    operation: Operation, value: Value, kernel: Array, groups: int, size: tuple[int, ...]
) -> Value:
    window = _window(operation, value, size, _STRIDES)
    tensors = {"kernel": (1, kernel)}
    sums = operation.add("conv", "conv2d", value, tensors=tensors, groups=groups, **window)
    return activated(operation, _biased(operation, sums, 2), "fusedActivationFunction")


def fully_connected(operation: Operation) -> Value:
    """FULLY_CONNECTED: (input, weights `(units, inputs)`, bias), read as a 1 x 1 convolution."""
    operation.operands(2, 3)
    value, weights = operation.value(0), _kernel(operation, 2)
    if operation.option("weightsFormat"):
        raise operation.wrong("its weights must have the default format")
    units, inputs = weights.shape
    rest = value.type.shape[:-1] if operation.option("keepNumDims", most=1) else ()
    if math.prod(value.type.shape) != inputs * math.prod(rest):
        raise operation.wrong(f"input 0 must have {inputs} numbers, got {value.type.shape}")
    pixels = operation.add("pixels", "reshape", value, shape=(1, math.prod(rest), inputs))
    tensors = {"kernel": (1, weights.reshape(units, 1, 1, inputs))}
    sums = operation.add("conv", "conv2d", pixels, tensors=tensors, **ONE_BY_ONE)
    result = activated(operation, _biased(operation, sums, 2), "fusedActivationFunction")
    return operation.add("units", "reshape", result, shape=(*rest, units))


def bconv2d(operation: Operation) -> Value:
    """LceBconv2d: (bits, kernel, multiplier, bias, thresholds)."""
    operation.operands(5, 5)
    value = operation.value(0, "bits")
    kernel = _binary_kernel(operation, map_shape(operation, value)[2])
    names = ("stride_height", "stride_width", "dilation_height_factor", "dilation_width_factor")
    window = _window(operation, value, kernel.shape[1:3], names)
    pad_value = operation.option("pad_values", most=1)
    sums = operation.add(
        "conv", "bconv2d", value, tensors={"kernel": (1, kernel)},
        groups=1, pad_value=pad_value, **window,
    )  # fmt: skip
    if operation.target.is_real:
        return _scaled(operation, sums)
    if pad_value == 0 and any(window["padding"]):
        raise operation.wrong("a result of bits must not have zero padding")
    # The thresholds include the activation. LCE does not read this option either.
    operation.option("fused_activation_function", most=3)
    return _compared(operation, sums, kernel.K)


def _binary_kernel(operation: Operation, channels: int) -> PackedSigns:
    packed = operation.constant(1, "integers")
    if packed.ndim != 4 or 0 in packed.shape or packed.shape[3] != words(channels):
        raise operation.wrong(
            f"input 1 must be (c_out, h, w, {words(channels)}) words, got {packed.shape}"
        )
    if operation.option("channels_in") != channels:
        raise operation.wrong(f"channels_in must be {channels}")
    shape = (*packed.shape[:3], channels)
    if math.prod(shape[1:]) >= _MAX_PRODUCTS:
        raise operation.wrong(f"a sum must have fewer than {_MAX_PRODUCTS} products")
    operation.reading.spend(packed.nbytes)
    negative = from_words(packed, channels)
    if negative is None:
        raise operation.wrong("unused bits of the kernel must be 0")
    return PackedSigns(
        np.packbits(negative.reshape(shape[0], -1), axis=-1, bitorder="little"), shape
    )


def _scaled(operation: Operation, sums: Value) -> Value:
    """Adds the activation, the multiplier and the bias, in this order."""
    value = activated(operation, sums, "fused_activation_function")
    tensors = {}
    for place, role, neutral in ((2, "scale", 1.0), (3, "bias", 0.0)):
        vector = operation.constant(place)
        if vector.shape != value.type.shape[-1:]:
            raise operation.wrong(f"input {place} must have {value.type.shape[-1]} numbers")
        if np.any(vector != neutral):
            tensors[role] = (place, vector)
    return operation.add("scaled", "affine", value, tensors=tensors) if tensors else value


def _compared(operation: Operation, sums: Value, K: int) -> Value:
    """Adds the comparison with thresholds on the number p of products that are -1.

    A sum is K - 2 p, so that p > t is sum - (K - 2 t) < 0. All are integers below 2^24.
    """
    thresholds = operation.constant(4, "integers")
    if thresholds.shape != sums.type.shape[-1:]:
        raise operation.wrong(f"input 4 must have {sums.type.shape[-1]} numbers")
    counts = np.clip(thresholds.astype(np.int64), -1, K)
    bias = (2 * counts - K).astype(np.float32)
    shifted = operation.add("shifted", "affine", sums, tensors={"bias": (ABSENT, bias)})
    return operation.add("sign", "sign", shifted)
