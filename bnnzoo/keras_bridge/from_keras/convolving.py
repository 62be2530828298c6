"""Converts dense layers and convolutions, quantized or real."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import layers
from numpy.typing import NDArray

from bnnzoo import nn
from bnnzoo.graph.windows import ONE_BY_ONE, extent, padding_of, span
from bnnzoo.keras_bridge.from_keras.activating import activate, affine
from bnnzoo.keras_bridge.from_keras.emitter import Emitter, numbers
from bnnzoo.keras_bridge.from_keras.quantizing import Kernel, quantize, quantized_kernel

__all__ = ["CONVOLVING", "channels_last", "convolution", "dense"]


# Attributes of a binary convolution in a graph; pad_value defaults to 0.
Window = Mapping[str, Any]


def channels_last(emit: Emitter) -> None:
    """Refuses layers with channels first."""
    if getattr(emit.layer, "data_format", "channels_last") != "channels_last":
        emit.refuse(
            f"data_format must be 'channels_last', got {emit.layer.data_format!r}",
            "Build the model with channels last.",
        )


def dense(emit: Emitter) -> str:
    """Writes a dense layer as a 1 x 1 convolution."""
    layer = emit.layer
    x = _quantized_input(emit)
    kernel = _kernel(emit, "kernel")
    *leading, features = emit.shape(x)
    image = (1, math.prod(leading), features) if len(leading) != 2 else emit.shape(x)
    x = emit.reshape("image", x, tuple(image))
    kernel = dataclasses.replace(kernel, values=kernel.values[None, None])
    y = _two_valued(emit, x, kernel, ONE_BY_ONE)
    y = activate(emit, y, layer.activation)
    return emit.reshape("features", y, (*leading, layer.units))


def convolution(emit: Emitter) -> str:
    """Writes a convolution over one or two axes, grouped or not."""
    layer = emit.layer
    x = _image(emit, _quantized_input(emit))
    kernel = _spatial(_kernel(emit, "kernel"))
    window = _window(emit, x, kernel, layer.groups)
    y = _two_valued(emit, x, kernel, window)
    return _sequence(emit, activate(emit, y, layer.activation))


def depthwise(emit: Emitter) -> str:
    """Writes a convolution of each channel separately."""
    layer = emit.layer
    x = _image(emit, _quantized_input(emit))
    y = _depthwise(emit, x, "kernel")
    y = _scale_and_bias(emit, y, None, layer.bias if layer.use_bias else None)
    return _sequence(emit, activate(emit, y, layer.activation))


def separable(emit: Emitter) -> str:
    """Writes a depthwise and a 1 x 1 convolution, with real values between them."""
    layer = emit.layer
    x = _image(emit, _quantized_input(emit))
    y = _depthwise(emit, x, "depthwise_kernel")
    kernel = _without_offset(_spatial(_kernel(emit, "pointwise_kernel")))
    y = _convolve(emit, y, kernel, ONE_BY_ONE, "pointwise_kernel")
    y = _scale_and_bias(
        emit, y, kernel.scale, layer.bias if layer.use_bias else None, "pointwise_kernel_scale"
    )
    return _sequence(emit, activate(emit, y, layer.activation))


def transposed(emit: Emitter) -> str:
    """Writes a transposed convolution over one or two axes."""
    layer = emit.layer
    x = _image(emit, _quantized_input(emit))
    kernel = _spatial(_kernel(emit, "kernel"))
    if kernel.scale is not None or kernel.offset is not None:
        # The scale is along the input channels, so that it is not a factor of the sums.
        kernel = kernel.as_real()
    binary = kernel.binary and emit.type(x).kind != "real"
    strides, dilation = _pair(layer.strides), _pair(layer.dilation_rate)
    size = (1, *(int(size or 0) for size in emit.call.shapes[0][:-1]))[-2:]
    y = emit.add(
        "conv",
        "bconv2d_transpose" if binary else "conv2d_transpose",
        x,
        {"kernel": ("kernel", np.ascontiguousarray(kernel.values.transpose(2, 0, 1, 3)))},
        strides=strides,
        dilation=dilation,
        crop=tuple(
            _cropped(inputs, outputs, taps, stride, rate, layer.padding)
            for inputs, outputs, taps, stride, rate in zip(
                emit.shape(x)[:2], size, kernel.values.shape[:2], strides, dilation, strict=True
            )
        ),
        pixels=size,
    )
    y = _scale_and_bias(emit, y, None, layer.bias if layer.use_bias else None)
    return _sequence(emit, activate(emit, y, layer.activation))


def _cropped(inputs: int, outputs: int, taps: int, stride: int, rate: int, padding: str) -> int:
    """Returns the pixels that Keras crops at the start: those that "same" would pad."""
    total = max(span(inputs, extent(taps, rate), stride) - outputs, 0)
    return total // 2 if padding == "same" else 0


def _quantized_input(emit: Emitter) -> str:
    channels_last(emit)
    quantizer = getattr(emit.layer, "input_quantizer", None)
    x = quantize(emit, emit.x, quantizer)
    if quantizer is not None:
        emit.quantized = x
    return x


def _kernel(emit: Emitter, name: str) -> Kernel:
    """Returns a kernel of the layer, quantized."""
    if getattr(emit.layer, "quantization_mode", None) is not None:
        emit.refuse(
            f"it is quantized by Keras ({emit.layer.quantization_mode})",
            "Convert the model before model.quantize; --weights-dtype int8 stores 8 bits.",
        )
    pairs = getattr(emit.layer, "quantizers", ())
    quantizers = {variable.name: quantizer for variable, quantizer in pairs}
    # With LoRA, this is the sum of the kernel and its update.
    return quantized_kernel(emit, getattr(emit.layer, name), quantizers.get(name))


def _spatial(kernel: Kernel) -> Kernel:
    """Returns a kernel over one axis as a kernel over two axes, of height 1."""
    if kernel.values.ndim != 3:
        return kernel
    return dataclasses.replace(kernel, values=kernel.values[None])


def _two_valued(emit: Emitter, x: str, kernel: Kernel, window: Window) -> str:
    """Writes a convolution with the scale, offset and bias of its kernel and of its input.

    With signs s and t, an input a (s + b) inside the image and 0 outside, and a kernel d t + m, the
    sums over the taps inside the image are

        a (d sum(s t) + m sum(s) + b sum(d t + m))

    sum(s) is a convolution of s with ones. The last sum does not depend on the image: it is a
    convolution of ones with the channel sums of the kernel.
    """
    layer = emit.layer
    bias = layer.bias if layer.use_bias else None
    quantizer = getattr(layer, "input_quantizer", None)
    adaptive = quantizer if isinstance(quantizer, nn.AdaptiveSign) else None
    if adaptive is not None and _border(window):
        emit.refuse(
            f"pad_values must be 0 with AdaptiveSign, got {window['pad_value']}",
            "Its border is 0, as in AdaBin.",
        )
    if emit.type(x).kind != "bits" or not kernel.binary:
        if adaptive is not None:
            scale, center = float(adaptive.scale), float(adaptive.center)
            x = affine(emit, x, "input", scale, scale * center)
        kernel, adaptive = _without_offset(kernel), None
    y = _convolve(emit, x, kernel, window, "kernel")
    if adaptive is None and kernel.offset is None:
        return _scale_and_bias(emit, y, kernel.scale, bias)
    terms = [_scale_and_bias(emit, y, kernel.scale, None)]
    if kernel.offset is not None:
        terms.append(_offset_term(emit, x, kernel, window))
    center = 0.0 if adaptive is None else float(adaptive.center)
    if center:
        terms.append(_center_term(emit, x, kernel, window, center))
    y = emit.add("terms", "add", terms) if len(terms) > 1 else terms[0]
    factor = None if adaptive is None else np.full(emit.shape(y)[-1], float(adaptive.scale))
    return _scale_and_bias(emit, y, factor, bias, "input_scale")


def _offset_term(emit: Emitter, x: str, kernel: Kernel, window: Window) -> str:
    """Writes m sum(s): a convolution of signs with ones, whose sums go to every filter."""
    height, width, channels, filters = kernel.values.shape
    groups = window["groups"]
    ones = np.ones((groups, height, width, channels), np.int8)
    tensors = {"kernel": ("ones", ones)}
    sums = emit.add("sums", "bconv2d", x, tensors, **{"pad_value": 0, **window})
    assert kernel.offset is not None
    offset = kernel.offset.reshape(filters, 1, 1, 1)
    window = {**ONE_BY_ONE, "groups": groups}
    return _real_convolve(emit, sums, offset, window, "kernel_offset", "offset")


def _center_term(emit: Emitter, x: str, kernel: Kernel, window: Window, center: float) -> str:
    """Writes b sum(d t + m): a convolution of ones, which the runtime computes when it loads."""
    pixel = np.ones((1, 1, 1, emit.shape(x)[-1]), np.int8)
    ones = emit.add("pixel", "bconv2d", x, {"kernel": ("pixel", pixel)}, **ONE_BY_ONE, pad_value=0)
    ones = affine(emit, ones, "one", 0.0, 1.0)
    sums = kernel.as_real().values.sum(axis=2, dtype=np.float64, keepdims=True)
    values = np.ascontiguousarray((center * sums).astype(np.float32).transpose(3, 0, 1, 2))
    return _real_convolve(emit, ones, values, {**window, "groups": 1}, "center_kernel", "center")


def _image(emit: Emitter, x: str) -> str:
    """Returns a sequence (l, c) as an image (1, l, c)."""
    shape = emit.shape(x)
    return emit.reshape("image", x, (1, *shape)) if len(shape) == 2 else x


def _sequence(emit: Emitter, y: str) -> str:
    """Returns the image of a layer over one axis as a sequence."""
    return emit.reshape("sequence", y, emit.shape(y)[1:]) if len(emit.call.shapes[0]) == 2 else y


def _pair(values: Sequence[int]) -> tuple[int, int]:
    return (1, int(values[0])) if len(values) == 1 else (int(values[0]), int(values[1]))


def _without_offset(kernel: Kernel) -> Kernel:
    return kernel if kernel.offset is None else kernel.as_real()


def _window(emit: Emitter, x: str, kernel: Kernel, groups: int) -> Window:
    """Returns strides, dilation, padding and groups of the layer."""
    layer = emit.layer
    strides, dilation = _pair(layer.strides), _pair(layer.dilation_rate)
    if isinstance(layer.padding, str):
        size, taps = emit.shape(x)[:2], kernel.values.shape[:2]
        padding = padding_of(layer.padding, size, taps, strides, dilation)
    else:
        (top, bottom), (left, right) = [(0, 0), *layer.padding][-2:]
        padding = top, bottom, left, right
    window = {"strides": strides, "dilation": dilation, "padding": padding, "groups": groups}
    return {**window, "pad_value": int(getattr(layer, "pad_values", 0))}


def _convolve(emit: Emitter, x: str, kernel: Kernel, window: Window, name: str) -> str:
    """Writes the convolution itself, without scale and bias; `kernel` is (h, w, c_in, c_out)."""
    values = np.ascontiguousarray(kernel.values.transpose(3, 0, 1, 2))
    kind = emit.type(x).kind
    if kernel.binary and (kind == "bits" or (kind == "levels" and not _border(window))):
        tensors = {"kernel": (name, values)}
        return emit.add("conv", "bconv2d", x, tensors, **{"pad_value": 0, **window})
    return _real_convolve(emit, x, values, window, name)


def _border(window: Window) -> int:
    """Returns the value of the border, 0 if there is none."""
    return int(window.get("pad_value", 0)) if any(window["padding"]) else 0


def _real_convolve(
    emit: Emitter, x: str, values: NDArray[Any], window: Window, name: str, part: str = "conv"
) -> str:
    border = _border(window)
    window = {role: setting for role, setting in window.items() if role != "pad_value"}
    if border:
        x = emit.add("pad", "pad", x, padding=window["padding"], value=float(border))
        window = {**window, "padding": (0, 0, 0, 0)}
    return emit.add(part, "conv2d", x, {"kernel": (name, values)}, **window)


def _depthwise(emit: Emitter, x: str, name: str) -> str:
    """Writes a depthwise convolution and the scale of its kernel (h, w, c_in, multiplier).

    Output channel c * multiplier + m is channel c with filter m, so that a scale per filter
    repeats for every channel.
    """
    kernel = _without_offset(_spatial(_kernel(emit, name)))
    height, width, channels, multiplier = kernel.values.shape
    values = kernel.values.transpose(2, 3, 0, 1).reshape(channels * multiplier, height, width, 1)
    window = _window(emit, x, kernel, channels)
    y = _real_convolve(emit, x, np.ascontiguousarray(values), window, name, "depthwise")
    scale = None if kernel.scale is None else np.tile(kernel.scale, channels)
    return _scale_and_bias(emit, y, scale, None, f"{name}_scale")


def _scale_and_bias(
    emit: Emitter, y: str, scale: NDArray[Any] | None, bias: Any, name: str = "kernel_scale"
) -> str:
    tensors = {}
    if scale is not None:
        tensors["scale"] = (name, scale.astype(np.float32))
    if bias is not None:
        tensors["bias"] = ("bias", numbers(bias))
    return emit.add("scale", "affine", y, tensors) if tensors else y


CONVOLVING = {
    layers.Dense: dense,
    layers.Conv1D: convolution,
    layers.Conv2D: convolution,
    layers.Conv1DTranspose: transposed,
    layers.Conv2DTranspose: transposed,
    layers.DepthwiseConv1D: depthwise,
    layers.DepthwiseConv2D: depthwise,
    layers.SeparableConv1D: separable,
    layers.SeparableConv2D: separable,
    nn.QuantDense: dense,
    nn.QuantConv1D: convolution,
    nn.QuantConv2D: convolution,
    nn.QuantConv2DTranspose: transposed,
    nn.QuantDepthwiseConv2D: depthwise,
    nn.QuantSeparableConv1D: separable,
    nn.QuantSeparableConv2D: separable,
}
