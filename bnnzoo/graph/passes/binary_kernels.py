"""A convolution of signs whose kernel is signs times a scale per channel becomes a binary one.

Files of other tools keep dense layers, and those with a scale, as convolutions of real numbers,
though what they multiply is -1 and +1 on both sides, or levels and signs:

    conv2d(factor * dequantize(bits), scale * signs) = factor * scale * bconv2d(bits, signs)

Zeros around the image stay zeros. The kernel takes one bit per weight, and sums become exact. A
convolution behind a border of its own takes the binary kernel only; `fold_padding` does the rest.
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


def binary_kernels(graph: Graph) -> Graph:
    """Makes `bconv2d` and `affine` of every `conv2d` that computes the same."""
    types = infer_types(graph)
    names = Names((*types, *graph.tensors))
    tensors = dict(graph.tensors)
    # Real value -> the bits or levels whose numbers it is, and how often; None behind a border.
    counted: dict[str, tuple[str | None, float]] = {}
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
            counted[node.name] = name, factor
        elif node.op == "pad" and bits and factor == 1:
            counted[node.name] = None, 1.0
        elif node.op == "conv2d" and node.inputs[0] in counted:
            scale = _scale(tensors[node.tensors["kernel"]])
            if scale is not None:
                by = np.asarray(factor * scale, np.float32)
                nodes += _binary(node, bits, by, tensors, names)
                continue
        nodes.append(node)
    return drop_unused(dataclasses.replace(graph, nodes=tuple(nodes), tensors=tensors))


def _scale(kernel: Tensor) -> NDArray[Any] | None:
    """Returns what the signs of each channel are multiplied by; None where a kernel has more."""
    if not isinstance(kernel, np.ndarray) or kernel.dtype == np.int8:
        return None
    magnitudes = np.abs(kernel.reshape(len(kernel), -1))
    scale: NDArray[Any] = magnitudes[:, 0]
    return scale if (magnitudes == magnitudes[:, :1]).all() else None


def _factor(node: Node, tensors: dict[str, Tensor]) -> float | None:
    """Returns the one number that an affine multiplies by; None where it does more."""
    if set(node.tensors) != {"scale"}:
        return None
    scale = np.asarray(tensors[node.tensors["scale"]])
    return float(scale[0]) if (scale == scale[0]).all() else None


def _binary(
    node: Node, bits: str | None, scale: NDArray[Any], tensors: dict[str, Tensor], names: Names
) -> list[Node]:
    """Returns the nodes in the place of a convolution; without bits, it stays one of numbers."""
    kernel = numbers(tensors[node.tensors["kernel"]])
    sums, signs, by = (
        names.free(f"{node.name}/{part}") for part in ("sums", "signs", "kernel_scale")
    )
    tensors[signs] = pack(np.where(kernel < 0, np.int8(-1), np.int8(1)))
    tensors[by] = scale
    if bits is None:
        conv = Node(sums, "conv2d", node.inputs, node.attributes, {"kernel": signs})
    else:
        attributes = {**node.attributes, "pad_value": 0}
        conv = Node(sums, "bconv2d", (bits,), attributes, {"kernel": signs})
    return [conv, Node(node.name, "affine", (sums,), {}, {"scale": by})]
