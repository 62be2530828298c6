"""A pooling in strips of its convolution gives the numbers of one after the other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bnnzoo import runtime
from bnnzoo.graph.passes import RUNTIME
from bnnzoo.runtime import pooling
from tests.runtime.engine_runs import ISAS, assert_equal
from tests.runtime.exact_graphs import ExactBuilder, exact_graph, exact_images


@pytest.fixture
def small_maps(monkeypatch):
    """Lets small maps be pooled in strips as well."""
    monkeypatch.setattr(pooling, "_MIN_BYTES", 0)


def pooled_convolution(rng, pool: int, stride: int, top: int, bottom: int, op: str, filters: int):
    """A convolution whose strips have some rows only, a pooling, and what follows that."""
    builder = ExactBuilder(rng, (41, 9, 3))
    kernel = {"kernel": builder.reals(filters, 3, 3, 3)}
    same = {"strides": (1, 1), "dilation": (1, 1), "groups": 1, "padding": (1, 1, 1, 1)}
    conv = builder.small(builder.add("conv2d", "images", tensors=kernel, **same))
    window = {"pool": (pool, 2), "strides": (stride, 2), "padding": (top, bottom, 0, 1)}
    pools = builder.add(op, conv, **window)
    bits = builder.add("sign", builder.affine(pools))
    return builder.graph(builder.add("dequantize", bits), pools)


WINDOWS = [
    (pool, stride, top, bottom)
    for pool, stride in itertools.product((1, 2, 3), (1, 2, 5))
    for top, bottom in ((0, 0), (pool - 1, pool // 2))
]


# The engine's strips have 64 KiB: several rows of 9 x 100 x 4 bytes, less than one of 9 x 2000 x 4.
@pytest.mark.parametrize("filters", [100, 2000])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_windows_of_every_kind(small_maps, rng, threads, filters):
    for i, window in enumerate(WINDOWS if filters == 100 else WINDOWS[::5]):
        graph = pooled_convolution(rng, *window, "max_pool2d", filters)
        x = exact_images(rng, graph)
        isa = ISAS[i % len(ISAS)]
        assert_equal(graph, x[:1], isa, threads=threads, passes=RUNTIME)
        assert_equal(graph, x, isa, threads=threads, passes=())


def test_the_two_are_one_call(rng):
    graph = pooled_convolution(rng, 3, 2, 0, 1, "avg_pool2d", 200)
    times = runtime.Model(graph).profile(runs=1)
    assert "conv2d" in {time.op for time in times}
    assert "avg_pool2d" not in {time.op for time in times}


def test_a_map_that_is_read_again_is_in_memory(rng, small_maps):
    graph = pooled_convolution(rng, 3, 2, 0, 1, "max_pool2d", 20)
    conv = graph.nodes[1].name
    for outputs in ((*graph.outputs, conv), (*graph.outputs, graph.nodes[0].name)):
        whole = type(graph)(graph.inputs, graph.nodes, outputs, graph.tensors)
        assert "max_pool2d" in {time.op for time in runtime.Model(whole).profile(runs=1)}
        assert_equal(whole, exact_images(rng, whole))


@pytest.mark.parametrize("block", range(10))
def test_random_graphs(small_maps, block):
    for seed in range(1000 + block * 8, 1008 + block * 8):
        rng = np.random.default_rng(seed)
        graph = exact_graph(rng)
        assert_equal(graph, exact_images(rng, graph), threads=1 + seed % 3, passes=RUNTIME)
