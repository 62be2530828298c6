"""Convolutions and dense layers, with binary, 8-bit and real kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.errors import ConversionError
from bnnzoo.formats.qonnx.arranging import Arrangement, Axes, usual_axes
from bnnzoo.formats.qonnx.drawing import QONNX_DOMAIN, OnnxTensor
from bnnzoo.graph.ir import Node, numbers, signs
from bnnzoo.graph.packing import Int8Kernel
from bnnzoo.graph.windows import extent, span

__all__ = ["convolve", "onnx_pads", "transposed"]

# Largest magnitude of the integers of a data type.
_MAGNITUDES = {"BIPOLAR": 1, "BINARY": 1, **{f"UINT{b}": 2**b - 1 for b in range(2, 9)}}


def convolve(page: Arrangement, node: Node) -> None:
    """Draws a convolution; that of a vector is a dense layer, a matrix product."""
    if "input_bits" in node.attributes:
        raise ConversionError(
            f"Cannot write node '{node.name}' (conv2d) as QONNX: its input is quantized to 8 bits "
            "with a scale per image, and a Quant node has one scale for all images. Convert the "
            "network without --weights-dtype int8."
        )
    kernel, source = page.graph.tensors[node.tensors["kernel"]], node.inputs[0]
    axes = page.held(source).axes
    same_pixels = kernel.shape[1:3] == (1, 1) and page.shape(node.name)[:2] == (1, 1)
    if axes == (2,) and same_pixels and node.attributes["groups"] == 1:
        inputs = [page.want(source, axes), _kernel(page, node, (3, 0), (1, -1))]
        op, attributes = "MatMul", {}
    else:
        axes = usual_axes(3)
        x, pads = _padded(page, node, page.want(source, axes))
        inputs = [x, _kernel(page, node, (0, 3, 1, 2), (-1, 1, 1, 1))]
        op, attributes = "Conv", _window(node, kernel.shape[1:3], pads)
    _finish(page, node, op, inputs, axes, attributes)


def _finish(
    page: Arrangement, node: Node, op: str, inputs: list[str], axes: Axes, attributes: Any
) -> None:
    """Draws the operator; sums of levels are divided by their number of steps at the end."""
    shape = (1, *(page.shape(node.name)[axis] for axis in axes))
    tensor = OnnxTensor(shape, _sum_type(page, node, inputs[0]))
    type_ = page.types[node.inputs[0]]
    if type_.kind != "levels":
        page.drawing.node(op, inputs, node.name, tensor, **attributes)
    else:
        name = page.drawing.fresh(f"{node.name}/sum")
        sums = page.drawing.node(op, inputs, name, tensor, **attributes)
        step = np.array(1 / (2**type_.bits - 1), np.float32)
        factors = [sums, page.drawing.constant(f"{node.name}/step", step)]
        page.drawing.node("Mul", factors, node.name, OnnxTensor(shape))
    page.hold(node.name, node.name, axes)


def _window(node: Node, kernel: tuple[int, ...], padding: Sequence[int]) -> dict[str, Any]:
    top, bottom, left, right = padding
    return {
        "kernel_shape": kernel,
        "strides": node.attributes["strides"],
        "dilations": node.attributes["dilation"],
        "pads": (top, left, bottom, right),
        "group": node.attributes["groups"],
    }


def _padded(page: Arrangement, node: Node, x: str) -> tuple[str, Sequence[int]]:
    """Pads bits with -1 or +1, which Conv cannot; returns the padding that Conv has to do."""
    padding, value = node.attributes["padding"], node.attributes.get("pad_value", 0)
    if value == 0 or not any(padding) or page.types[node.inputs[0]].kind != "bits":
        return x, padding
    pads = page.drawing.constant(f"{node.name}/pads", onnx_pads(padding))
    border = page.drawing.constant(f"{node.name}/border", np.array(value, np.float32))
    n, c, h, w = page.tensor(x).shape
    top, bottom, left, right = padding
    tensor = OnnxTensor((n, c, h + top + bottom, w + left + right), page.tensor(x).datatype)
    name = page.drawing.fresh(f"{node.name}/padded")
    x = page.drawing.node("Pad", [x, pads, border], name, tensor, mode="constant")
    return x, (0, 0, 0, 0)


def onnx_pads(padding: Sequence[int]) -> NDArray[np.int64]:
    """Returns (top, bottom, left, right) as the input of Pad for images."""
    top, bottom, left, right = padding
    return np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)


def transposed(page: Arrangement, node: Node) -> None:
    """Draws a transposed convolution, cropped or extended at the end."""
    axes, source = usual_axes(3), node.inputs[0]
    kernel = page.graph.tensors[node.tensors["kernel"]]
    inputs = [page.want(source, axes), _kernel(page, node, (3, 0, 1, 2), (1, -1, 1, 1))]
    strides, dilation, crop, size = (
        node.attributes[name] for name in ("strides", "dilation", "crop", "pixels")
    )
    left_out = [
        span(n, extent(taps, rate), stride) - begin - length
        for n, stride, taps, rate, begin, length in zip(
            page.shape(source)[:2], strides, kernel.shape[1:3], dilation, crop, size, strict=True
        )
    ]
    attributes = {
        "kernel_shape": kernel.shape[1:3],
        "strides": strides,
        "dilations": dilation,
        "pads": (*crop, *(max(n, 0) for n in left_out)),
        "output_padding": tuple(max(-n, 0) for n in left_out),
    }
    _finish(page, node, "ConvTranspose", inputs, axes, attributes)


def _kernel(
    page: Arrangement, node: Node, order: tuple[int, ...], channels: tuple[int, ...]
) -> str:
    """Returns the kernel with its axes (c_out, h, w, c_in / groups) in another order.

    Args:
        page: The ONNX graph.
        node: The convolution.
        order: Order of the axes; omitted axes have one element.
        channels: Shape of a number per output channel that broadcasts with it.
    """
    name = node.tensors["kernel"]
    kernel = page.graph.tensors[name]
    weights = numbers(kernel)
    weights = weights.transpose(*order, *(a for a in range(4) if a not in order))
    weights = weights.reshape(weights.shape[: len(order)])
    if signs(kernel):
        latent = page.drawing.constant(f"{name}/signs", weights.astype(np.float32), "BIPOLAR")
        scale = page.drawing.constant(f"{name}/scale", np.array(1, np.float32))
        return _quantized(page, name, "BipolarQuant", [latent, scale], "BIPOLAR")
    if isinstance(kernel, Int8Kernel):
        latent = page.drawing.constant(f"{name}/rounded", weights)
        per_channel = kernel.scale.reshape(channels)
        parts = (("scale", per_channel), ("zero_point", np.array(0.0)), ("bits", np.array(8.0)))
        inputs = [latent, *(page.drawing.constant(f"{name}/{part}", a) for part, a in parts)]
        settings = {"signed": 1, "narrow": 1, "rounding_mode": "ROUND"}
        return _quantized(page, name, "Quant", inputs, "SCALEDINT<8>", **settings)
    return page.drawing.constant(name, weights)


def _quantized(
    page: Arrangement, name: str, op: str, inputs: list[str], datatype: str, **attributes: Any
) -> str:
    output = page.drawing.fresh(name)
    tensor = OnnxTensor(page.tensor(inputs[0]).shape, datatype)
    return page.drawing.node(op, inputs, output, tensor, QONNX_DOMAIN, **attributes)


def _sum_type(page: Arrangement, node: Node, x: str) -> str | None:
    """Returns the smallest integer type for all sums; None for real sums."""
    kernel = page.graph.tensors[node.tensors["kernel"]]
    largest = _MAGNITUDES.get(page.tensor(x).datatype or "")
    if largest is None or not signs(kernel):
        return None
    return f"INT{(largest * math.prod(kernel.shape[1:])).bit_length() + 1}"
