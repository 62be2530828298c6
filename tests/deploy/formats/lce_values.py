"""Compares what Larq Compute Engine computes with the oracle and the runtime, on equal inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from bnnzoo.deploy import interpreter
from bnnzoo.deploy.ir import Graph, Node
from bnnzoo.deploy.ops import infer_types
from bnnzoo.deploy.pieces import cut
from bnnzoo.deploy.tolerance import errors

Values = Mapping[str, np.ndarray]
Run = Callable[[Graph, np.ndarray], Values]

# Of the largest magnitude in a value: sums of float32 in another order, multipliers that are
# folded into kernels. A wrong border, threshold or epsilon is larger by orders.
RELATIVE = 1e-5


def oracle(graph: Graph, x: np.ndarray) -> Values:
    return interpreter.run(graph, x)


def native(graph: Graph, x: np.ndarray) -> Values:
    from bnnzoo.runtime import compile_graph

    return compile_graph(graph).run_values(x, graph.outputs)


def assert_layers_agree(graph: Graph, theirs: Values, run: Run = oracle) -> int:
    """Checks every value of a graph that has a name in `theirs`; returns how many there are.

    Each is computed from their values before it, so that no difference travels: sums of signs have
    to be equal, real numbers close, and signs equal but where the number is next to zero.
    """
    known = [name for name in infer_types(graph) if name in theirs]
    assert known, "no value has a known name"
    for pieces in cut(graph, known):
        fed = pieces.feed({name: theirs[name] for name in pieces.fed})
        values, ours = interpreter.run(pieces.graph, fed), run(pieces.graph, fed)
        allowed = errors(pieces.graph, values)
        nodes = {node.name: node for node in pieces.graph.nodes}
        for name in pieces.graph.outputs:
            _assert_close(nodes[name], theirs[name], ours[name], values, allowed[name])
    return len(known)


def _assert_close(
    node: Node, theirs: np.ndarray, ours: np.ndarray, values: Values, allowed: np.ndarray
) -> None:
    assert theirs.shape == ours.shape, node
    if node.op == "sign":
        x = values[node.inputs[0]]
        assert (np.abs(x[theirs != ours]) <= RELATIVE * np.abs(x).max()).all(), node
        return
    exact = not allowed.any()
    tolerance = 0 if exact else RELATIVE * max(np.abs(values[node.name]).max(), 1e-30)
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=tolerance, err_msg=str(node))
