"""A convolution of signs whose kernel is signs times a scale per channel becomes a binary one.

Files of other tools keep dense layers, and those with a scale, as convolutions of real numbers,
though what they multiply is -1 and +1 on both sides:

    conv2d(dequantize(bits), scale * signs) = scale * bconv2d(bits, signs)

Zeros around the image stay zeros. The kernel takes one bit per weight, and sums become exact.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from bnnzoo.deploy.ir import Graph, Node, Tensor
from bnnzoo.deploy.ops import infer_types
from bnnzoo.deploy.packing import pack
from bnnzoo.deploy.passes.drop_unused import drop_unused

__all__ = ["binary_kernels"]


def binary_kernels(graph: Graph) -> Graph:
    """Makes `bconv2d` and `affine` of every `conv2d` that computes the same."""
    types = infer_types(graph)
    bits_of: dict[str, str] = {}  # real value -> the bits whose numbers it is
    nodes: list[Node] = []
    tensors = dict(graph.tensors)
    for node in graph.nodes:
        source = node.inputs[0]
        if node.op == "dequantize" and types[source].kind == "bits":
            bits_of[node.name] = source
        elif node.op == "reshape" and source in bits_of:
            bits = dataclasses.replace(node, name=f"{node.name}/bits", inputs=(bits_of[source],))
            nodes.append(bits)
            bits_of[node.name] = bits.name
        elif node.op == "conv2d" and source in bits_of:
            nodes += _binary(node, bits_of[source], tensors) or [node]
            continue
        nodes.append(node)
    if all(node.op != "conv2d" or node.inputs[0] not in bits_of for node in graph.nodes):
        return graph
    return drop_unused(dataclasses.replace(graph, nodes=tuple(nodes), tensors=tensors))


def _binary(node: Node, bits: str, tensors: dict[str, Tensor]) -> list[Node]:
    """Returns the nodes in the place of a convolution; none where its kernel is not binary."""
    kernel = tensors[node.tensors["kernel"]]
    if not isinstance(kernel, np.ndarray) or kernel.dtype == np.int8:
        return []
    magnitudes = np.abs(kernel.reshape(len(kernel), -1))
    scale = magnitudes[:, 0].astype(np.float64)
    if not (scale > 0).all() or (magnitudes != magnitudes[:, :1]).any():
        return []
    sums, signs = f"{node.name}/sums", f"{node.name}/signs"
    tensors[signs] = pack(np.where(kernel < 0, np.int8(-1), np.int8(1)))
    attributes = {**node.attributes, "pad_value": 0}
    conv = Node(sums, "bconv2d", (bits,), attributes, {"kernel": signs})
    tensors[f"{node.name}/kernel_scale"] = scale.astype(np.float32)
    return [conv, Node(node.name, "affine", (sums,), {}, {"scale": f"{node.name}/kernel_scale"})]
