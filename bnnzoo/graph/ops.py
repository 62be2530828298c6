"""The table of operations: their inputs, attributes and tensors, and the type of their result.

A row has everything that is needed to check a node. `interpreter` defines what an operation
computes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import is_

import numpy as np

from bnnzoo.errors import GraphError
from bnnzoo.graph.attribute_rules import Check, ints, is_int, is_number, is_shape
from bnnzoo.graph.ir import Graph, Inferred, Node, Tensor, Type
from bnnzoo.graph.window_types import (
    BINARY,
    MAX_GROWTH,
    MAX_INT8_PRODUCTS,
    Tensors,
    conv,
    conv_transpose,
    expect_kind,
    fail,
    global_pool,
    map_shape,
    pool,
    resize,
    vector,
)

__all__ = [
    "BINARY",
    "MAX_GROWTH",
    "MAX_INT8_PRODUCTS",
    "MAX_VALUE_ELEMENTS",
    "OPS",
    "Op",
    "infer_type",
    "infer_types",
]

# Elements of a value for one image; 256 MiB as float32. Limits what a broken file can allocate.
MAX_VALUE_ELEMENTS = 2**26
Infer = Callable[[Node, Sequence[Type], Tensors], Type]


@dataclass(frozen=True)
class Op:
    """One row of the table.

    Attributes:
        inputs: Minimal and maximal number of inputs.
        infer: Returns the result's type; raises `GraphError` if the inputs do not fit.
        attributes: Name -> the rule in words, and its check.
        required: Roles of the required tensors.
        optional: Roles of the optional tensors.
        optional_attributes: Optional attributes, like `attributes`.
    """

    inputs: tuple[int, int]
    infer: Infer
    attributes: Mapping[str, tuple[str, Check]]
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    optional_attributes: Mapping[str, tuple[str, Check]] = field(default_factory=dict)


_PAIR = ("two integers of at least 1", ints(2, 1))
_PADDING = ("four integers of at least 0: top, bottom, left, right", ints(4, 0))
_POSITIVE = ("an integer of at least 1", lambda value: is_int(value, 1))
_TRANSPOSED = {
    "strides": _PAIR,
    "dilation": _PAIR,
    "crop": ("two integers of at least 0: rows above, columns on the left", ints(2, 0)),
    "pixels": _PAIR,
}
_CONV = {"strides": _PAIR, "dilation": _PAIR, "padding": _PADDING, "groups": _POSITIVE}
_POOL = {"pool": _PAIR, "strides": _PAIR, "padding": _PADDING}


def _vectors(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    """The type of an elementwise operation with parameters per channel."""
    expect_kind(node, types, "real")
    for role in (*OPS[node.op].required, *OPS[node.op].optional):
        vector(node, tensors, role, types[0].shape[-1])
    return types[0]


def _sign(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    expect_kind(node, types, "real")
    if ("threshold" in tensors) != ("direction" in tensors):
        raise fail(node, "threshold and direction must be given together")
    for role in ("threshold", "direction"):
        vector(node, tensors, role, types[0].shape[-1])
    return Type("bits", types[0].shape, 1)


def _quantize(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    expect_kind(node, types, "real")
    return Type("levels", types[0].shape, node.attributes["bits"])


def _dequantize(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    expect_kind(node, types, "bits", "levels")
    return Type("real", types[0].shape)


def _same(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    expect_kind(node, types, "real")
    return types[0]


def _broadcast(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    expect_kind(node, types, "real")
    shapes = [type_.shape for type_ in types]
    if len({len(shape) for shape in shapes}) > 1:
        raise fail(node, f"inputs must have the same number of axes, got {shapes}")
    try:
        return Type("real", tuple(np.broadcast_shapes(*shapes)))
    except ValueError as error:
        raise fail(node, f"inputs must broadcast, got {shapes}") from error


def _concat(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    expect_kind(node, types, "real")
    axis, first = node.attributes["axis"], types[0].shape
    if axis >= len(first):
        raise fail(node, f"axis must be below {len(first)}, got {axis}")
    for type_ in types:
        if type_.shape[:axis] + type_.shape[axis + 1 :] != first[:axis] + first[axis + 1 :]:
            raise fail(node, f"inputs must differ along axis {axis} only")
    total = sum(type_.shape[axis] for type_ in types)
    return Type("real", (*first[:axis], total, *first[axis + 1 :]))


def _slice(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    expect_kind(node, types, "real")
    axis, shape = node.attributes["axis"], types[0].shape
    begin, size = node.attributes["begin"], node.attributes["size"]
    if axis >= len(shape) or begin + size > shape[axis]:
        raise fail(node, f"{begin} + {size} on axis {axis} must be inside {shape}")
    return Type("real", (*shape[:axis], size, *shape[axis + 1 :]))


def _pad(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    expect_kind(node, types, "real")
    height, width, channels = map_shape(node, types[0])
    top, bottom, left, right = node.attributes["padding"]
    return Type("real", (height + top + bottom, width + left + right, channels))


def _reshape(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    shape = node.attributes["shape"]
    if math.prod(shape) != math.prod(types[0].shape):
        raise fail(node, f"shape {shape} must have as many elements as {types[0].shape}")
    return Type(types[0].kind, shape, types[0].bits)


def _permute(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    expect_kind(node, types, "real")
    axes, shape = node.attributes["axes"], types[0].shape
    if sorted(axes) != list(range(len(shape))):
        raise fail(node, f"axes must be a permutation of {len(shape)} axes, got {axes}")
    return Type("real", tuple(shape[axis] for axis in axes))


_AXIS = ("an integer of at least 0", lambda value: is_int(value, 0))
_NUMBER = ("a number", is_number)
_LEVEL_BITS = ("an integer from 1 to 8", lambda value: is_int(value, 1, 8))
_PAD_VALUE = ("-1, 0 or 1", lambda value: is_int(value, -1, 1))
_AXES = ("a sequence of axes", lambda v: isinstance(v, tuple) and all(is_int(a, 0, 8) for a in v))

OPS: dict[str, Op] = {
    # Real numbers to bits, bit = -1 where scale * x + bias < 0. With `threshold` and `direction`:
    # -1 where x < threshold (direction +1) or x > threshold (direction -1).
    "sign": Op((1, 1), _sign, {}, (), ("threshold", "direction")),
    # round(clip(x, 0, 1) * (2^bits - 1)), half to even.
    "quantize": Op((1, 1), _quantize, {"bits": _LEVEL_BITS}),
    # Bits to -1.0 and +1.0, levels to level / (2^bits - 1).
    "dequantize": Op((1, 1), _dequantize, {}),
    # Binary kernel over bits or levels; the border of bits is `pad_value`, that of levels 0.
    # `correction` (row classes, column classes, c_out) is added at every output pixel.
    "bconv2d": Op(
        (1, 1), conv, {**_CONV, "pad_value": ("-1, 0 or 1", _PAD_VALUE[1])},
        ("kernel",), ("correction", "row_class", "column_class"),
    ),
    # Real input, zero border; the kernel may be binary. groups = c_in is a depthwise convolution.
    # With `input_bits`, the input is quantized to level * m / 127: m is its largest magnitude,
    # level = round(x * (127 / m)) in float32, half to even.
    "conv2d": Op(
        (1, 1), conv, _CONV, ("kernel",),
        optional_attributes={"input_bits": ("8, or omitted", lambda value: is_int(value, 8, 8))},
    ),
    # Pixel i adds kernel[:, u] * x[i] to output pixel i * stride + u * dilation - crop. Output
    # pixels that are not reached are 0.
    "conv2d_transpose": Op((1, 1), conv_transpose, _TRANSPOSED, ("kernel",)),
    "bconv2d_transpose": Op((1, 1), conv_transpose, _TRANSPOSED, ("kernel",)),
    # gamma * (x - mean) / sqrt(variance + epsilon) + beta
    "batch_norm": Op(
        (1, 1), _vectors, {"epsilon": _NUMBER}, ("mean", "variance"), ("gamma", "beta")
    ),
    # scale * x + bias
    "affine": Op((1, 1), _vectors, {}, (), ("scale", "bias")),
    # min(max(x, low), high)
    "clip": Op((1, 1), _same, {"low": _NUMBER, "high": _NUMBER}),
    # x where x >= 0, alpha * x elsewhere
    "prelu": Op((1, 1), _vectors, {}, ("alpha",)),
    "sigmoid": Op((1, 1), _same, {}),
    "tanh": Op((1, 1), _same, {}),
    # exp(x - max) / sum, over the last axis
    "softmax": Op((1, 1), _same, {}),
    "add": Op((2, 64), _broadcast, {}),
    "subtract": Op((2, 2), _broadcast, {}),
    "multiply": Op((2, 64), _broadcast, {}),
    # Padding never wins; avg_pool2d divides by the number of pixels inside the image.
    "max_pool2d": Op((1, 1), pool, _POOL),
    "avg_pool2d": Op((1, 1), pool, _POOL),
    # Max pooling of bits; the minimum in channels whose `direction` is -1.
    "bmax_pool2d": Op((1, 1), pool, _POOL, (), ("direction",)),
    "global_avg_pool2d": Op((1, 1), global_pool, {}),
    "global_max_pool2d": Op((1, 1), global_pool, {}),
    # Pixel i of n is at (i + 1/2) * (pixels of x) / n - 1/2 in x: the pixel that contains it, or
    # an interpolation between its two neighbours.
    "nearest_resize2d": Op((1, 1), resize, {"pixels": _PAIR}),
    "bilinear_resize2d": Op((1, 1), resize, {"pixels": _PAIR}),
    "concat": Op((1, 1024), _concat, {"axis": _AXIS}),
    "slice": Op((1, 1), _slice, {"axis": _AXIS, "begin": _AXIS, "size": _POSITIVE}),
    "pad": Op((1, 1), _pad, {"padding": _PADDING, "value": _NUMBER}),
    "reshape": Op((1, 1), _reshape, {"shape": ("a shape", is_shape)}),
    "permute": Op((1, 1), _permute, {"axes": _AXES}),
}  # fmt: skip


def infer_types(graph: Graph) -> dict[str, Type]:
    """Returns the type of every value, and checks the graph.

    Raises:
        GraphError: A name is used twice or undefined, an attribute or tensor is missing, unknown or
            out of range, or the inputs of a node do not fit.
    """
    if not graph.inputs:
        raise GraphError("The graph must have an input, got none.")
    for name, shape in graph.inputs.items():
        if not is_shape(shape):
            raise GraphError(f"The shape of input '{name}' must be positive integers, got {shape}.")
        if math.prod(shape) > MAX_VALUE_ELEMENTS:
            raise GraphError(f"Input '{name}' {shape} has more than {MAX_VALUE_ELEMENTS} elements.")
    types = {name: Type("real", shape) for name, shape in graph.inputs.items()}
    for node in graph.nodes:
        if node.name in types:
            raise fail(node, "name must be unique")
        types[node.name] = _inferred(graph, node, types)
    for name in graph.outputs:
        if name not in types:
            raise GraphError(f"No node computes output '{name}'.")
    if not graph.outputs:
        raise GraphError("The graph must have an output, got none.")
    return types


def _inferred(graph: Graph, node: Node, types: Mapping[str, Type]) -> Type:
    """Returns the type that the graph knows of a node, or infers it."""
    known = graph.inferred.get(id(node))
    if (
        known is not None
        and known.node is node
        and known.inputs == tuple(types.get(value) for value in node.inputs)
        and all(map(is_, known.tensors, map(graph.tensors.get, node.tensors.values())))
    ):
        return known.type
    type_ = infer_type(node, types, graph.tensors)
    inputs = tuple(types[value] for value in node.inputs)
    tensors = tuple(graph.tensors[name] for name in node.tensors.values())
    graph.inferred[id(node)] = Inferred(node, inputs, tensors, type_)
    return type_


def infer_type(node: Node, types: Mapping[str, Type], tensors: Tensors) -> Type:
    """Returns the type of a node's value, and checks the node.

    Args:
        node: The node.
        types: Types of the values computed before it.
        tensors: Tensors of the graph.

    Raises:
        GraphError: An attribute or tensor is missing, unknown or out of range, or the inputs do not
            fit the operation.
    """
    op = OPS.get(node.op)
    if op is None:
        raise fail(node, "the operation is unknown")
    least, greatest = op.inputs
    if not least <= len(node.inputs) <= greatest:
        raise fail(node, f"it must have {least} to {greatest} inputs, got {len(node.inputs)}")
    for value in node.inputs:
        if value not in types:
            raise fail(node, f"input '{value}' must be computed before it")
    _check_attributes(node, op)
    result = op.infer(
        node, [types[value] for value in node.inputs], _node_tensors(node, op, tensors)
    )
    if math.prod(result.shape) > MAX_VALUE_ELEMENTS:
        raise fail(node, f"its value {result.shape} has more than {MAX_VALUE_ELEMENTS} elements")
    return result


def _check_attributes(node: Node, op: Op) -> None:
    if set(node.attributes) - set(op.optional_attributes) != set(op.attributes):
        raise fail(
            node, f"attributes must be {sorted(op.attributes)}, got {sorted(node.attributes)}"
        )
    for name, (rule, check) in {**op.attributes, **op.optional_attributes}.items():
        if name in node.attributes and not check(node.attributes[name]):
            raise fail(node, f"{name} must be {rule}, got {node.attributes[name]!r}")


def _node_tensors(node: Node, op: Op, tensors: Tensors) -> dict[str, Tensor]:
    missing = [role for role in op.required if role not in node.tensors]
    extra = [role for role in node.tensors if role not in (*op.required, *op.optional)]
    if missing or extra:
        raise fail(node, f"tensors missing: {missing}, unknown: {extra}")
    for role, name in node.tensors.items():
        if name not in tensors:
            raise fail(node, f"tensor '{name}' ({role}) is not in the graph")
    return {role: tensors[name] for role, name in node.tensors.items()}
