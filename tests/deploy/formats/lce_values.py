"""Compares what Larq Compute Engine computes with the oracle and the runtime, on equal inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from bnnzoo.deploy import interpreter
from bnnzoo.deploy.ir import Graph, Node
from bnnzoo.deploy.ops import infer_types
from bnnzoo.deploy.passes.fold_affine import parameter
from bnnzoo.deploy.passes.fold_batch_norm import fold_batch_norm
from bnnzoo.deploy.pieces import cut
from bnnzoo.deploy.tolerance import Losses, errors

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
    graph = fold_batch_norm(graph.flat())
    losses = _losses(graph)
    known = [name for name in infer_types(graph) if name in theirs]
    assert known, "no value has a known name"
    for pieces in cut(graph, known):
        fed = pieces.feed({name: theirs[name] for name in pieces.fed})
        values, ours = interpreter.run(pieces.graph, fed), run(pieces.graph, fed)
        allowed = errors(pieces.graph, values, losses)
        nodes = {node.name: node for node in pieces.graph.nodes}
        for name in pieces.graph.outputs:
            _assert_close(nodes[name], theirs[name], ours[name], values, allowed)
    return len(known)


def _losses(graph: Graph) -> Losses:
    """Returns where both lose more than the oracle's numbers show.

    Sums are K - 2 count: multiplied and shifted as (-2 scale) * count + (scale K + bias), whose
    parts are of the size of scale K. Signs times a scale are real kernels in files of others.
    """
    sizes: dict[str, np.ndarray] = {}
    terms, rounded = {}, set()
    for node in graph.nodes:
        source = node.inputs[0]
        if node.op == "bconv2d":
            sizes[node.name] = np.float64(np.prod(graph.tensors[node.tensors["kernel"]].shape[1:]))
        elif node.op in ("reshape", "clip", "max_pool2d") and source in sizes:
            sizes[node.name] = sizes[source].max()
        elif node.op == "affine" and source in sizes:
            scale, bias = (parameter(graph, node, role) for role in ("scale", "bias"))
            size = sizes[source] * (1 if scale is None else np.abs(scale))
            terms[node.name] = sizes[node.name] = size + (0 if bias is None else np.abs(bias))
            if node.tensors.get("scale", "").endswith("kernel_scale"):
                rounded.add(source)
    return Losses(rounded, terms)


def _assert_close(
    node: Node, theirs: np.ndarray, ours: np.ndarray, values: Values, allowed: Values
) -> None:
    assert theirs.shape == ours.shape, node
    if node.op == "sign":
        x = values[node.inputs[0]]
        near = np.abs(x) <= np.maximum(allowed[node.inputs[0]], RELATIVE * np.abs(x).max())
        assert near[theirs != ours].all(), node
        return
    expected, error = values[node.name], allowed[node.name]
    if error.any() or (expected != np.rint(expected)).any():
        error = np.maximum(error, RELATIVE * np.abs(expected).max())
    wrong = ~(np.abs(theirs - ours) <= error)  # so that NaN is wrong
    assert not wrong.any(), (node, theirs[wrong][:5], ours[wrong][:5], error[wrong][:5])
