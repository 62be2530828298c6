"""Packs binary kernels to one bit per weight, as a runtime reads them."""

from __future__ import annotations

import dataclasses

import numpy as np

from bnnzoo.graph.ir import Graph
from bnnzoo.graph.packing import pack

__all__ = ["pack_kernels"]


def pack_kernels(graph: Graph) -> Graph:
    """Packs every kernel of int8 signs."""
    kernels = {node.tensors["kernel"] for node in graph.nodes if "kernel" in node.tensors}
    tensors = {
        name: pack(tensor)
        if name in kernels and isinstance(tensor, np.ndarray) and tensor.dtype == np.int8
        else tensor
        for name, tensor in graph.tensors.items()
    }
    return dataclasses.replace(graph, tensors=tensors)
