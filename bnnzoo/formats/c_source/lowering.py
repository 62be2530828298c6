"""A network as calls: which passes it takes, and which calls its nodes become."""

from __future__ import annotations

from bnnzoo.errors import ConversionError
from bnnzoo.formats.c_source.calls import Call, Lowering
from bnnzoo.formats.c_source.computing import COMPUTING
from bnnzoo.formats.c_source.convolving import convolution
from bnnzoo.formats.c_source.moving import MOVING
from bnnzoo.graph import passes
from bnnzoo.graph.ir import Graph, Node
from bnnzoo.graph.ops import infer_types
from bnnzoo.graph.passes.fold_affine import fold_into_conv
from bnnzoo.graph.passes.group_epilogues import group_epilogues
from bnnzoo.graph.passes.zero_padding import zero_padding

__all__ = ["PASSES", "lower", "prepare"]

# Those of the runtime without three: kernels in 8 bits stay so, with the scale behind them; taps
# outside the image are masked, so that zero padding needs no table of corrections; and a call per
# node needs no epilogues.
_LEFT_OUT = (fold_into_conv, zero_padding, group_epilogues)
PASSES = tuple(run for run in passes.RUNTIME if run not in _LEFT_OUT)
_LOWER = {**COMPUTING, **MOVING}


def prepare(graph: Graph) -> Graph:
    """Returns the graph that the source computes.

    Raises:
        ConversionError: An output is bits or levels.
    """
    graph, _ = passes.apply(graph.flat(), PASSES)
    types = infer_types(graph)
    for name in graph.outputs:
        if types[name].kind != "real":
            raise ConversionError(
                f"Output '{name}' must be real numbers, got {types[name].kind}. "
                "Add a dequantize behind it, or another layer."
            )
    return graph


def lower(graph: Graph) -> tuple[list[Call], Lowering]:
    """Returns the calls for a graph, and the constants and views that belong to them."""
    lowering = Lowering(graph, infer_types(graph))
    alone = _signs_alone(graph)
    fused = {sign.name for sign in alone.values()}
    calls: list[Call] = []
    for node in graph.nodes:
        if node.name in fused:
            continue
        if node.op in ("bconv2d", "conv2d"):
            calls += convolution(node, alone.get(node.name), lowering)
        else:
            calls += _LOWER[node.op](node, lowering)
    return calls, lowering


def _signs_alone(graph: Graph) -> dict[str, Node]:
    """Returns the sign that alone reads a convolution, by name of the convolution.

    Its sums are then never stored: a map of signs takes 1/32 of one of numbers.
    """
    readers = graph.consumers()
    nodes = {node.name: node for node in graph.nodes}
    return {
        node.inputs[0]: node
        for node in graph.nodes
        if node.op == "sign"
        and node.inputs[0] in nodes
        and nodes[node.inputs[0]].op in ("bconv2d", "conv2d")
        and len(readers[node.inputs[0]]) == 1
        and node.inputs[0] not in graph.outputs
    }
