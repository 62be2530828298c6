"""Poolings that take turns with the convolution before them give the same numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bnnzoo.deploy.ops import infer_types
from bnnzoo.deploy.passes import RUNTIME, apply
from bnnzoo.runtime import followers
from bnnzoo.runtime.lowering import calls, legalize
from tests.runtime.engine_runs import assert_equal
from tests.runtime.exact_graphs import ExactBuilder, exact_graph, exact_images


@pytest.fixture(params=[1, 300, 2000])
def turns(request, monkeypatch):
    """Lets every pooling follow, also of small maps, in turns of one or of some rows."""
    monkeypatch.setattr(followers, "_LEAST_BYTES", 0)
    monkeypatch.setattr(followers, "_TURN_BYTES", request.param)


def pooled_convolution(rng, pool: int, stride: int, top: int, bottom: int, op: str):
    """A convolution with work for several threads, a pooling, and something that reads both."""
    builder = ExactBuilder(rng, (23, 6, 5))
    kernel = {"kernel": builder.reals(300, 3, 3, 5)}
    same = {"strides": (1, 1), "dilation": (1, 1), "groups": 1, "padding": (1, 1, 1, 1)}
    conv = builder.small(builder.add("conv2d", "images", tensors=kernel, **same))
    window = {"pool": (pool, 1), "strides": (stride, 1), "padding": (top, bottom, 0, 0)}
    pools = [builder.add(op, conv, **window)]
    bits = builder.add("sign", builder.affine(pools[0]))
    return builder.graph(builder.add("dequantize", bits), conv, pools[0])


WINDOWS = [
    (pool, stride, top, bottom)
    for pool, stride in itertools.product((1, 2, 3), (1, 2, 5))
    for top, bottom in ((0, 0), (pool - 1, pool // 2))
]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_windows_of_every_kind(turns, rng, threads):
    for window in WINDOWS:
        graph = pooled_convolution(rng, *window, "max_pool2d")
        x = exact_images(rng, graph)
        assert_equal(graph, x[:1], threads=threads, passes=RUNTIME)
        assert_equal(graph, x, threads=1, passes=())


def test_a_pooling_does_follow(turns, rng):
    """The cases above would pass as well if none did."""
    for window in WINDOWS:
        graph = legalize(apply(pooled_convolution(rng, *window, "avg_pool2d"), RUNTIME)[0])
        types = infer_types(graph)
        assert len(followers.find_followers(calls(graph, types), types)) == 1


@pytest.mark.parametrize("block", range(10))
def test_random_graphs(turns, block):
    for seed in range(1000 + block * 8, 1008 + block * 8):
        rng = np.random.default_rng(seed)
        graph = exact_graph(rng)
        assert_equal(graph, exact_images(rng, graph), threads=1 + seed % 3, passes=RUNTIME)
