"""A graph in pieces computes what it computes whole, whatever it is cut at."""

from __future__ import annotations

import numpy as np
import pytest

from bnnzoo.conversion.subgraphs import cut
from bnnzoo.graph.interpreter import run
from bnnzoo.graph.ir import Graph, Node
from bnnzoo.graph.ops import infer_types
from tests.graph.graphs import random_graph


def numbers(graph, values):
    """Every value as real numbers: what pieces are fed with."""
    types = infer_types(graph)
    return {
        name: value / (2.0 ** types[name].bits - 1) if types[name].kind == "levels" else value
        for name, value in values.items()
    }


@pytest.mark.parametrize("most", [1, 2**22], ids=["one piece each", "all in one"])
@pytest.mark.parametrize("seed", range(8))
def test_pieces_between_bits_are_exact(seed, most):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    x = rng.standard_normal((2, *graph.input_shape)).astype(np.float32)
    whole = run(graph, x)
    types = infer_types(graph)
    bits = [name for name, type_ in types.items() if type_.kind != "real"]
    targets = [*bits, *graph.outputs]
    seen = []
    for pieces in cut(graph, bits, targets, most):
        found = run(pieces.graph, pieces.feed(numbers(graph, whole)))
        for name in pieces.graph.outputs:
            np.testing.assert_allclose(found[name], whole[name], rtol=1e-9, atol=1e-12)
            seen.append(name)
    assert seen == targets
    if most == 1:
        assert len(seen) == sum(1 for _ in cut(graph, bits, targets, most))


def test_a_piece_ends_at_the_values():
    """What is fed to the second half is not what the first half gives."""
    rng = np.random.default_rng(3)
    graph = random_graph(rng)
    x = rng.standard_normal((1, *graph.input_shape)).astype(np.float32)
    whole = numbers(graph, run(graph, x))
    first = graph.nodes[0].name
    (pieces,) = cut(graph, [first], list(graph.outputs))
    assert first in pieces.fed
    assert not any(node.name == first for node in pieces.graph.nodes)
    same = run(pieces.graph, pieces.feed(whole))
    other = run(pieces.graph, pieces.feed({**whole, first: 1 - 2 * whole[first]}))
    assert any(np.any(same[name] != other[name]) for name in graph.outputs)


@pytest.mark.parametrize("shape", [(1,), (63,), (64,), (5, 7, 3), (3, 64), (65, 2)])
def test_values_of_every_shape_are_fed(shape):
    nodes = (Node("a", "tanh", ("x",)), Node("b", "tanh", ("a",)), Node("c", "add", ("a", "b")))
    graph = Graph({"x": shape}, nodes, ("c",), {})
    x = np.random.default_rng(0).standard_normal((2, *shape)).astype(np.float32)
    values = run(graph, x)
    (pieces,) = cut(graph, ["a", "b"], ["c"])
    fed = pieces.feed(values)
    assert fed.shape == (2, *pieces.graph.input_shape)
    found = run(pieces.graph, fed)["c"]
    np.testing.assert_allclose(found, values["c"], rtol=1e-6)
