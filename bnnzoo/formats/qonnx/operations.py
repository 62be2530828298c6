"""Each operation of a graph in ONNX and QONNX.

A function of the table draws a node; its value is then held by a tensor of its name, or by one that
existed before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bnnzoo.errors import ConversionError
from bnnzoo.formats.qonnx.arranging import Arrangement, Held, usual_axes
from bnnzoo.formats.qonnx.convolving import convolve, onnx_pads, transposed
from bnnzoo.formats.qonnx.drawing import QONNX_DOMAIN, OnnxTensor
from bnnzoo.graph.ir import Graph, Node
from bnnzoo.graph.resizing import between

__all__ = ["OPERATIONS", "draw"]

# Layout of an input by its rank.
_LAYOUTS = {1: "NC", 2: "NWC", 3: "NCHW"}
# Tensors that a runtime adds to a graph when it loads it.
_OF_A_RUNTIME = ("threshold", "direction", "correction", "row_class", "column_class")


def draw(graph: Graph) -> Arrangement:
    """Draws a graph.

    Raises:
        ConversionError: QONNX cannot express a node.
    """
    page = Arrangement(graph)
    for name, size in graph.inputs.items():
        axes = usual_axes(len(size))
        shape = (1, *(size[axis] for axis in axes))
        page.drawing.tensors[name] = OnnxTensor(shape, layout=_LAYOUTS.get(len(axes)))
        page.hold(name, name, axes)
    for node in graph.nodes:
        for role in node.tensors:
            if role in _OF_A_RUNTIME:
                raise ConversionError(
                    f"Cannot write node '{node.name}' ({node.op}) as QONNX: it has a {role}, which "
                    "a runtime adds when it loads a network. Convert the original network."
                )
        OPERATIONS[node.op](page, node)
    for name in graph.outputs:
        _finish(page, name)
    return page


def _finish(page: Arrangement, output: str) -> None:
    """Renames the tensor that holds an output to the output's name."""
    tensor = page.want(output, usual_axes(len(page.shape(output))))
    if tensor == output:
        return
    given = {*page.graph.inputs, *page.graph.outputs}
    if output in page.drawing.tensors:  # which holds it in another axis order
        page.rename(output, page.drawing.fresh(f"{output}/value"))
    if tensor in given:
        page.drawing.node("Identity", [tensor], output, page.tensor(tensor))
    else:
        page.rename(tensor, output)


def _compute(
    page: Arrangement,
    node: Node,
    op: str,
    inputs: Sequence[str],
    axes: tuple[int, ...],
    datatype: str | None = None,
    domain: str = "",
    **attributes: Any,
) -> None:
    """Draws the last operator of a node."""
    shape = (1, *(page.shape(node.name)[axis] for axis in axes))
    tensor = OnnxTensor(shape, datatype)
    page.drawing.node(op, inputs, node.name, tensor, domain, **attributes)
    page.hold(node.name, node.name, axes)


def _before(
    page: Arrangement, node: Node, op: str, inputs: Sequence[str], part: str, **attributes: Any
) -> str:
    """Draws an operator on real numbers before the last one, and returns its output."""
    output = page.drawing.fresh(f"{node.name}/{part}")
    shape = page.tensor(inputs[0]).shape
    return page.drawing.node(op, inputs, output, OnnxTensor(shape), **attributes)


def _number(page: Arrangement, node: Node, part: str, value: float) -> str:
    return page.drawing.constant(f"{node.name}/{part}", np.array(value, np.float32))


def _sign(page: Arrangement, node: Node) -> None:
    held = page.held(node.inputs[0])
    one = _number(page, node, "scale", 1)
    _compute(
        page, node, "BipolarQuant", [held.tensor, one], held.axes, "BIPOLAR", domain=QONNX_DOMAIN
    )


def _quantize(page: Arrangement, node: Node) -> None:
    """Draws levels as integers, as in the graph: with scale 1, their sums are exact."""
    held, bits = page.held(node.inputs[0]), node.attributes["bits"]
    steps = _number(page, node, "steps", 2**bits - 1)
    levels = _before(page, node, "Mul", [held.tensor, steps], "scaled")
    parts = (("scale", 1), ("zero_point", 0), ("bits", bits))
    numbers = [_number(page, node, part, value) for part, value in parts]
    _compute(
        page, node, "Quant", [levels, *numbers], held.axes, levels_type(bits), domain=QONNX_DOMAIN,
        signed=0, narrow=0, rounding_mode="ROUND",
    )  # fmt: skip


