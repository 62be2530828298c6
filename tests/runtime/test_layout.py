"""Where values lie: what shares memory, and that no call finds another value than it reads."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnzoo.graph import passes
from bnnzoo.graph.ir import Graph
from bnnzoo.runtime import layout
from tests.graph.drawn import drawn
from tests.graph.graphs import random_graph
from tests.runtime.exact_graphs import ExactBuilder, exact_graph
from tests.runtime.traced_memory import EXPANSIONS, mistakes, planned

LEVELS = {"no passes": (), "runtime": (*passes.STORED, *passes.RUNTIME)}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("make", [exact_graph, random_graph])
@settings(max_examples=150)
@given(data=st.data())
def test_every_call_reads_what_was_written_for_it(make, level, data):
    graph = data.draw(drawn(make))
    graph, _ = passes.apply(graph, LEVELS[level])
    for expansion in EXPANSIONS:
        assert not mistakes(planned(graph, expansion))


def test_a_wrong_overwrite_is_a_sentence(monkeypatch, builder):
    """That of the trace of memory itself: the rule that keeps values apart is switched off."""
    kept = builder.add("clip", "images", low=-1.0, high=1.0)
    total = builder.add("add", kept, builder.conv(kept))
    graph = builder.graph(builder.add("multiply", total, kept))
    assert not mistakes(planned(graph))
    monkeypatch.setattr(layout, "_overwrites", lambda *values: False)
    found = mistakes(planned(graph))
    assert found and all(" reads 'n0_clip', but " in sentence for sentence in found)


# What shares memory -------------------------------------------------------------------------------

ONE = {"strides": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0), "groups": 1}


class Builder(ExactBuilder):
    """Convolutions of one pixel, whose results have four channels."""

    def conv(self, value: str, **window: Any) -> str:
        kernel = {"kernel": self.reals(4, 1, 1, self.shape(value)[-1])}
        return self.add("conv2d", value, tensors=kernel, **{**ONE, **window})


@pytest.fixture
def builder(rng) -> Builder:
    return Builder(rng, (5, 6, 4))


def places(graph: Graph) -> dict[str, Any]:
    """The places of a graph's values, where no call finds another value than it reads."""
    plan = planned(graph)
    assert not mistakes(plan)
    return plan.layout.places


def test_a_dense_block_lies_in_one_storage(builder):
    first, grown, value = builder.conv("images"), [], None
    value = first
    for _ in range(3):
        grown.append(builder.conv(value))
        value = builder.add("concat", value, grown[-1], axis=2)
    found = places(builder.graph(builder.conv(value)))
    assert len({id(found[name].storage) for name in (first, *grown, value)}) == 1
    assert [found[name].first for name in (first, *grown)] == [0, 4, 8, 12]


def test_a_sum_lies_over_a_summand_that_nobody_reads_later(builder):
    left = builder.conv("images")
    total = builder.add("add", left, builder.conv("images"))
    found = places(builder.graph(builder.conv(total)))
    assert found[total].matches(found[left]) and found[total].storage is found[left].storage


def test_a_sum_lies_beside_a_summand_that_is_read_later(builder):
    left = builder.conv("images")
    total = builder.add("add", left, builder.conv("images"))
    found = places(builder.graph(builder.conv(builder.add("concat", total, left, axis=2))))
    assert not found[total].matches(found[left])


@pytest.mark.parametrize("window", [{}, {"padding": (1, 1, 1, 1), "dilation": (1, 1)}])
def test_a_sum_lies_beside_the_summand_that_its_convolution_reads(builder, window):
    """Each pixel of a convolution may need the summand's pixels around it."""
    x = builder.conv("images")
    kernel = {"kernel": builder.reals(4, *((3, 3) if window else (1, 1)), 4)}
    y = builder.add("conv2d", x, tensors=kernel, **{**ONE, **window})
    total = builder.add("add", x, y)
    found = places(builder.graph(builder.conv(total)))
    assert found[total].storage is not found[x].storage


@pytest.mark.parametrize(("axis", "is_view"), [(0, False), (1, False), (2, True)])
def test_a_slice_of_channels_is_a_view(builder, axis, is_view):
    x = builder.conv("images")
    part = builder.add("slice", x, axis=axis, begin=1, size=3)
    found = places(builder.graph(builder.conv(part)))
    assert (found[part].storage is found[x].storage) == is_view
    assert found[part].first == (1 if is_view else 0)


def test_a_reshape_is_a_view_of_all_of_a_storage(builder):
    x = builder.conv("images")
    flat = builder.add("reshape", x, shape=(1, 1, 120))
    found = places(builder.graph(builder.add("tanh", flat)))
    assert found[flat].storage is found[x].storage and found[x].storage.dense
    assert found[flat].view == (1, 1, 120)


def test_a_reshape_of_what_has_a_border_is_copied(builder):
    x = builder.conv("images")
    flat = builder.add("reshape", x, shape=(1, 1, 120))
    kernel = {"kernel": builder.reals(4, 3, 3, 4)}
    padded = builder.add("conv2d", x, tensors=kernel, **{**ONE, "padding": (1, 1, 1, 1)})
    found = places(builder.graph(builder.add("tanh", flat), padded))
    assert found[x].storage.border == (1, 1, 1, 1)
    assert found[flat].storage is not found[x].storage


def test_a_value_that_is_joined_twice_is_copied_once(builder):
    x = builder.conv("images")
    both = builder.add("concat", x, x, axis=2)
    plan = planned(builder.graph(builder.conv(both)))
    assert not mistakes(plan)
    assert plan.layout.copied == {both: [1]}


def test_rows_are_joined_by_copies(builder):
    x, y = builder.conv("images"), builder.conv("images")
    both = builder.add("concat", x, y, axis=0)
    found = places(builder.graph(builder.conv(both)))
    assert len({id(found[name].storage) for name in (x, y, both)}) == 3
