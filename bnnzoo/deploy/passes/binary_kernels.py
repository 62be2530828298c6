"""A convolution of signs whose kernel is signs times a scale per channel becomes a binary one.

Files of other tools keep dense layers, and those with a scale, as convolutions of real numbers,
though what they multiply is -1 and +1 on both sides:

    conv2d(dequantize(bits), scale * signs) = scale * bconv2d(bits, signs)

Zeros around the image stay zeros. The kernel takes one bit per weight, and sums become exact.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.deploy.ir import Graph, Node, Tensor, numbers
from bnnzoo.deploy.ops import infer_types
from bnnzoo.deploy.packing import pack
from bnnzoo.deploy.passes.drop_unused import drop_unused

__all__ = ["binary_kernels", "free_name"]


def binary_kernels(graph: Graph) -> Graph:
    """Makes `bconv2d` and `affine` of every `conv2d` that computes the same."""
    types = infer_types(graph)
    taken = {*types, *graph.tensors}
    tensors = dict(graph.tensors)
    bits_of: dict[str, str] = {}  # real value -> the bits whose numbers it is
    nodes: list[Node] = []
    for node in graph.nodes:
        source = node.inputs[0]
        if node.op == "dequantize" and types[source].kind == "bits":
            bits_of[node.name] = source
        elif node.op == "reshape" and source in bits_of:
            name = free_name(f"{node.name}/bits", taken)
            nodes.append(dataclasses.replace(node, name=name, inputs=(bits_of[source],)))
            bits_of[node.name] = name
        elif node.op == "conv2d" and source in bits_of:
            scale = _scale(tensors[node.tensors["kernel"]])
            if scale is not None:
                nodes += _binary(node, bits_of[source], scale, tensors, taken)
                continue
        nodes.append(node)
    return drop_unused(dataclasses.replace(graph, nodes=tuple(nodes), tensors=tensors))


def free_name(wanted: str, taken: set[str]) -> str:
    """Returns a name that nothing has yet."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name


def _scale(kernel: Tensor) -> NDArray[Any] | None:
    """Returns what the signs of each channel are multiplied by; None where a kernel has more."""
    if not isinstance(kernel, np.ndarray) or kernel.dtype == np.int8:
        return None
    magnitudes = np.abs(kernel.reshape(len(kernel), -1))
    scale: NDArray[Any] = magnitudes[:, 0]
    return scale if (magnitudes == magnitudes[:, :1]).all() else None


def _binary(
    node: Node, bits: str, scale: NDArray[Any], tensors: dict[str, Tensor], taken: set[str]
) -> list[Node]:
    """Returns the nodes in the place of a convolution."""
    kernel = numbers(tensors[node.tensors["kernel"]])
    sums, signs, by = (
        free_name(f"{node.name}/{part}", taken) for part in ("sums", "signs", "kernel_scale")
    )
    tensors[signs] = pack(np.where(kernel < 0, np.int8(-1), np.int8(1)))
    tensors[by] = scale
    attributes = {**node.attributes, "pad_value": 0}
    conv = Node(sums, "bconv2d", (bits,), attributes, {"kernel": signs})
    return [conv, Node(node.name, "affine", (sums,), {}, {"scale": by})]