def levels_type(bits: int) -> str:
    """Returns QONNX's data type of levels."""
    return "BINARY" if bits == 1 else f"UINT{bits}"


def _dequantize(page: Arrangement, node: Node) -> None:
    held, type_ = page.held(node.inputs[0]), page.types[node.inputs[0]]
    if type_.kind == "bits":  # they are -1.0 and +1.0
        page.hold(node.name, held.tensor, held.axes)
        return
    step = _number(page, node, "step", 1 / (2**type_.bits - 1))
    _compute(page, node, "Mul", [held.tensor, step], held.axes)


def _vector(page: Arrangement, node: Node, role: str, held: Held) -> str:
    """Returns a parameter per channel in a shape that broadcasts with a tensor."""
    last = len(page.shape(node.inputs[0])) - 1
    vector = np.asarray(page.graph.tensors[node.tensors[role]])
    shape = [1, *(-1 if axis == last else 1 for axis in held.axes)]
    # A tensor without that axis has one channel.
    array = vector.reshape(shape if last in held.axes else [1] * len(shape))
    return page.drawing.constant(node.tensors[role], array)


def _affine(page: Arrangement, node: Node) -> None:
    held = page.held(node.inputs[0])
    match tuple(role for role in ("scale", "bias") if role in node.tensors):
        case ():
            page.hold(node.name, held.tensor, held.axes)
        case ("scale",):
            scale = _vector(page, node, "scale", held)
            _compute(page, node, "Mul", [held.tensor, scale], held.axes)
        case ("bias",):
            bias = _vector(page, node, "bias", held)
            _compute(page, node, "Add", [held.tensor, bias], held.axes)
        case _:
            scale, bias = (_vector(page, node, role, held) for role in ("scale", "bias"))
            scaled = _before(page, node, "Mul", [held.tensor, scale], "scaled")
            _compute(page, node, "Add", [scaled, bias], held.axes)


def _batch_norm(page: Arrangement, node: Node) -> None:
    rank = len(page.shape(node.inputs[0]))
    axes = page.held(node.inputs[0]).axes
    if axes[:1] != (rank - 1,):
        axes = (rank - 1, *range(rank - 1))
    channels = page.shape(node.inputs[0])[-1]
    vectors = [
        page.drawing.constant(node.tensors[role], np.asarray(page.graph.tensor(node, role)))
        if role in node.tensors
        else page.drawing.constant(f"{node.name}/{role}", np.full(channels, default))
        for role, default in (("gamma", 1.0), ("beta", 0.0), ("mean", 0.0), ("variance", 1.0))
    ]
    x = page.want(node.inputs[0], axes)
    epsilon = float(node.attributes["epsilon"])
    _compute(page, node, "BatchNormalization", [x, *vectors], axes, epsilon=epsilon)


def _clip(page: Arrangement, node: Node) -> None:
    held = page.held(node.inputs[0])
    low, high = node.attributes["low"], node.attributes["high"]
    if low == -math.inf and high == math.inf:
        page.hold(node.name, held.tensor, held.axes)
    elif low == 0 and high == math.inf:
        _compute(page, node, "Relu", [held.tensor], held.axes)
    elif high == math.inf:
        low = _number(page, node, "low", low)
        _compute(page, node, "Max", [held.tensor, low], held.axes)
    elif low == -math.inf:
        high = _number(page, node, "high", high)
        _compute(page, node, "Min", [held.tensor, high], held.axes)
    else:
        ends = [_number(page, node, "low", low), _number(page, node, "high", high)]
        _compute(page, node, "Clip", [held.tensor, *ends], held.axes)


def _prelu(page: Arrangement, node: Node) -> None:
    held = page.held(node.inputs[0])
    _compute(page, node, "PRelu", [held.tensor, _vector(page, node, "alpha", held)], held.axes)


