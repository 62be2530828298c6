"""A convolution of signs with a kernel of signs times a scale per channel becomes binary.

Files of other tools store dense layers, and layers with a scale, as real convolutions, even if they
multiply signs by signs or levels by signs:

    conv2d(factor * dequantize(bits), scale * signs) = factor * scale * bconv2d(bits, signs)

Zeros around the image stay zeros. The kernel needs one bit per weight, and sums become exact. For a
convolution after a `pad`, only the kernel becomes binary; `fold_padding` does the rest. Max pooling
of signs becomes max pooling of bits. Values of -1, 0 and +1 are sums of two signs; a convolution of
a sum is the sum of two convolutions.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.graph.builder import Names
from bnnzoo.graph.ir import Graph, Node, Tensor, numbers
from bnnzoo.graph.ops import infer_types
from bnnzoo.graph.packing import pack
from bnnzoo.graph.passes.drop_unused import drop_unused

__all__ = ["binary_kernels"]

_BINARY = {"conv2d": "bconv2d", "conv2d_transpose": "bconv2d_transpose"}


def binary_kernels(graph: Graph) -> Graph:
    """Replaces every convolution that computes the same by `bconv2d` and `affine`."""
    types = infer_types(graph)
    names = Names((*types, *graph.tensors))
    tensors = dict(graph.tensors)
    # Real value -> the bits or levels that it is a multiple of, None after a `pad`; and the factor.
    counted: dict[str, tuple[str | None, float]] = {}
    # Real value -> two of `counted` that it is the sum of.
    summed: dict[str, tuple[str, ...]] = {}
    signs = {name for name, type_ in types.items() if type_.kind == "bits"}
    nodes: list[Node] = []
    for node in graph.nodes:
        bits, factor = counted.get(node.inputs[0], (None, 1.0))
        if node.op == "dequantize":
            counted[node.name] = node.inputs[0], 1.0
        elif node.op == "affine" and bits and (times := _factor(node, tensors)):
            counted[node.name] = bits, factor * times
        elif node.op == "reshape" and bits:
            name = names.free(f"{node.name}/bits")
            nodes.append(dataclasses.replace(node, name=name, inputs=(bits,)))
            signs.update({name} if bits in signs else ())
            counted[node.name] = name, factor
        elif node.op == "max_pool2d" and bits and factor > 0 and bits in signs:
            name = names.free(f"{node.name}/bits")
            nodes.append(dataclasses.replace(node, name=name, op="bmax_pool2d", inputs=(bits,)))
            signs.add(name)
            counted[node.name] = name, factor
        elif node.op == "pad" and bits and factor == 1:
            counted[node.name] = None, 1.0
        elif node.op == "add" and _are_signs(node.inputs, counted, signs):
            summed[node.name] = node.inputs
        elif node.op == "reshape" and node.inputs[0] in summed:
            summed[node.name] = ()
            for value in summed[node.inputs[0]]:
                bits, factor = counted[value]
                assert bits is not None
                part, real = (names.free(f"{node.name}/{kind}") for kind in ("bits", "part"))
                nodes.append(dataclasses.replace(node, name=part, inputs=(bits,)))
                signs.add(part)
                counted[real] = part, factor
                summed[node.name] += (real,)
        elif node.op in _BINARY and node.inputs[0] in summed:
            scale = _scale(tensors[node.tensors["kernel"]])
            if scale is not None:
                parts = []
                for value in summed[node.inputs[0]]:
                    bits, factor = counted[value]
                    one = dataclasses.replace(node, name=names.free(f"{node.name}/part"))
                    by = np.asarray(factor * scale, np.float32)
                    nodes += _binary(one, bits, by, tensors, names)
                    parts.append(one.name)
                nodes.append(Node(node.name, "add", tuple(parts)))
                continue
        elif node.op in _BINARY and node.inputs[0] in counted:
            scale = _scale(tensors[node.tensors["kernel"]])
            if scale is not None:
                by = np.asarray(factor * scale, np.float32)
                nodes += _binary(node, bits, by, tensors, names)
                continue
        nodes.append(node)
    return drop_unused(dataclasses.replace(graph, nodes=tuple(nodes), tensors=tensors))


def _are_signs(
    values: tuple[str, ...], counted: dict[str, tuple[str | None, float]], signs: set[str]
) -> bool:
    """Returns whether these are two multiples of signs."""
    return len(values) == 2 and all(counted.get(value, ("",))[0] in signs for value in values)


def _scale(kernel: Tensor) -> NDArray[Any] | None:
    """Returns the scale of each channel's signs; None if the kernel is not of this form."""
    if not isinstance(kernel, np.ndarray) or kernel.dtype == np.int8:
        return None
    magnitudes = np.abs(kernel.reshape(len(kernel), -1))
    scale: NDArray[Any] = magnitudes[:, 0]
    return scale if (magnitudes == magnitudes[:, :1]).all() else None


def _factor(node: Node, tensors: dict[str, Tensor]) -> float | None:
    """Returns the factor of an affine that only multiplies by one number; None for others."""
    if set(node.tensors) != {"scale"}:
        return None
    scale = np.asarray(tensors[node.tensors["scale"]])
    return float(scale[0]) if (scale == scale[0]).all() else None


def _binary(
    node: Node, bits: str | None, scale: NDArray[Any], tensors: dict[str, Tensor], names: Names
) -> list[Node]:
    """Returns the nodes that replace a convolution; without `bits`, it stays a `conv2d`."""
    kernel = numbers(tensors[node.tensors["kernel"]])
    one = bool((scale == 1).all())
    sums = node.name if one else names.free(f"{node.name}/sums")
    signs = names.free(f"{node.name}/signs")
    tensors[signs] = pack(np.where(kernel < 0, np.int8(-1), np.int8(1)))
    conv = Node(sums, node.op, node.inputs, node.attributes, {"kernel": signs})
    if bits is not None:
        border = {"pad_value": 0} if node.op == "conv2d" else {}
        conv = Node(
            sums, _BINARY[node.op], (bits,), {**node.attributes, **border}, {"kernel": signs}
        )
    if one:
        return [conv]
    by = names.free(f"{node.name}/kernel_scale")
    tensors[by] = scale
    return [conv, Node(node.name, "affine", (sums,), {}, {"scale": by})]
