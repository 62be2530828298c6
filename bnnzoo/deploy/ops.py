"""The table of operations: what each takes, and the type of what it returns.

A row says everything that must be known of an operation to check a graph. What the operation
computes is restated in `interpreter`, without any shortcut.

Spatial operations take `(h, w, c)`. `padding` is (top, bottom, left, right), already resolved
from Keras's "same" and "valid". Kernels are `(c_out, kernel_h, kernel_w, c_in / groups)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bnnzoo.deploy.attribute_rules import Check, ints, is_int, is_number, is_shape
from bnnzoo.deploy.ir import Graph, Node, Tensor, Type, signs
from bnnzoo.deploy.packing import LEVELS, Int8Kernel
from bnnzoo.errors import GraphError

__all__ = ["MAX_INT8_PRODUCTS", "MAX_VALUE_ELEMENTS", "OPS", "Op", "check_graph", "infer_types"]

# Elements of one value of one image; 256 MiB as float32. What a broken file may ask for.
MAX_VALUE_ELEMENTS = 2**26
# Products of one sum of `conv2d` with `input_bits`, each at most 127 * 127: 32 bits hold the sum.
MAX_INT8_PRODUCTS = 2**17

Shape = tuple[int, ...]
Tensors = Mapping[str, Tensor]
Infer = Callable[[Node, Sequence[Type], Tensors], Type]


@dataclass(frozen=True)
class Op:
    """One row of the table.

    Attributes:
        inputs: Least and greatest number of inputs.
        infer: Returns the result's type; raises `GraphError` where inputs do not fit.
        attributes: Name -> the rule in words, and the test of it.
        required: Roles of the tensors that must be there.
        optional: Roles of those that may be.
        optional_attributes: The same of attributes that may be left out.
        elementwise: One pixel's channels of the result need the same pixel of the inputs only,
            so that the node may stand in an epilogue.
    """

    inputs: tuple[int, int]
    infer: Infer
    attributes: Mapping[str, tuple[str, Check]]
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    optional_attributes: Mapping[str, tuple[str, Check]] = field(default_factory=dict)
    elementwise: bool = False


_PAIR = ("two integers of at least 1", ints(2, 1))
_PADDING = ("four integers of at least 0: top, bottom, left, right", ints(4, 0))
_POSITIVE = ("an integer of at least 1", lambda value: is_int(value, 1))
_CONV = {"strides": _PAIR, "dilation": _PAIR, "padding": _PADDING, "groups": _POSITIVE}
_POOL = {"pool": _PAIR, "strides": _PAIR, "padding": _PADDING}


def _fail(node: Node, rule: str) -> GraphError:
    return GraphError(f"Node '{node.name}' ({node.op}): {rule}.")


def _expect_kind(node: Node, types: Sequence[Type], *kinds: str) -> None:
    for value, type_ in zip(node.inputs, types, strict=True):
        if type_.kind not in kinds:
            raise _fail(node, f"input '{value}' must be {' or '.join(kinds)}, got {type_.kind}")


def _map_shape(node: Node, type_: Type) -> tuple[int, int, int]:
    if len(type_.shape) != 3:
        raise _fail(node, f"input must be (h, w, c), got {type_.shape}")
    height, width, channels = type_.shape
    return height, width, channels


def _window(node: Node, type_: Type, kernel: Sequence[int], dilation: Sequence[int]) -> Shape:
    """Returns the height and width of what a sliding window gives."""
    height, width, _ = _map_shape(node, type_)
    top, bottom, left, right = node.attributes["padding"]
    sizes = []
    for size, pads, taps, rate, stride in zip(
        (height, width), (top + bottom, left + right), kernel, dilation,
        node.attributes["strides"], strict=True,
    ):  # fmt: skip
        extent = (taps - 1) * rate + 1
        if size + pads < extent:
            raise _fail(node, f"a window of {extent} must fit into {size + pads} pixels")
        sizes.append((size + pads - extent) // stride + 1)
    return tuple(sizes)


def _vector(node: Node, tensors: Tensors, role: str, channels: int) -> None:
    tensor = tensors.get(role)
    if tensor is not None and tensor.shape != (channels,):
        raise _fail(node, f"tensor '{role}' must be ({channels},), got {tensor.shape}")
    if isinstance(tensor, np.ndarray) and np.isnan(tensor).any():
        raise _fail(node, f"tensor '{role}' must be numbers, got NaN")


def _vectors(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    """The type of an elementwise operation with parameters per channel."""
    _expect_kind(node, types, "real")
    for role in (*OPS[node.op].required, *OPS[node.op].optional):
        _vector(node, tensors, role, types[0].shape[-1])
    return types[0]


def _conv(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    if node.op == "bconv2d":
        _expect_kind(node, types, "bits", "levels")
    else:
        _expect_kind(node, types, "real")
    channels = _map_shape(node, types[0])[2]
    kernel, groups = tensors["kernel"], node.attributes["groups"]
    if len(kernel.shape) != 4 or 0 in kernel.shape:
        raise _fail(node, f"kernel must be (c_out, h, w, c_in / groups), got {kernel.shape}")
    if node.op == "bconv2d" and not signs(kernel):
        raise _fail(node, "kernel must be binary")
    c_out, kernel_h, kernel_w, c_in = kernel.shape
    if c_in * groups != channels or c_out % groups:
        raise _fail(
            node, f"kernel {kernel.shape} in {groups} groups must fit {channels} input channels"
        )
    if "input_bits" in node.attributes:
        _int8(node, kernel)
    size = _window(node, types[0], (kernel_h, kernel_w), node.attributes["dilation"])
    _correction(node, tensors, size, c_out)
    return Type("real", (*size, c_out))


def _int8(node: Node, kernel: Tensor) -> None:
    """Checks the kernel of a convolution of inputs in 8 bits."""
    if not isinstance(kernel, Int8Kernel):
        raise _fail(node, "with input_bits its kernel must be int8")
    if kernel.levels.min() < -LEVELS or kernel.scale.shape != kernel.shape[:1]:
        raise _fail(node, "its kernel must have levels of -127 to 127 and a scale per channel")
    if math.prod(kernel.shape[1:]) > MAX_INT8_PRODUCTS:
        raise _fail(node, f"with input_bits a sum must have at most {MAX_INT8_PRODUCTS} products")


def _correction(node: Node, tensors: Tensors, size: Shape, c_out: int) -> None:
    correction = tensors.get("correction")
    if correction is None:
        return
    rows, columns = tensors["row_class"], tensors["column_class"]
    for role, classes, length in (("row_class", rows, size[0]), ("column_class", columns, size[1])):
        if classes.shape != (length,):
            raise _fail(node, f"tensor '{role}' must be ({length},), got {classes.shape}")
        if np.min(classes) < 0:  # type: ignore[arg-type]
            raise _fail(node, f"tensor '{role}' must be at least 0")
    expected = (int(np.max(rows)) + 1, int(np.max(columns)) + 1, c_out)  # type: ignore[arg-type]
    if correction.shape != expected:
        raise _fail(node, f"tensor 'correction' must be {expected}, got {correction.shape}")


def _pool(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    _expect_kind(node, types, "bits" if node.op == "bmax_pool2d" else "real")
    channels = _map_shape(node, types[0])[2]
    _vector(node, tensors, "direction", channels)
    top, bottom, left, right = node.attributes["padding"]
    pool_h, pool_w = node.attributes["pool"]
    if max(top, bottom) >= pool_h or max(left, right) >= pool_w:
        raise _fail(node, "padding must be smaller than the window")
    size = _window(node, types[0], node.attributes["pool"], (1, 1))
    return Type(types[0].kind, (*size, channels), types[0].bits)


def _global_pool(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    _expect_kind(node, types, "real")
    return Type("real", (_map_shape(node, types[0])[2],))


def _sign(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    _expect_kind(node, types, "real")
    if ("threshold" in tensors) != ("direction" in tensors):
        raise _fail(node, "threshold and direction must come together")
    for role in ("threshold", "direction"):
        _vector(node, tensors, role, types[0].shape[-1])
    return Type("bits", types[0].shape, 1)


def _quantize(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    _expect_kind(node, types, "real")
    return Type("levels", types[0].shape, node.attributes["bits"])


def _dequantize(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    _expect_kind(node, types, "bits", "levels")
    return Type("real", types[0].shape)


def _same(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    _expect_kind(node, types, "real")
    return types[0]


def _broadcast(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    _expect_kind(node, types, "real")
    shapes = [type_.shape for type_ in types]
    if len({len(shape) for shape in shapes}) > 1:
        raise _fail(node, f"inputs must have as many axes, got {shapes}")
    try:
        return Type("real", tuple(np.broadcast_shapes(*shapes)))
    except ValueError as error:
        raise _fail(node, f"inputs must broadcast, got {shapes}") from error


def _concat(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    _expect_kind(node, types, "real")
    axis, first = node.attributes["axis"], types[0].shape
    if axis >= len(first):
        raise _fail(node, f"axis must be below {len(first)}, got {axis}")
    for type_ in types:
        if type_.shape[:axis] + type_.shape[axis + 1 :] != first[:axis] + first[axis + 1 :]:
            raise _fail(node, f"inputs must differ along axis {axis} only")
    total = sum(type_.shape[axis] for type_ in types)
    return Type("real", (*first[:axis], total, *first[axis + 1 :]))


def _slice(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    _expect_kind(node, types, "real")
    axis, shape = node.attributes["axis"], types[0].shape
    begin, size = node.attributes["begin"], node.attributes["size"]
    if axis >= len(shape) or begin + size > shape[axis]:
        raise _fail(node, f"{begin} + {size} on axis {axis} must lie inside {shape}")
    return Type("real", (*shape[:axis], size, *shape[axis + 1 :]))


def _pad(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    _expect_kind(node, types, "real")
    height, width, channels = _map_shape(node, types[0])
    top, bottom, left, right = node.attributes["padding"]
    return Type("real", (height + top + bottom, width + left + right, channels))


def _reshape(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    shape = node.attributes["shape"]
    if math.prod(shape) != math.prod(types[0].shape):
        raise _fail(node, f"shape {shape} must have as many elements as {types[0].shape}")
    return Type(types[0].kind, shape, types[0].bits)


def _permute(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    _expect_kind(node, types, "real")
    axes, shape = node.attributes["axes"], types[0].shape
    if sorted(axes) != list(range(len(shape))):
        raise _fail(node, f"axes must be an order of {len(shape)} axes, got {axes}")
    return Type("real", tuple(shape[axis] for axis in axes))


_AXIS = ("an integer of at least 0", lambda value: is_int(value, 0))
_NUMBER = ("a number", is_number)
_LEVEL_BITS = ("an integer from 1 to 8", lambda value: is_int(value, 1, 8))
_PAD_VALUE = ("-1, 0 or 1", lambda value: is_int(value, -1, 1))
_AXES = ("a sequence of axes", lambda v: isinstance(v, tuple) and all(is_int(a, 0, 8) for a in v))

OPS: dict[str, Op] = {
    # Real numbers to bits, bit = -1 where scale * x + bias < 0. With `threshold` and `direction`:
    # -1 where x < threshold (direction +1) or x > threshold (direction -1).
    "sign": Op((1, 1), _sign, {}, (), ("threshold", "direction"), elementwise=True),
    # round(clip(x, 0, 1) * (2^bits - 1)), halves to even.
    "quantize": Op((1, 1), _quantize, {"bits": _LEVEL_BITS}, elementwise=True),
    # Bits to -1.0 and +1.0, levels to level / (2^bits - 1).
    "dequantize": Op((1, 1), _dequantize, {}),
    # Binary kernel over bits or levels; the border of bits is `pad_value`, that of levels 0.
    # `correction` (row classes, column classes, c_out) is added at every output pixel.
    "bconv2d": Op(
        (1, 1), _conv, {**_CONV, "pad_value": ("-1, 0 or 1", _PAD_VALUE[1])},
        ("kernel",), ("correction", "row_class", "column_class"),
    ),
    # Real input, zero border; the kernel may be binary. groups = c_in is a depthwise convolution.
    # With `input_bits` the input counts as level * m / 127: m is its largest magnitude,
    # level = round(x * (127 / m)) in float32, halves to even.
    "conv2d": Op(
        (1, 1), _conv, _CONV, ("kernel",),
        optional_attributes={"input_bits": ("8, or left out", lambda value: is_int(value, 8, 8))},
    ),
    # gamma * (x - mean) / sqrt(variance + epsilon) + beta
    "batch_norm": Op(
        (1, 1), _vectors, {"epsilon": _NUMBER}, ("mean", "variance"), ("gamma", "beta"),
        elementwise=True,
    ),
    # scale * x + bias
    "affine": Op((1, 1), _vectors, {}, (), ("scale", "bias"), elementwise=True),
    # min(max(x, low), high)
    "clip": Op((1, 1), _same, {"low": _NUMBER, "high": _NUMBER}, elementwise=True),
    # x where x >= 0, alpha * x elsewhere
    "prelu": Op((1, 1), _vectors, {}, ("alpha",), elementwise=True),
    "sigmoid": Op((1, 1), _same, {}, elementwise=True),
    "tanh": Op((1, 1), _same, {}, elementwise=True),
    # exp(x - max) / sum, over the last axis
    "softmax": Op((1, 1), _same, {}),
    "add": Op((2, 64), _broadcast, {}, elementwise=True),
    "subtract": Op((2, 2), _broadcast, {}, elementwise=True),
    "multiply": Op((2, 64), _broadcast, {}, elementwise=True),
    # Padding never wins; avg_pool2d divides by the number of pixels inside the image.
    "max_pool2d": Op((1, 1), _pool, _POOL),
    "avg_pool2d": Op((1, 1), _pool, _POOL),
    # Max pooling of bits; the minimum in channels whose `direction` is -1.
    "bmax_pool2d": Op((1, 1), _pool, _POOL, (), ("direction",)),
    "global_avg_pool2d": Op((1, 1), _global_pool, {}),
    "global_max_pool2d": Op((1, 1), _global_pool, {}),
    "concat": Op((1, 1024), _concat, {"axis": _AXIS}),
    "slice": Op((1, 1), _slice, {"axis": _AXIS, "begin": _AXIS, "size": _POSITIVE}),
    "pad": Op((1, 1), _pad, {"padding": _PADDING, "value": _NUMBER}),
    "reshape": Op((1, 1), _reshape, {"shape": ("a shape", is_shape)}),
    "permute": Op((1, 1), _permute, {"axes": _AXES}),
}  # fmt: skip


def infer_types(graph: Graph) -> dict[str, Type]:
    """Returns the type of every value, and checks the graph on the way.

    Raises:
        GraphError: A name is used twice or not defined, an attribute or tensor is missing, left
            over or out of range, or the inputs of a node do not fit it.
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
        _check_epilogue(node)
        for part in node.all():
            if part.name in types:
                raise _fail(part, "name must be unique")
            types[part.name] = _infer(part, types, graph)
    for name in graph.outputs:
        if name not in types:
            raise GraphError(f"Output '{name}' is computed by no node.")
    if not graph.outputs:
        raise GraphError("The graph must have an output, got none.")
    return types


