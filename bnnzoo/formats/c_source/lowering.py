"""Lowers a network to calls of C functions."""

from __future__ import annotations

from bnnzoo.errors import ConversionError
from bnnzoo.formats.c_source.calls import Call, Lowering
from bnnzoo.formats.c_source.computing import COMPUTING
from bnnzoo.formats.c_source.convolving import convolution
from bnnzoo.formats.c_source.moving import MOVING
from bnnzoo.graph import passes
from bnnzoo.graph.ir import Graph
from bnnzoo.graph.ops import infer_types
from bnnzoo.graph.passes.constant_terms import constant_terms
from bnnzoo.graph.passes.fold_affine import fold_into_conv
from bnnzoo.graph.passes.zero_padding import zero_padding

__all__ = ["PASSES", "lower", "prepare"]

# The runtime's passes except three: 8-bit kernels are kept, followed by their scale, and taps
# outside the image are masked, so that zero padding needs no table of corrections.
_LEFT_OUT = (constant_terms, fold_into_conv, zero_padding)
PASSES = tuple(run for run in passes.RUNTIME if run not in _LEFT_OUT)
_LOWER = {**COMPUTING, **MOVING}


def prepare(graph: Graph) -> Graph:
    """Returns the graph to be lowered, after the passes.

    Raises:
        ConversionError: An output is bits or levels.
    """
    graph, _ = passes.apply(graph, PASSES)
    types = infer_types(graph)
    for name in graph.outputs:
        if types[name].kind != "real":
            raise ConversionError(
                f"Output '{name}' must be real numbers, got {types[name].kind}. "
                "Add a dequantize or another layer after it."
            )
    return graph


def lower(graph: Graph) -> tuple[list[Call], Lowering]:
    """Returns the calls for a graph, with their constants and views.

    A convolution read only by a sign is one call with it. Its sums are never stored: a map of signs
    needs 1/32 of the memory.
    """
    lowering, readers = Lowering(graph, infer_types(graph)), graph.only_readers()
    calls: list[Call] = []
    done: set[str] = set()
    for node in graph.nodes:
        if node.name in done:
            continue
        if node.op in ("bconv2d", "conv2d"):
            reader = readers.get(node.name)
            sign = reader if reader is not None and reader.op == "sign" else None
            done.update([sign.name] if sign is not None else [])
            calls += convolution(node, sign, lowering)
        else:
            calls += _LOWER[node.op](node, lowering)
    return calls, lowering
