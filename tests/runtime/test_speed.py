"""No number of channels falls off a cliff: a few take a fraction of the time of a full block."""

from __future__ import annotations

import time

import numpy as np
import pytest

from bnnzoo import runtime
from bnnzoo.graph.ir import Graph, Node

BLOCK = 64  # channels that the kernels compute together


def depthwise(channels: int) -> Graph:
    kernel = np.random.default_rng(0).standard_normal((channels, 3, 3, 1), np.float32)
    window = {"strides": (1, 1), "dilation": (1, 1), "padding": (1, 1, 1, 1), "groups": channels}
    nodes = (
        Node("sums", "conv2d", ("images",), window, {"kernel": "kernel"}),
        Node(
            "pooled",
            "avg_pool2d",
            ("sums",),
            {"pool": (3, 3), "strides": (1, 1), "padding": (0,) * 4},
        ),
        Node("clipped", "clip", ("pooled",), {"low": -1.0, "high": 1.0}),
    )
    return Graph({"images": (64, 64, channels)}, nodes, ("clipped",), {"kernel": kernel})


@pytest.mark.parametrize("isa", runtime.isas())
def test_few_channels_take_a_fraction_of_the_time_of_many(isa):
    least = dict.fromkeys((3, 16, BLOCK), float("inf"))
    models = {c: runtime.Model(depthwise(c), threads=1, isa=isa) for c in least}
    for _ in range(20):
        for channels, model in models.items():
            x = np.zeros((1, 64, 64, channels), np.float32)
            start = time.thread_time()  # other processes do not lengthen it
            model(x)
            least[channels] = min(least[channels], time.thread_time() - start)
    assert least[3] < 0.45 * least[BLOCK]
    assert least[16] < 0.5 * least[BLOCK]
