"""Output types of convolutions, transposed convolutions, pooling and resizing.

Spatial operations take `(h, w, c)`. `padding` is (top, bottom, left, right), already resolved
from Keras's "same" and "valid". Kernels are `(c_out, kernel_h, kernel_w, c_in / groups)`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from bnnzoo.errors import GraphError
from bnnzoo.graph.ir import Node, Tensor, Type, signs
from bnnzoo.graph.packing import LEVELS, Int8Kernel
from bnnzoo.graph.windows import count, extent

__all__ = [
    "BINARY",
    "MAX_GROWTH",
    "MAX_INT8_PRODUCTS",
    "Shape",
    "Tensors",
    "conv",
    "conv_transpose",
    "expect_kind",
    "fail",
    "global_pool",
    "map_shape",
    "pool",
    "resize",
    "vector",
]

# Largest stride of a transposed convolution: a runtime splits its kernel into as many per axis.
MAX_GROWTH = 32
# Products per sum of `conv2d` with `input_bits`, each at most 127 * 127: the sum fits in 32 bits.
MAX_INT8_PRODUCTS = 2**17

# Convolutions of bits or levels with a kernel of signs: their sums are integers.
BINARY = ("bconv2d", "bconv2d_transpose")

Shape = tuple[int, ...]
Tensors = Mapping[str, Tensor]


def fail(node: Node, rule: str) -> GraphError:
    """Returns the error for a node that breaks a rule."""
    return GraphError(f"Node '{node.name}' ({node.op}): {rule}.")


def expect_kind(node: Node, types: Sequence[Type], *kinds: str) -> None:
    """Checks the kinds of the inputs."""
    for value, type_ in zip(node.inputs, types, strict=True):
        if type_.kind not in kinds:
            raise fail(node, f"input '{value}' must be {' or '.join(kinds)}, got {type_.kind}")


def map_shape(node: Node, type_: Type) -> tuple[int, int, int]:
    """Returns rows, columns and channels of an input."""
    if len(type_.shape) != 3:
        raise fail(node, f"input must be (h, w, c), got {type_.shape}")
    height, width, channels = type_.shape
    return height, width, channels


def _window(node: Node, type_: Type, kernel: Sequence[int], dilation: Sequence[int]) -> Shape:
    """Returns the height and width of the result of a sliding window."""
    height, width, _ = map_shape(node, type_)
    top, bottom, left, right = node.attributes["padding"]
    sizes = []
    for size, pads, taps, rate, stride in zip(
        (height, width), (top + bottom, left + right), kernel, dilation,
        node.attributes["strides"], strict=True,
    ):  # fmt: skip
        covered = extent(taps, rate)
        if size + pads < covered:
            raise fail(node, f"a window of {covered} must fit into {size + pads} pixels")
        sizes.append(count(size + pads, covered, stride))
    return tuple(sizes)


def vector(node: Node, tensors: Tensors, role: str, channels: int) -> None:
    """Checks a tensor of one number per channel, if the node has it."""
    tensor = tensors.get(role)
    if tensor is not None and tensor.shape != (channels,):
        raise fail(node, f"tensor '{role}' must be ({channels},), got {tensor.shape}")
    if isinstance(tensor, np.ndarray) and np.isnan(tensor).any():
        raise fail(node, f"tensor '{role}' must be numbers, got NaN")


def conv(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    """Returns the type of a convolution, of real numbers or of bits."""
    if node.op == "bconv2d":
        expect_kind(node, types, "bits", "levels")
    else:
        expect_kind(node, types, "real")
    channels = map_shape(node, types[0])[2]
    kernel, groups = tensors["kernel"], node.attributes["groups"]
    if len(kernel.shape) != 4 or 0 in kernel.shape:
        raise fail(node, f"kernel must be (c_out, h, w, c_in / groups), got {kernel.shape}")
    if node.op == "bconv2d" and not signs(kernel):
        raise fail(node, "kernel must be binary")
    c_out, kernel_h, kernel_w, c_in = kernel.shape
    if c_in * groups != channels or c_out % groups:
        raise fail(
            node, f"kernel {kernel.shape} in {groups} groups must fit {channels} input channels"
        )
    if "input_bits" in node.attributes:
        _int8(node, kernel)
    size = _window(node, types[0], (kernel_h, kernel_w), node.attributes["dilation"])
    _correction(node, tensors, size, c_out)
    return Type("real", (*size, c_out))


def conv_transpose(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    """Returns the type of a transposed convolution."""
    binary = node.op in BINARY
    expect_kind(node, types, *(("bits", "levels") if binary else ("real",)))
    channels, kernel = map_shape(node, types[0])[2], tensors["kernel"]
    if len(kernel.shape) != 4 or 0 in kernel.shape or kernel.shape[3] != channels:
        raise fail(node, f"kernel must be (c_out, h, w, {channels}), got {kernel.shape}")
    if binary and not signs(kernel):
        raise fail(node, "kernel must be binary")
    if max(node.attributes["strides"]) > MAX_GROWTH:
        raise fail(node, f"strides must be at most {MAX_GROWTH}")
    return Type("real", (*node.attributes["pixels"], kernel.shape[0]))


def resize(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    """Returns the type of an image in another size."""
    expect_kind(node, types, "real")
    return Type("real", (*node.attributes["pixels"], map_shape(node, types[0])[2]))


def _int8(node: Node, kernel: Tensor) -> None:
    """Checks the kernel of a convolution of 8-bit inputs."""
    if not isinstance(kernel, Int8Kernel):
        raise fail(node, "with input_bits its kernel must be int8")
    if kernel.levels.min() < -LEVELS or kernel.scale.shape != kernel.shape[:1]:
        raise fail(node, "its kernel must have levels of -127 to 127 and a scale per channel")
    if math.prod(kernel.shape[1:]) > MAX_INT8_PRODUCTS:
        raise fail(node, f"with input_bits a sum must have at most {MAX_INT8_PRODUCTS} products")


def _correction(node: Node, tensors: Tensors, size: Shape, c_out: int) -> None:
    correction = tensors.get("correction")
    if correction is None:
        return
    rows, columns = tensors["row_class"], tensors["column_class"]
    for role, classes, length in (("row_class", rows, size[0]), ("column_class", columns, size[1])):
        if classes.shape != (length,):
            raise fail(node, f"tensor '{role}' must be ({length},), got {classes.shape}")
        if np.min(classes) < 0:  # type: ignore[arg-type]
            raise fail(node, f"tensor '{role}' must be at least 0")
    expected = (int(np.max(rows)) + 1, int(np.max(columns)) + 1, c_out)  # type: ignore[arg-type]
    if correction.shape != expected:
        raise fail(node, f"tensor 'correction' must be {expected}, got {correction.shape}")


def pool(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    """Returns the type of a pooling."""
    expect_kind(node, types, "bits" if node.op == "bmax_pool2d" else "real")
    channels = map_shape(node, types[0])[2]
    vector(node, tensors, "direction", channels)
    top, bottom, left, right = node.attributes["padding"]
    pool_h, pool_w = node.attributes["pool"]
    if max(top, bottom) >= pool_h or max(left, right) >= pool_w:
        raise fail(node, "padding must be smaller than the window")
    size = _window(node, types[0], node.attributes["pool"], (1, 1))
    return Type(types[0].kind, (*size, channels), types[0].bits)


def global_pool(node: Node, types: Sequence[Type], tensors: Tensors) -> Type:
    """Returns the type of a pooling of all pixels."""
    expect_kind(node, types, "real")
    return Type("real", (map_shape(node, types[0])[2],))
