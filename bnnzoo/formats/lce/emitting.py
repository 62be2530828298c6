"""All operations except convolutions, as operators of TensorFlow Lite."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from bnnzoo.formats.lce.emitter import Emitter, refuse
from bnnzoo.formats.lce.emitting_convolutions import CLIPS, bconv2d, conv2d, padded
from bnnzoo.formats.lce.model_file import PADDING
from bnnzoo.formats.lce.resizing import nearest_pixels
from bnnzoo.formats.lce.words import WORD_BITS, words
from bnnzoo.graph.ir import Node
from bnnzoo.graph.passes.fold_affine import parameter
from bnnzoo.graph.resizing import between
from bnnzoo.graph.windows import rule_of

__all__ = ["EMIT"]

_VECTORS = "scales, biases and thresholds"
_RELUS = {1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6"}
_LOWEST = float(np.finfo(np.float32).min)
_MANY_PIXELS = 256
_MAX_AXES = 4  # with the batch axis, for kernels of TensorFlow Lite


def _axes(emitter: Emitter, node: Node) -> None:
    """Checks that a node's values have no more axes than the kernels support."""
    for name in (*node.inputs, node.name):
        axes = len(emitter.types[name].shape) + 1
        if axes > _MAX_AXES:
            raise refuse(
                node, f"its values must have at most {_MAX_AXES} axes with the batch, got {axes}",
                "Reshape before it.",
            )  # fmt: skip


def _simple(kind: str, emitter: Emitter, node: Node, **options: Any) -> None:
    """Writes an operator whose inputs and result are float32."""
    inputs = [emitter.real(name) for name in node.inputs]
    shape = emitter.types[node.name].shape
    emitter.set_real(node.name, emitter.operator(kind, inputs, node.name, shape, **options))


def _sign(emitter: Emitter, node: Node) -> None:
    shape = emitter.types[node.name].shape
    source = emitter.real(node.inputs[0])
    emitter.set_packed(
        node.name, emitter.packed_operator("LceQuantize", [source], node.name, shape)
    )


def _quantize(emitter: Emitter, node: Node) -> None:
    raise refuse(
        node,
        f"it quantizes to {node.attributes['bits']} bits, and only signs can be packed",
        "Train the network with signs, or write a packed file (.safetensors).",
    )


def _unknown(emitter: Emitter, node: Node) -> None:
    raise refuse(
        node,
        "Larq Compute Engine has no binary transposed convolution",
        "Write a packed file (.safetensors), C source or QONNX.",
    )


def _affine(emitter: Emitter, node: Node) -> None:
    """Writes MUL and ADD with a number per channel."""
    shape, result = emitter.types[node.name].shape, emitter.real(node.inputs[0])
    for role, kind in (("scale", "MUL"), ("bias", "ADD")):
        vector = parameter(emitter.graph, node, role)
        if vector is not None:
            constant = emitter.constant(f"{node.name}/{role}", vector, _VECTORS)
            last = node.name if role == "bias" or "bias" not in node.tensors else f"{node.name}/mul"
            result = emitter.operator(kind, [result, constant], last, shape)
    emitter.set_real(node.name, result)


def _clip(emitter: Emitter, node: Node) -> None:
    low, high = float(node.attributes["low"]), float(node.attributes["high"])
    activation = CLIPS.get((low, high))
    if activation is None:
        _bounds(emitter, node, low, high)
    elif not emitter.fuse(node, activation):
        _simple(_RELUS[activation], emitter, node)


def _bounds(emitter: Emitter, node: Node, low: float, high: float) -> None:
    """Writes MAXIMUM and MINIMUM with one number each."""
    shape, result = emitter.types[node.name].shape, emitter.real(node.inputs[0])
    bounds = [(low, "MAXIMUM", "low"), (high, "MINIMUM", "high")]
    finite = [bound for bound in bounds if math.isfinite(bound[0])]
    for bound, kind, part in finite:
        constant = emitter.constant(f"{node.name}/{part}", np.array(bound), "structure")
        name = node.name if part == finite[-1][2] else f"{node.name}/{part}_done"
        result = emitter.operator(kind, [result, constant], name, shape)
    emitter.set_real(node.name, result)


def _prelu(emitter: Emitter, node: Node) -> None:
    shape, alpha = emitter.types[node.name].shape, parameter(emitter.graph, node, "alpha")
    assert alpha is not None
    alpha = alpha.reshape((1,) * (len(shape) - 1) + (-1,))
    inputs = [
        emitter.real(node.inputs[0]),
        emitter.constant(f"{node.name}/alpha", alpha, _VECTORS),
    ]
    emitter.set_real(node.name, emitter.operator("PRELU", inputs, node.name, shape))


