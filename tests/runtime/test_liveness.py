"""When values are written and read, in the times that calls take."""

from __future__ import annotations

import math

import pytest

from bnnzoo.graph.ir import Graph
from bnnzoo.graph.ops import infer_types
from bnnzoo.runtime.liveness import Read, Value, liveness
from bnnzoo.runtime.lowering import calls, legalize
from tests.graph.graphs import GraphBuilder

ONE = {"strides": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0), "groups": 1}
AT_THE_END = Read(math.inf, math.inf, False)


class Builder(GraphBuilder):
    def conv(self, value: str, **window: int) -> str:
        return self.add("conv2d", value, tensors={"kernel": self.reals(4, 1, 1, 4)}, **ONE)


@pytest.fixture
def builder(rng) -> Builder:
    return Builder(rng, (5, 6, 4))


def values(graph: Graph) -> dict[str, Value]:
    graph = legalize(graph)
    types = infer_types(graph)
    return liveness(graph, types, calls(graph, types))


def test_a_residual_is_read_by_the_head_and_pixel_by_pixel_by_the_epilogue(builder):
    y = builder.affine(builder.conv("images"))
    total = builder.add("add", y, "images")
    found = values(builder.graph(total))
    assert set(found) == {"images", total}, "what stays in registers is in no memory"
    assert found["images"].reads == [Read(0, 2, False), Read(2, 2, True)]
    assert (found[total].time, found[total].call) == (2, 0)
    assert found[total].reads == [AT_THE_END]


def test_inputs_are_there_before_all_calls(builder):
    found = values(builder.graph("images"))
    assert (found["images"].time, found["images"].call) == (-1, -1)
    assert found["images"].reads == [AT_THE_END]


def test_each_call_begins_after_the_one_before(builder):
    first = builder.conv("images")
    second = builder.add("clip", builder.conv(first), low=0.0, high=1.0)
    found = values(builder.graph(second))
    assert (found[first].time, found[second].time) == (0, 2)
    assert found[first].reads == [Read(1, 2, False)]


def test_an_elementwise_call_reads_its_start_pixel_by_pixel(builder):
    found = values(builder.graph(builder.affine("images")))
    assert found["images"].reads == [Read(0, 1, True)]


def test_an_operand_that_repeats_pixels_is_read_until_the_call_ends(builder):
    gate = builder.add("reshape", builder.add("global_avg_pool2d", "images"), shape=(1, 1, 4))
    scaled = builder.add("multiply", "images", gate)
    found = values(builder.graph(builder.add("clip", scaled, low=0.0, high=1.0)))
    (read,) = found[gate].reads
    assert not read.pixelwise and read.end == read.time + 1


def test_bits_are_written_where_they_are_made(builder):
    y = builder.affine(builder.conv("images"))
    bits = builder.add("sign", y)
    found = values(builder.graph(builder.add("dequantize", bits), builder.affine(y)))
    assert found[bits].time == 2 and y not in found


def test_a_value_is_made_of_itself(builder):
    found = values(builder.graph(builder.conv("images")))
    assert all(value.sources == {value} for value in found.values())
    assert all(value.first == value.time for value in found.values())