def _elementwise(op: str) -> Callable[[Arrangement, Node], None]:
    def drawn(page: Arrangement, node: Node) -> None:
        held = page.held(node.inputs[0])
        _compute(page, node, op, [held.tensor], held.axes)

    return drawn


def _softmax(page: Arrangement, node: Node) -> None:
    axes = usual_axes(len(page.shape(node.name)))
    axis = 1 + axes.index(len(axes) - 1)
    _compute(page, node, "Softmax", [page.want(node.inputs[0], axes)], axes, axis=axis)


def _chain(op: str) -> Callable[[Arrangement, Node], None]:
    """Applies an operator of two inputs from left to right."""

    def drawn(page: Arrangement, node: Node) -> None:
        axes = page.held(node.inputs[0]).axes
        held = [page.held(value) for value in node.inputs]
        alike = all(
            one.axes == axes and page.shape(value) == page.shape(node.name)
            for one, value in zip(held, node.inputs, strict=True)
        )
        if not alike:
            axes = usual_axes(len(page.shape(node.name)))
        running, *others = (page.want(value, axes) for value in node.inputs)
        shapes = [page.shape(value) for value in node.inputs]
        for place, other in enumerate(others[:-1], start=2):
            shape = np.broadcast_shapes(*shapes[:place])
            tensor = OnnxTensor((1, *(shape[axis] for axis in axes)))
            name = page.drawing.fresh(f"{node.name}/first_{place}")
            running = page.drawing.node(op, [running, other], name, tensor)
        _compute(page, node, op, [running, others[-1]], axes)

    return drawn


def _pool(op: str, **settings: Any) -> Callable[[Arrangement, Node], None]:
    def drawn(page: Arrangement, node: Node) -> None:
        axes = usual_axes(3)
        x = page.want(node.inputs[0], axes)
        top, bottom, left, right = node.attributes["padding"]
        datatype = page.tensor(x).datatype if op == "MaxPool" else None
        _compute(
            page, node, op, [x], axes, datatype, kernel_shape=node.attributes["pool"],
            strides=node.attributes["strides"], pads=(top, left, bottom, right), **settings,
        )  # fmt: skip

    return drawn


def _global_pool(op: str) -> Callable[[Arrangement, Node], None]:
    def drawn(page: Arrangement, node: Node) -> None:
        x = page.want(node.inputs[0], usual_axes(3))
        channels = page.shape(node.name)[0]
        name = page.drawing.fresh(f"{node.name}/pixel")
        pixel = page.drawing.node(op, [x], name, OnnxTensor((1, channels, 1, 1)))
        _compute(page, node, "Flatten", [pixel], (0,), axis=1)

    return drawn


def _concat(page: Arrangement, node: Node) -> None:
    axes = usual_axes(len(page.shape(node.name)))
    tensors = [page.want(value, axes) for value in node.inputs]
    axis = 1 + axes.index(node.attributes["axis"])
    types = {page.tensor(name).datatype for name in tensors}
    datatype = types.pop() if len(types) == 1 else None
    _compute(page, node, "Concat", tensors, axes, datatype, axis=axis)


def _slice(page: Arrangement, node: Node) -> None:
    axes = usual_axes(len(page.shape(node.name)))
    x = page.want(node.inputs[0], axes)
    begin, size = node.attributes["begin"], node.attributes["size"]
    axis = 1 + axes.index(node.attributes["axis"])
    parts = (("begin", begin), ("end", begin + size), ("axis", axis))
    numbers = [
        page.drawing.constant(f"{node.name}/{part}", np.array([value], np.int64))
        for part, value in parts
    ]
    _compute(page, node, "Slice", [x, *numbers], axes, page.tensor(x).datatype)


def _pad(page: Arrangement, node: Node) -> None:
    axes = usual_axes(3)
    x = page.want(node.inputs[0], axes)
    pads = page.drawing.constant(f"{node.name}/pads", onnx_pads(node.attributes["padding"]))
    value = _number(page, node, "value", node.attributes["value"])
    _compute(page, node, "Pad", [x, pads, value], axes, mode="constant")


