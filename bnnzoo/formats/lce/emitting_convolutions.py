"""Convolutions as operators, with the affine, the clip or the sign that follows them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.formats.lce.emitter import Emitter, refuse
from bnnzoo.formats.lce.model_file import ABSENT, PADDING
from bnnzoo.formats.lce.preparing import packs_output
from bnnzoo.formats.lce.words import to_words
from bnnzoo.graph.ir import Node, numbers
from bnnzoo.graph.passes.fold_affine import scale_and_bias_of
from bnnzoo.graph.thresholds import directed
from bnnzoo.graph.windows import rule_of

__all__ = ["CLIPS", "bconv2d", "conv2d", "padded"]

Array = NDArray[Any]

# Bounds of a clip -> fused_activation_function.
CLIPS = {(0.0, math.inf): 1, (-1.0, 1.0): 2, (0.0, 6.0): 3}
_VECTORS = "scales, biases and thresholds"
# Above this, the kernel of TensorFlow Lite 2.15 never ends: no pixel fits into its buffer.
_MAX_DEPTHWISE_CHANNELS = 4832


def conv2d(emitter: Emitter, node: Node) -> None:
    """Writes CONV_2D or DEPTHWISE_CONV_2D, with a following affine in the kernel and bias."""
    if "input_bits" in node.attributes:
        raise refuse(
            node,
            "its input is quantized to 8 bits",
            "Convert the Keras model, or a file with float32 or float16 weights.",
        )
    _as_real(emitter, node, emitter.real(node.inputs[0]), 0.0)


def bconv2d(emitter: Emitter, node: Node) -> None:
    """Writes LceBconv2d, or a convolution of real numbers if LceBconv2d cannot express it."""
    source, pads = node.inputs[0], node.attributes["padding"]
    if emitter.types[source].kind == "levels":
        raise refuse(
            node,
            f"its input has {emitter.types[source].bits} bits, and only signs can be packed",
            "Train the network with signs, or write a packed file (.safetensors).",
        )
    rule = _rule(emitter, node)
    pad_value = node.attributes["pad_value"]
    if node.attributes["groups"] > 1 or (rule is None and pad_value == 0):
        why = "groups" if node.attributes["groups"] > 1 else "zero padding other than SAME"
        emitter.notes.append(
            f"Node '{node.name}' has {why}, which LceBconv2d lacks: it is computed in float32."
        )
        _as_real(emitter, node, emitter.real(source), float(pad_value))
        return
    if rule is None or (pad_value == -1 and any(pads)):
        bits, rule = _padded_bits(emitter, node), "valid"
    else:
        bits = emitter.packed(source)
    sign = emitter.only_readers.get(node.name)
    if sign is not None and sign.op == "sign" and packs_output(node, emitter.types):
        _to_bits(emitter, node, sign, bits, rule)
    else:
        _to_numbers(emitter, node, bits, rule)


def _rule(emitter: Emitter, node: Node) -> str | None:
    """Returns the rule of a convolution's padding, "same" or "valid"; None for other padding."""
    size = emitter.types[node.inputs[0]].shape[:2]
    taps = emitter.graph.tensors[node.tensors["kernel"]].shape[1:3]
    return rule_of(
        node.attributes["padding"], size, taps, node.attributes["strides"],
        node.attributes["dilation"],
    )  # fmt: skip


def padded(
    emitter: Emitter, tensor: int, name: str, shape: tuple[int, ...], pads: Any, value: float
) -> tuple[int, tuple[int, ...]]:
    """Writes PADV2 (PAD for zeros), and returns the tensor and its shape."""
    top, bottom, left, right = pads
    height, width, channels = shape
    table = emitter.constant(
        f"{name}/table", np.array([[0, 0], [top, bottom], [left, right], [0, 0]]), "structure"
    )
    inputs = [tensor, table]
    if value != 0:
        inputs.append(emitter.constant(f"{name}/value", np.array(value), "structure"))
    shape = (height + top + bottom, width + left + right, channels)
    return emitter.operator("PADV2" if value != 0 else "PAD", inputs, name, shape), shape


def _padded_bits(emitter: Emitter, node: Node) -> int:
    """Pads bits as real numbers, since LceBconv2d can only pad with +1 and SAME."""
    source, value = node.inputs[0], float(node.attributes["pad_value"])
    tensor, shape = padded(
        emitter, emitter.real(source), f"{node.name}/padded", emitter.types[source].shape,
        node.attributes["padding"], value,
    )  # fmt: skip
    return emitter.packed_operator("LceQuantize", [tensor], f"{node.name}/padded_bits", shape)


def _options(emitter: Emitter, node: Node, rule: str, activation: int) -> dict[str, int]:
    stride_h, stride_w = node.attributes["strides"]
    rate_h, rate_w = node.attributes["dilation"]
    return {
        "channels_in": emitter.types[node.inputs[0]].shape[-1],
        "dilation_height_factor": rate_h,
        "dilation_width_factor": rate_w,
        "fused_activation_function": activation,
        "pad_values": abs(node.attributes["pad_value"]) if rule == "same" else 0,
        "padding": PADDING[rule],
        "stride_height": stride_h,
        "stride_width": stride_w,
    }


