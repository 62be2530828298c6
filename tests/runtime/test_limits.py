"""Whatever a file asks for, planning takes time and memory in proportion to it."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from bnnzoo import runtime
from bnnzoo.errors import GraphError
from bnnzoo.graph.ir import Graph, Node
from bnnzoo.runtime.memory import Memory
from tests.runtime.engine_runs import assert_equal
from tests.runtime.exact_graphs import ExactBuilder, exact_images


def growing(blocks: int) -> Graph:
    """Concats of concats of concats: each value is part of all later ones."""
    nodes, last = [], "x"
    for i in range(blocks):
        nodes.append(Node(f"new{i}", "clip", ("x",), {"low": 0.0, "high": float(i % 5)}))
        nodes.append(Node(f"all{i}", "concat", (last, f"new{i}"), {"axis": 2}))
        last = f"all{i}"
    return Graph({"x": (1, 1, 1)}, tuple(nodes), (last,), {})


def sums(count: int) -> Graph:
    """Each sum can overwrite its summand."""
    nodes = [Node("n0", "clip", ("x",), {"low": 0.0, "high": 1.0})]
    nodes += [Node(f"n{i}", "add", (f"n{i - 1}", "x")) for i in range(1, count)]
    return Graph({"x": (2, 2, 3)}, tuple(nodes), (f"n{count - 1}",), {})


def separate(count: int) -> Graph:
    """All values are alive until the end."""
    nodes = [Node(f"n{i}", "clip", ("x",), {"low": 0.0, "high": 1.0}) for i in range(count)]
    ends = range(0, count, 50)
    nodes += [Node(f"sum{i}", "add", tuple(f"n{j}" for j in range(i, i + 50))) for i in ends]
    nodes.append(Node("sum", "concat", tuple(f"sum{i}" for i in ends), {"axis": 0}))
    return Graph({"x": (2, 2, 3)}, tuple(nodes), ("sum",), {})


GRAPHS = {"growing": growing, "sums": sums, "separate": separate}


@pytest.mark.parametrize("name", GRAPHS)
def test_thousands_of_nodes_are_planned_in_seconds(name, rng):
    start = time.process_time()
    runtime.Model(GRAPHS[name](2000), passes=())
    assert time.process_time() - start < 5
    x = rng.integers(-3, 4, (1, *GRAPHS[name](50).input_shape)).astype(np.float32)
    assert_equal(GRAPHS[name](300), x)


def test_thousands_of_groups_are_refused():
    window = {"strides": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0)}
    for groups in (4096, 4097):
        conv = Node("conv", "conv2d", ("x",), {**window, "groups": groups}, {"kernel": "kernel"})
        tensors = {"kernel": np.ones((2 * groups, 1, 1, 1), np.int8)}
        graph = Graph({"x": (1, 1, groups)}, (conv,), ("conv",), tensors)
        if groups == 4096:
            runtime.Model(graph)
            continue
        with pytest.raises(GraphError, match="'conv' .* at most 4096 groups, got 4097"):
            runtime.Model(graph)


def test_what_the_engine_refuses_is_an_error_of_the_graph(monkeypatch):
    """The planner asks for nothing that is refused, so a wrong place has to be made up."""
    view = Memory.view
    monkeypatch.setattr(
        Memory, "view", lambda self, *place: dataclasses.replace(view(self, *place), offset=2**30)
    )
    with pytest.raises(GraphError, match="runtime cannot run this network: input must be inside"):
        runtime.Model(sums(3))


def test_names_of_the_graph_are_never_those_of_the_planner(rng):
    """Values whose names look like a helper's."""
    builder = ExactBuilder(rng, (3, 3, 6))
    bits = builder.add("sign", "images")
    conv = builder.conv(bits, binary=True, groups=2)
    kept = builder.add("concat", conv, conv, axis=2)
    names = {conv: "c", bits: "c/regrouped", kept: "c/regrouped/real"}

    def renamed(name: str) -> str:
        return names.get(name, name)

    nodes = tuple(
        Node(renamed(n.name), n.op, tuple(map(renamed, n.inputs)), n.attributes, n.tensors)
        for n in builder.nodes.values()
    )
    outputs = tuple(map(renamed, (kept, bits, conv)))
    graph = Graph({"images": builder.input_shape}, nodes, outputs, builder.tensors)
    assert_equal(graph, exact_images(rng, graph))
