"""Whatever the planner does about memory, the numbers are the reference's: on random graphs."""

from __future__ import annotations

import numpy as np
import pytest

from bnnzoo.graph import interpreter
from bnnzoo.graph.ir import Graph
from bnnzoo.graph.ops import infer_types
from bnnzoo.graph.passes import RUNTIME, STORED
from tests.graph.graphs import random_graph, with_more_ends
from tests.runtime.engine_runs import ISAS, assert_equal, engine_values
from tests.runtime.exact_graphs import exact_graph, exact_images, exact_inputs

LEVELS = {"no passes": (), "stored": STORED, "runtime": (*STORED, *RUNTIME)}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("block", range(20))
def test_exact_graphs(level, block):
    for seed in range(block * 5, block * 5 + 5):
        rng = np.random.default_rng(seed)
        graph = exact_graph(rng)
        isa = ISAS[seed % len(ISAS)]
        assert_equal(
            graph, exact_images(rng, graph), isa, threads=1 + seed % 3, passes=LEVELS[level]
        )


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("level", LEVELS)
def test_graphs_of_several_inputs_and_outputs(level, isa):
    for seed in range(30):
        rng = np.random.default_rng(seed)
        graph = with_more_ends(rng, exact_graph(rng))
        inputs = exact_inputs(rng, graph, count=seed % 3)
        assert_equal(graph, inputs, isa, threads=1 + seed % 2, passes=LEVELS[level])


# What float32 may lose, relative to the greatest number of a value: a sum of K products has an
# error of at most K * 2^-24 of the sum of their magnitudes; K is below 1000 here. A wrong
# operation is off by the size of the numbers themselves.
TOLERANCE = 1e-4


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("seed", range(12))
def test_every_value_on_equal_inputs(seed, isa):
    """Node by node: the reference computes each from the engine's own inputs of that node."""
    graph = random_graph(np.random.default_rng(seed), decoders=seed % 2 == 1)
    x = np.random.default_rng(seed).standard_normal((2, *graph.input_shape)).astype(np.float32)
    names = tuple(node.name for node in graph.nodes)
    whole = Graph(graph.inputs, graph.nodes, names, graph.tensors)
    types = infer_types(graph)
    found = dict(zip(names, engine_values(whole, x, isa), strict=True))
    given = {name: as_given(value, types[name]) for name, value in found.items()}
    for node in graph.nodes:
        others = {name: value for name, value in given.items() if name != node.name}
        expected = interpreter.run(graph, x, others)[node.name]
        scale = max(1.0, float(np.abs(expected).max()))
        if types[node.name].kind == "real":
            np.testing.assert_allclose(
                found[node.name], expected, rtol=0, atol=TOLERANCE * scale, err_msg=node.name
            )
        else:
            # One level may differ where x * (2^bits - 1) is rounded to a half.
            off = np.abs(given[node.name].astype(int) - expected)
            assert off.max() <= (node.op == "quantize") and off.mean() < 0.001, node.name


def as_given(value: np.ndarray, type_) -> np.ndarray:
    return np.rint(value * (2**type_.bits - 1)) if type_.kind == "levels" else value
