"""What the runtime computes at once: heads, the epilogues behind them, and where those are cut."""

from __future__ import annotations

import numpy as np
import pytest

from bnnzoo.graph.ir import Graph
from bnnzoo.graph.ops import infer_types
from bnnzoo.runtime.lowering import calls, legalize
from tests.graph.graphs import GraphBuilder
from tests.runtime.engine_runs import engine_values, reference_values

SAME = {"strides": (1, 1), "dilation": (1, 1), "padding": (1, 1, 1, 1)}


@pytest.fixture
def builder(rng):
    return GraphBuilder(rng, (5, 6, 4))


def bconv2d(builder, value, groups=1):
    tensors = {"kernel": builder.signs(4, 3, 3, 4 // groups)}
    bits = builder.add("sign", value)
    return builder.add("bconv2d", bits, tensors=tensors, groups=groups, pad_value=1, **SAME)


def grouped(graph: Graph) -> list[list[str]]:
    """Returns the operation of each call and those of its epilogue, which compute the same."""
    x = np.random.default_rng(0).standard_normal((2, *graph.input_shape)).astype(np.float32)
    for got, expected in zip(engine_values(graph, x), reference_values(graph, x), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)  # sums of 36 signs
    graph = legalize(graph)
    found = calls(graph, infer_types(graph))
    return [[call.op, *(node.op for node in call.epilogue)] for call in found]


def test_a_residual_block_is_one_call(builder):
    x = builder.affine(bconv2d(builder, "images"))
    x = builder.add("add", "images", x)
    graph = builder.graph(x, builder.add("dequantize", builder.add("sign", x)))
    assert grouped(graph) == [
        ["elementwise", "sign"],
        ["bconv2d", "affine", "add", "sign"],
        ["dequantize"],
    ]


def test_elementwise_operations_without_a_head_are_one_call(builder):
    x = builder.affine(builder.add("clip", builder.affine("images"), low=-1.0, high=1.0))
    assert grouped(builder.graph(x)) == [["elementwise", "affine", "clip", "affine"]]


def test_a_call_moves_behind_a_gate_that_does_not_read_it(builder):
    y = bconv2d(builder, "images")
    gate = builder.add("reshape", builder.add("global_avg_pool2d", "images"), shape=(1, 1, 4))
    found = grouped(builder.graph(builder.add("multiply", y, gate)))
    assert found[-1] == ["bconv2d", "multiply"]


def test_a_gate_of_the_call_itself_stays_behind_it(builder):
    y = bconv2d(builder, "images")
    gate = builder.add("reshape", builder.add("global_avg_pool2d", y), shape=(1, 1, 4))
    found = grouped(builder.graph(builder.add("multiply", y, gate)))
    assert found[-1] == ["elementwise", "multiply"]


def test_a_sign_reads_the_value_that_it_is_made_of(builder):
    first = builder.affine(bconv2d(builder, "images"))
    second = builder.affine(first)
    graph = builder.graph(builder.add("sign", first), second)
    assert grouped(graph)[1] == ["bconv2d", "affine", "sign", "affine"]


def test_groups_that_share_a_word_leave_bits_to_a_call_of_their_own(builder):
    y = builder.affine(bconv2d(builder, "images", groups=2))
    graph = builder.graph(builder.add("sign", y))
    assert grouped(graph)[1:4] == [["regroup"], ["bconv2d", "affine"], ["elementwise", "sign"]]


@pytest.mark.parametrize("op", ["max_pool2d", "avg_pool2d", "global_max_pool2d"])
def test_poolings_have_an_epilogue(builder, op):
    window = {} if op.startswith("global") else {
        "pool": (2, 2), "strides": (2, 2), "padding": (0, 0, 0, 0)
    }  # fmt: skip
    y = builder.affine(builder.add(op, "images", **window))
    assert grouped(builder.graph(y)) == [[op, "affine"]]


def test_an_operand_that_repeats_channels_is_no_part_of_an_epilogue(builder):
    narrow = builder.add("slice", "images", axis=2, begin=0, size=1)
    y = builder.add("subtract", bconv2d(builder, "images"), narrow)
    assert grouped(builder.graph(y))[-1] == ["subtract"]


def test_bits_with_two_borders_are_computed_twice(builder):
    bits = builder.add("sign", "images")
    kernel = {"kernel": builder.signs(4, 3, 3, 4)}
    sums = [
        builder.add("bconv2d", bits, tensors=kernel, groups=1, pad_value=value, **SAME)
        for value in (-1, 1)
    ]
    found = grouped(builder.graph(builder.add("add", *sums)))
    assert found == [["elementwise", "sign"]] * 2 + [["bconv2d"], ["bconv2d", "add"]]