def _chain(kind: str, emitter: Emitter, node: Node) -> None:
    """Writes an operation of several inputs as operators of two."""
    shape = emitter.types[node.inputs[0]].shape
    result = emitter.real(node.inputs[0])
    for i, name in enumerate(node.inputs[1:], 1):
        shape = np.broadcast_shapes(shape, emitter.types[name].shape)
        last = node.name if i == len(node.inputs) - 1 else f"{node.name}/{i}"
        result = emitter.operator(kind, [result, emitter.real(name)], last, shape)
    emitter.set_real(node.name, result)


def _pool_options(node: Node, rule: str, first: str) -> dict[str, int]:
    keys = (f"{first}Height", f"{first}Width", "strideH", "strideW")
    values = (*node.attributes["pool"], *node.attributes["strides"])
    return {"padding": PADDING[rule], **dict(zip(keys, values, strict=True))}


def _pool(kind: str, emitter: Emitter, node: Node) -> None:
    shape, pads = emitter.types[node.inputs[0]].shape, node.attributes["padding"]
    rule = rule_of(pads, shape[:2], node.attributes["pool"], node.attributes["strides"])
    tensor = emitter.real(node.inputs[0])
    if rule is None and kind == "AVERAGE_POOL_2D":
        raise refuse(
            node, f"its padding {tuple(pads)} must be that of 'same' or 'valid'",
            "Pad with a separate layer before it.",
        )  # fmt: skip
    if rule is None:  # the lowest number is never the maximum of a window
        tensor, _ = padded(emitter, tensor, f"{node.name}/padded", shape, pads, _LOWEST)
        rule = "valid"
    options = _pool_options(node, rule, "filter")
    shape = emitter.types[node.name].shape
    emitter.set_real(node.name, emitter.operator(kind, [tensor], node.name, shape, **options))


def _bmax_pool2d(emitter: Emitter, node: Node) -> None:
    source, pads = node.inputs[0], node.attributes["padding"]
    falling = parameter(emitter.graph, node, "direction")
    if falling is not None and np.any(falling < 0):
        raise refuse(
            node, "LceBMaxPool2d has no minimum", "Pool real numbers instead, before the sign."
        )  # fmt: skip
    size, pool = emitter.types[source].shape[:2], node.attributes["pool"]
    rule = rule_of(pads, size, pool, node.attributes["strides"])
    if rule is None:
        _bmax_pool2d_as_real(emitter, node)
        return
    stride_h, stride_w = node.attributes["strides"]
    result = emitter.packed_operator(
        "LceBMaxPool2d", [emitter.packed(source)], node.name, emitter.types[node.name].shape,
        filter_height=pool[0], filter_width=pool[1], padding=PADDING[rule],
        stride_height=stride_h, stride_width=stride_w,
    )  # fmt: skip
    emitter.set_packed(node.name, result)


def _bmax_pool2d_as_real(emitter: Emitter, node: Node) -> None:
    """Writes a pooling of -1 and +1 padded with -1: LceBMaxPool2d has only SAME and VALID."""
    source, shape = node.inputs[0], emitter.types[node.name].shape
    tensor, _ = padded(
        emitter, emitter.real(source), f"{node.name}/padded", emitter.types[source].shape,
        node.attributes["padding"], -1.0,
    )  # fmt: skip
    options = _pool_options(node, "valid", "filter")
    tensor = emitter.operator("MAX_POOL_2D", [tensor], f"{node.name}/pooled", shape, **options)
    emitter.set_packed(
        node.name, emitter.packed_operator("LceQuantize", [tensor], node.name, shape)
    )


def _global_pool(kind: str, emitter: Emitter, node: Node) -> None:
    """Writes MEAN or REDUCE_MAX over all pixels; a mean of many pixels in two steps.

    TensorFlow Lite sums sequentially: in one step, the mean of 56 x 56 pixels has an error of 4e-5.
    """
    tensor = emitter.real(node.inputs[0])
    height, width, channels = emitter.types[node.inputs[0]].shape
    if kind == "MEAN" and height * width > _MANY_PIXELS:
        tensor = emitter.operator(
            "AVERAGE_POOL_2D", [tensor], f"{node.name}/by_row", (height, 1, channels),
            padding=PADDING["valid"], strideH=1, strideW=width, filterHeight=1, filterWidth=width,
        )  # fmt: skip
    axes = emitter.constant("pixels", np.array([1, 2]), "structure")
    result = emitter.operator(kind, [tensor, axes], node.name, (channels,), keepDims=False)
    emitter.set_real(node.name, result)


def _concat(emitter: Emitter, node: Node) -> None:
    _simple("CONCATENATION", emitter, node, axis=node.attributes["axis"] + 1)


