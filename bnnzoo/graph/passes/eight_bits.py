"""Quantizes real kernels to 8 bits, and the inputs that they are applied to."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from bnnzoo.graph.ir import Graph, Node, Tensor
from bnnzoo.graph.ops import MAX_INT8_PRODUCTS
from bnnzoo.graph.packing import Int8Kernel, is_ternary, quantize

__all__ = ["eight_bits"]

MIN_PRODUCTS_PER_NUMBER = 32
MIN_PRODUCTS_PER_SUM = 16


def eight_bits(graph: Graph) -> Graph:
    """Quantizes real kernels to 8 bits, and the inputs of convolutions that become faster.

    This pass changes the reference output, so that its cost must be measured.
    """
    tensors: dict[str, Tensor] = dict(graph.tensors)
    for name in {node.tensors["kernel"] for node in graph.nodes if "kernel" in node.tensors}:
        kernel = graph.tensors[name]
        if is_ternary(kernel):
            continue  # needs only two bits, without loss
        if isinstance(kernel, np.ndarray) and np.issubdtype(kernel.dtype, np.floating):
            tensors[name] = quantize(kernel) or kernel
    graph = dataclasses.replace(graph, tensors=tensors)
    nodes = tuple(
        dataclasses.replace(node, attributes={**node.attributes, "input_bits": 8})
        if _is_faster(node, graph)
        else node
        for node in graph.nodes
    )
    return dataclasses.replace(graph, nodes=nodes)


def _is_faster(node: Node, graph: Graph) -> bool:
    """Returns whether a convolution becomes faster if its input is quantized.

    Rounding a number takes the time that about 30 products in 8 bits save, and a sum of a few
    products saves nothing. Grouped, and above all depthwise, convolutions have few products per
    number.
    """
    kernel = graph.tensor(node, "kernel")
    if node.op != "conv2d" or not isinstance(kernel, Int8Kernel) or node.attributes["groups"] > 1:
        return False
    filters, *sum_of = kernel.shape
    per_number = filters * sum_of[0] * sum_of[1] / math.prod(node.attributes["strides"])
    return (
        per_number >= MIN_PRODUCTS_PER_NUMBER
        and MIN_PRODUCTS_PER_SUM <= math.prod(sum_of) <= MAX_INT8_PRODUCTS
    )