check_graph = infer_types


def _infer(node: Node, types: Mapping[str, Type], graph: Graph) -> Type:
    op = OPS.get(node.op)
    if op is None:
        raise _fail(node, "the operation is not known")
    least, greatest = op.inputs
    if not least <= len(node.inputs) <= greatest:
        raise _fail(node, f"it must have {least} to {greatest} inputs, got {len(node.inputs)}")
    for value in node.inputs:
        if value not in types:
            raise _fail(node, f"input '{value}' must be computed before it")
    _check_attributes(node, op)
    result = op.infer(node, [types[value] for value in node.inputs], _node_tensors(node, op, graph))
    if math.prod(result.shape) > MAX_VALUE_ELEMENTS:
        raise _fail(node, f"its value {result.shape} has more than {MAX_VALUE_ELEMENTS} elements")
    return result


def _check_attributes(node: Node, op: Op) -> None:
    if set(node.attributes) - set(op.optional_attributes) != set(op.attributes):
        raise _fail(
            node, f"attributes must be {sorted(op.attributes)}, got {sorted(node.attributes)}"
        )
    for name, (rule, check) in {**op.attributes, **op.optional_attributes}.items():
        if name in node.attributes and not check(node.attributes[name]):
            raise _fail(node, f"{name} must be {rule}, got {node.attributes[name]!r}")


def _node_tensors(node: Node, op: Op, graph: Graph) -> dict[str, Tensor]:
    missing = [role for role in op.required if role not in node.tensors]
    extra = [role for role in node.tensors if role not in (*op.required, *op.optional)]
    if missing or extra:
        raise _fail(node, f"tensors missing: {missing}, not known: {extra}")
    for role, name in node.tensors.items():
        if name not in graph.tensors:
            raise _fail(node, f"tensor '{name}' ({role}) is not in the graph")
    return {role: graph.tensors[name] for role, name in node.tensors.items()}


def _check_epilogue(node: Node) -> None:
    running = node.name
    for part in node.epilogue:
        if part.op not in OPS or not OPS[part.op].elementwise or part.epilogue:
            raise _fail(part, "only elementwise operations may stand in an epilogue")
        if part.inputs[:1] != (running,):
            raise _fail(part, f"the first input must be '{running}' in this epilogue")
        if part.op not in ("sign", "quantize"):
            running = part.name
