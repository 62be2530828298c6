"""What the writer puts into a program: the operations of a call, and sums of binary products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bnnzoo import runtime
from bnnzoo.graph.ir import Graph
from bnnzoo.runtime import writer as writing
from bnnzoo.runtime.extension import engine
from bnnzoo.runtime.writer import Writer
from tests.graph.graphs import GraphBuilder
from tests.runtime.traced_memory import planned

ONE = {"strides": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0)}


class Builder(GraphBuilder):
    in_8_bits = False

    def conv(self, value: str, *, groups: int = 1, **pads: int) -> str:
        """Adds a convolution of 3 by 3 pixels: of bits or levels where `pads` has a border."""
        make = self.signs if pads else self.reals
        kernel = {"kernel": make(4, 3, 3, self.shape(value)[-1] // groups)}
        op = "bconv2d" if pads else "conv2d"
        return self.add(op, value, tensors=kernel, groups=groups, **ONE, **pads)


@pytest.fixture
def builder(rng) -> Builder:
    return Builder(rng, (5, 6, 4))


def written(graph: Graph) -> tuple[Writer, Any]:
    """A program of all calls of a graph, and the calls."""
    isa = runtime.isas()[0]
    plan = planned(graph, engine().expansion(isa))
    writer = Writer(plan.graph, plan.types, plan.layout, plan.memory, isa)
    for call in plan.calls:
        writer.write(call)
    return writer, plan.calls


def test_every_operation_belongs_to_the_node_that_it_computes(builder):
    x = builder.affine(builder.conv("images"))
    y = builder.add("concat", x, x, axis=2)  # its second half is copied
    end = builder.add("tanh", y)
    writer, _ = written(builder.graph(end))
    assert len(writer.program) == len(writer.owners)
    assert [op for _, op in writer.owners] == ["conv2d", "concat", "tanh"]
    assert [name for name, _ in writer.owners][1:] == [y, end]


def test_views_are_not_written(builder):
    part = builder.add("slice", "images", axis=2, begin=1, size=2)
    flat = builder.add("reshape", "images", shape=(1, 1, 120))
    writer, _ = written(builder.graph(part, flat))
    assert (len(writer.program), writer.owners) == (0, [])


def test_every_group_is_an_operation_of_its_node(builder):
    bits = builder.add("sign", "images")
    conv = builder.conv(bits, groups=2, pad_value=1)
    writer, calls = written(builder.graph(conv))
    assert [call.op for call in calls] == ["elementwise", "regroup", "bconv2d"]
    assert [name for name, _ in writer.owners] == [bits, *[conv] * 4]


# Sums of binary products from counts of those that are -1 -----------------------------------------


def sums_of(graph: Graph) -> Any:
    """What the writer makes of the counts of the one binary convolution."""
    writer, calls = written(graph)
    (call,) = (call for call in calls if call.op == "bconv2d")
    return writing._sums(writer, call)


def test_a_count_becomes_a_sum(builder, rng):
    """Of a window of K products: K - 2 count."""
    kernel = builder.conv(builder.add("sign", "images"), pad_value=1)
    sums = sums_of(builder.graph(kernel))
    weights = builder.tensors[f"{kernel}/kernel"].reshape(4, -1)
    inputs = rng.choice([-1, 1], weights.shape[1])
    counts = (weights * inputs < 0).sum(axis=1)
    np.testing.assert_array_equal(sums.unit * (sums.scale * counts + sums.bias), weights @ inputs)
    assert not sums.folded


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_counts_of_planes_become_a_sum_of_levels(builder, rng, bits):
    """Plane p of a level counts 2^p, and the greatest level stands for 1."""
    levels = builder.add("quantize", "images", bits=bits)
    conv = builder.conv(levels, pad_value=0)
    sums = sums_of(builder.graph(conv))
    weights = builder.tensors[f"{conv}/kernel"].reshape(4, -1)
    inputs = rng.integers(0, 2**bits, weights.shape[1])
    planes = [np.where(inputs >> p & 1, 1, -1) for p in range(bits)]
    counts = sum(2**p * (weights * plane < 0).sum(axis=1) for p, plane in enumerate(planes))
    expected = weights @ inputs / (2**bits - 1)
    found = sums.unit * (sums.scale * counts + sums.bias)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)  # the division, in float64


@pytest.mark.parametrize("read_again", [False, True])
def test_an_affine_is_part_of_the_sum_where_nothing_else_reads_that(builder, rng, read_again):
    conv = builder.conv(builder.add("sign", "images"), pad_value=1)
    vectors = {"scale": builder.reals(4), "bias": builder.reals(4)}
    scaled = builder.add("affine", conv, tensors=vectors)
    sums = sums_of(builder.graph(scaled, conv) if read_again else builder.graph(scaled))
    assert sums.folded == (not read_again)
    if sums.folded:
        counts = rng.integers(0, 37, 4)
        expected = vectors["scale"] * (36.0 - 2 * counts) + vectors["bias"]
        np.testing.assert_allclose(sums.scale * counts + sums.bias, expected, rtol=1e-12)