def _nearest(page: Arrangement, node: Node) -> None:
    """Draws integer factors as Resize, which repeats pixels, and others as Gather."""
    axes, size = usual_axes(3), node.attributes["pixels"]
    x, before = page.want(node.inputs[0], axes), page.shape(node.inputs[0])
    datatype = page.tensor(x).datatype
    if all(a % b == 0 for a, b in zip(size, before, strict=False)):
        factors = np.array([1, 1, size[0] / before[0], size[1] / before[1]], np.float32)
        scales = page.drawing.constant(f"{node.name}/scales", factors)
        _compute(
            page, node, "Resize", [x, "", scales], axes, datatype, mode="nearest",
            coordinate_transformation_mode="asymmetric", nearest_mode="floor",
        )  # fmt: skip
        return
    rows, columns = (
        page.drawing.constant(f"{node.name}/{part}", between(node.op, b, a)[0].astype(np.int64))
        for part, b, a in zip(("rows", "columns"), before, size, strict=False)
    )
    n, channels, _, width = page.tensor(x).shape
    name = page.drawing.fresh(f"{node.name}/of_rows")
    tensor = OnnxTensor((n, channels, size[0], width), datatype)
    x = page.drawing.node("Gather", [x, rows], name, tensor, axis=2)
    _compute(page, node, "Gather", [x, columns], axes, datatype, axis=3)


def _bilinear(page: Arrangement, node: Node) -> None:
    axes = usual_axes(3)
    x = page.want(node.inputs[0], axes)
    shape = (1, page.shape(node.name)[2], *node.attributes["pixels"])
    sizes = page.drawing.constant(f"{node.name}/sizes", np.array(shape, np.int64))
    _compute(
        page, node, "Resize", [x, "", "", sizes], axes, mode="linear",
        coordinate_transformation_mode="half_pixel",
    )  # fmt: skip


def _reshape(page: Arrangement, node: Node) -> None:
    source, shape = node.inputs[0], node.attributes["shape"]
    order = page.long_axes(source, page.held(source).axes)
    before, after = page.shape(source), page.long_axes(node.name, tuple(range(len(shape))))
    if [n for n in before if n > 1] == [n for n in shape if n > 1]:
        # Only axes of one element change: the i-th long axis stays the i-th.
        place = dict(zip(sorted(order), after, strict=True))
        page.hold(node.name, page.want(source, order), tuple(place[axis] for axis in order))
        return
    x = page.want(source, page.long_axes(source, tuple(range(len(before)))))
    datatype = page.tensor(x).datatype
    if len(after) == 1:
        _compute(page, node, "Flatten", [x], after, datatype, axis=1)
    else:
        target = page.target(node.name, (1, *(shape[axis] for axis in after)))
        _compute(page, node, "Reshape", [x, target], after, datatype)


def _permute(page: Arrangement, node: Node) -> None:
    held, axes = page.held(node.inputs[0]), node.attributes["axes"]
    page.hold(node.name, held.tensor, tuple(axes.index(axis) for axis in held.axes))


OPERATIONS: dict[str, Callable[[Arrangement, Node], None]] = {
    "sign": _sign,
    "quantize": _quantize,
    "dequantize": _dequantize,
    "bconv2d": convolve,
    "conv2d": convolve,
    "conv2d_transpose": transposed,
    "bconv2d_transpose": transposed,
    "batch_norm": _batch_norm,
    "affine": _affine,
    "clip": _clip,
    "prelu": _prelu,
    "sigmoid": _elementwise("Sigmoid"),
    "tanh": _elementwise("Tanh"),
    "softmax": _softmax,
    "add": _chain("Add"),
    "subtract": _chain("Sub"),
    "multiply": _chain("Mul"),
    "max_pool2d": _pool("MaxPool"),
    "avg_pool2d": _pool("AveragePool", count_include_pad=0),
    "bmax_pool2d": _pool("MaxPool"),
    "global_avg_pool2d": _global_pool("GlobalAveragePool"),
    "global_max_pool2d": _global_pool("GlobalMaxPool"),
    "concat": _concat,
    "slice": _slice,
    "pad": _pad,
    "nearest_resize2d": _nearest,
    "bilinear_resize2d": _bilinear,
    "reshape": _reshape,
    "permute": _permute,
}