def _to_bits(emitter: Emitter, node: Node, sign: Node, bits: int, rule: str) -> None:
    """Writes a convolution whose result is compared with thresholds.

    1. A sum is K - 2 p, p the number of products that are -1. LCE's bit is p > threshold.
    2. K - 2 p < t is p > (K - t) / 2, for an integer p the same as p > floor((K - t) / 2).
    3. If the sign is -1 above t, the kernel is negated: -sum < -t.
    4. Thresholds are clipped to -1 (always) and K (never).
    """
    kernel = numbers(emitter.graph.tensors[node.tensors["kernel"]]).astype(np.int8)
    channels, K = len(kernel), math.prod(kernel.shape[1:])
    threshold, direction = directed(emitter.graph, sign, channels)
    kernel = np.where((direction < 0)[:, None, None, None], -kernel, kernel)
    counts = np.clip(np.floor((K - threshold) / 2), -1, K).astype(np.int32)
    inputs = [
        bits,
        emitter.constant(f"{node.name}/kernel", to_words(kernel), "binary kernels"),
        ABSENT,
        ABSENT,
        emitter.constant(f"{node.name}/threshold", counts, _VECTORS),
    ]
    shape, options = emitter.types[node.name].shape, _options(emitter, node, rule, 0)
    result = emitter.packed_operator("LceBconv2d", inputs, sign.name, shape, **options)
    emitter.set_packed(sign.name, result)
    emitter.absorbed.add(sign.name)


def _to_numbers(emitter: Emitter, node: Node, bits: int, rule: str) -> None:
    """Writes a convolution whose sums are clipped, scaled and shifted."""
    kernel = numbers(emitter.graph.tensors[node.tensors["kernel"]])
    last, activation = node.name, 0
    clip = emitter.only_readers.get(last)
    # LCE refuses an activation with zero padding, which it corrects after the convolution.
    if clip is not None and clip.op == "clip" and packs_output(node, emitter.types):
        activation = CLIPS.get((clip.attributes["low"], clip.attributes["high"]), 0)
        if activation:
            last = _absorb(emitter, clip)
    scale, bias, last = _affine_behind(emitter, last, len(kernel))
    inputs = [
        bits,
        emitter.constant(f"{node.name}/kernel", to_words(kernel), "binary kernels"),
        emitter.constant(f"{node.name}/multiplier", scale, _VECTORS),
        emitter.constant(f"{node.name}/bias", bias, _VECTORS),
        ABSENT,
    ]
    shape, options = emitter.types[node.name].shape, _options(emitter, node, rule, activation)
    emitter.set_real(last, emitter.operator("LceBconv2d", inputs, last, shape, **options))


def _absorb(emitter: Emitter, node: Node) -> str:
    emitter.absorbed.add(node.name)
    return node.name


def _affine_behind(emitter: Emitter, value: str, channels: int) -> tuple[Array, Array, str]:
    """Absorbs an affine that is the only reader; returns scale, bias and the last value."""
    affine = emitter.only_readers.get(value)
    if affine is None or affine.op != "affine":
        return np.ones(channels), np.zeros(channels), value
    scale, bias = scale_and_bias_of(emitter.graph, affine, channels)
    return scale, bias, _absorb(emitter, affine)


def _as_real(emitter: Emitter, node: Node, tensor: int, value: float) -> None:
    """Writes a convolution of real numbers, padded with `value`."""
    kernel = numbers(emitter.graph.tensors[node.tensors["kernel"]]).astype(np.float64)
    shape, pads = emitter.types[node.inputs[0]].shape, node.attributes["padding"]
    rule = _rule(emitter, node) if not value or not any(pads) else None
    if rule is None:
        tensor, _ = padded(emitter, tensor, f"{node.name}/padded", shape, pads, value)
        rule = "valid"
    scale, bias, last = _affine_behind(emitter, node.name, len(kernel))
    kernel = kernel * scale[:, None, None, None]
    kind, options = "CONV_2D", _real_options(node, rule)
    if node.attributes["groups"] == shape[-1] > 1 and len(bias) <= _MAX_DEPTHWISE_CHANNELS:
        kind, kernel = "DEPTHWISE_CONV_2D", kernel.transpose(3, 1, 2, 0)
        options["depthMultiplier"] = len(bias) // shape[-1]
    inputs = [
        tensor,
        emitter.constant(f"{node.name}/kernel", kernel, "real kernels"),
        emitter.constant(f"{node.name}/bias", bias, _VECTORS),
    ]
    result = emitter.operator(kind, inputs, last, emitter.types[node.name].shape, **options)
    emitter.set_real(last, result)


def _real_options(node: Node, rule: str) -> dict[str, int]:
    stride_h, stride_w = node.attributes["strides"]
    rate_h, rate_w = node.attributes["dilation"]
    return {
        "padding": PADDING[rule],
        "strideH": stride_h,
        "strideW": stride_w,
        "dilationHFactor": rate_h,
        "dilationWFactor": rate_w,
    }
