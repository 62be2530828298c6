"""Every pass leaves what the reference computes as it is, on random graphs of all operations."""

from __future__ import annotations

import numpy as np
import pytest

from bnnzoo.graph import interpreter, passes
from bnnzoo.graph.ops import OPS
from bnnzoo.graph.passes.flatten_channels_first import flatten_channels_first
from tests.graph.graphs import random_graph

GRAPHS = 25  # per seed


def has_ties(graph, values):
    """Whether a sign's input is so close to zero that another order of sums flips it."""
    inputs = [values[node.inputs[0]] for node in graph.nodes if node.op == "sign"]
    return any(np.any((x != 0) & (np.abs(x) < 1e-9)) for x in inputs)


@pytest.mark.parametrize("seed", range(8))
def test_every_pass_keeps_the_outputs(seed):
    checked = 0
    for number in range(GRAPHS):
        rng = np.random.default_rng([seed, number])
        graph = random_graph(rng, decoders=seed % 2 == 1)
        x = rng.standard_normal((2, *graph.input_shape)).astype(np.float32)
        expected = interpreter.run(graph, x)
        if has_ties(graph, expected):
            continue
        for run in (flatten_channels_first, *passes.STORED, *passes.RUNTIME):
            graph, _ = passes.apply(graph, [run])
            values = interpreter.run(graph, x)
            if has_ties(graph, values):
                break
            # float64 sums in another order; a flipped sign would change far more.
            for name in graph.outputs:
                np.testing.assert_allclose(
                    values[name], expected[name], rtol=1e-9, atol=1e-9,
                    err_msg=f"graph {seed}, {number}: {run.__name__}",
                )  # fmt: skip
        else:
            checked += 1
    assert checked > GRAPHS // 2


def test_every_pass_fires_on_random_graphs():
    fired: dict[str, int] = {}
    operations = set()
    for number in range(80):
        graph = random_graph(np.random.default_rng([9, number]), decoders=number % 2 == 1)
        operations |= {node.op for node in graph.nodes}
        packed = graph
        for run in (*passes.STORED, *passes.RUNTIME):
            before = packed
            packed, _ = passes.apply(packed, [run])
            name = run.__name__
            fired[name] = fired.get(name, 0) + (packed is not before)
    assert operations == set(OPS)
    assert all(fired[run.__name__] for run in (*passes.STORED, *passes.RUNTIME)), fired