def _with_table(kind: str, emitter: Emitter, node: Node, *tables: Any, **options: Any) -> None:
    """Writes an operator of one float32 input and tables of integers."""
    constants = [
        emitter.constant(f"{node.name}/table{i}", np.asarray(table), "structure")
        for i, table in enumerate(tables)
    ]
    inputs, shape = [emitter.real(node.inputs[0]), *constants], emitter.types[node.name].shape
    emitter.set_real(node.name, emitter.operator(kind, inputs, node.name, shape, **options))


def _slice(emitter: Emitter, node: Node) -> None:
    begin = [0] * (len(emitter.types[node.name].shape) + 1)
    begin[node.attributes["axis"] + 1] = node.attributes["begin"]
    _with_table("SLICE", emitter, node, begin, (1, *emitter.types[node.name].shape))


def _pad(emitter: Emitter, node: Node) -> None:
    result, _ = padded(
        emitter, emitter.real(node.inputs[0]), node.name, emitter.types[node.inputs[0]].shape,
        node.attributes["padding"], float(node.attributes["value"]),
    )  # fmt: skip
    emitter.set_real(node.name, result)


def _resize(kind: str, emitter: Emitter, node: Node) -> None:
    pixels = node.attributes["pixels"]
    _with_table(kind, emitter, node, pixels, alignCorners=False, halfPixelCenters=True)


def _nearest_resize2d(emitter: Emitter, node: Node) -> None:
    sizes = zip(emitter.types[node.inputs[0]].shape, node.attributes["pixels"], strict=False)
    for before, after in sizes:
        ours, _, _ = between(node.op, before, after)
        if not np.array_equal(ours, nearest_pixels(before, after, half_pixel_centers=True)):
            raise refuse(
                node,
                f"TensorFlow Lite rounds to other pixels from {before} to {after}",
                "Resize to a multiple of the size.",
            )
    _resize("RESIZE_NEAREST_NEIGHBOR", emitter, node)


def _permute(emitter: Emitter, node: Node) -> None:
    _with_table("TRANSPOSE", emitter, node, (0, *(axis + 1 for axis in node.attributes["axes"])))


def _reshape(emitter: Emitter, node: Node) -> None:
    """Writes RESHAPE: of packed bits if words are not split, otherwise of real numbers."""
    source, shape = emitter.types[node.inputs[0]], node.attributes["shape"]
    if source.kind != "bits":
        _with_table("RESHAPE", emitter, node, (1, *shape))
        return
    channels, wanted = source.shape[-1], shape[-1]
    whole = channels % WORD_BITS == wanted % WORD_BITS == 0
    if channels == wanted or whole:
        table = np.array((1, *shape[:-1], words(wanted)))
        inputs = [
            emitter.packed(node.inputs[0]),
            emitter.constant(f"{node.name}/table", table, "structure"),
        ]
        result = emitter.packed_operator("RESHAPE", inputs, node.name, shape)
    else:
        _with_table("RESHAPE", emitter, node, (1, *shape))
        result = emitter.packed_operator(
            "LceQuantize", [emitter.real(node.name)], f"{node.name}/bits", shape
        )
    emitter.set_packed(node.name, result)


def _checked(emit: Callable[[Emitter, Node], None]) -> Callable[[Emitter, Node], None]:
    def checked(emitter: Emitter, node: Node) -> None:
        _axes(emitter, node)
        emit(emitter, node)

    return checked


EMIT: dict[str, Callable[[Emitter, Node], None]] = {
    "sign": _sign,
    "quantize": _quantize,
    "dequantize": lambda emitter, node: emitter.set_real(node.name, emitter.real(node.inputs[0])),
    "bconv2d": bconv2d,
    "conv2d": conv2d,
    "bconv2d_transpose": _unknown,
    "conv2d_transpose": _unknown,
    "nearest_resize2d": _nearest_resize2d,
    "bilinear_resize2d": partial(_resize, "RESIZE_BILINEAR"),
    "affine": _checked(_affine),
    "clip": _checked(_clip),
    "prelu": _checked(_prelu),
    "sigmoid": partial(_simple, "LOGISTIC"),
    "tanh": partial(_simple, "TANH"),
    "softmax": _checked(partial(_simple, "SOFTMAX", beta=1.0)),
    "add": _checked(partial(_chain, "ADD")),
    "subtract": _checked(partial(_chain, "SUB")),
    "multiply": _checked(partial(_chain, "MUL")),
    "max_pool2d": partial(_pool, "MAX_POOL_2D"),
    "avg_pool2d": partial(_pool, "AVERAGE_POOL_2D"),
    "bmax_pool2d": _bmax_pool2d,
    "global_avg_pool2d": partial(_global_pool, "MEAN"),
    "global_max_pool2d": partial(_global_pool, "REDUCE_MAX"),
    "concat": _checked(_concat),
    "slice": _checked(_slice),
    "pad": _pad,
    "reshape": _reshape,
    "permute": _checked(_permute),
}
