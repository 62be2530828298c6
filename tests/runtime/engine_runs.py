"""Runs a graph in the engine and in the reference interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bnnzoo import runtime
from bnnzoo.graph import interpreter
from bnnzoo.graph.ir import Graph
from bnnzoo.graph.ops import infer_types
from bnnzoo.graph.passes import Pass

ISAS = runtime.isas()


def engine_values(
    graph: Graph,
    x: Any,
    isa: str | None = None,
    *,
    threads: int = 1,
    passes: Sequence[Pass] = (),
) -> list[np.ndarray]:
    """Returns the outputs of a graph."""
    results = runtime.Model(graph, threads=threads, isa=isa, passes=passes)(x)
    return list(results) if isinstance(results, tuple) else [results]


def reference_values(graph: Graph, x: Any) -> list[Any]:
    """Returns the outputs as the numbers that they stand for: levels divided by the greatest."""
    values, types = interpreter.run(graph, x), infer_types(graph)
    return [
        values[name] / (2.0 ** types[name].bits - 1)
        if types[name].kind == "levels"
        else values[name].astype(np.float64)
        for name in graph.outputs
    ]


def assert_equal(graph: Graph, x: Any, isa: str | None = None, **arguments: Any) -> None:
    """Checks that all outputs are the reference interpreter's to the last bit."""
    actual = engine_values(graph, x, isa, **arguments)
    for name, got, expected in zip(graph.outputs, actual, reference_values(graph, x), strict=True):
        np.testing.assert_array_equal(got, expected.astype(np.float32), err_msg=name)
