"""Which values have a border: those that a padded convolution reads, also through views."""

from __future__ import annotations

import pytest

from bnnzoo.graph.ir import Graph
from bnnzoo.graph.ops import infer_types
from bnnzoo.runtime.borders import Borders, find_borders, widest
from bnnzoo.runtime.lowering import calls, legalize
from tests.graph.graphs import GraphBuilder

ONE = {"strides": (1, 1), "dilation": (1, 1), "groups": 1}
AROUND = (1, 1, 1, 1)


class Builder(GraphBuilder):
    in_8_bits = False

    def padded(self, value: str, padding: tuple[int, ...], **pads: int) -> str:
        """Adds a convolution of 3 by 3 pixels: of bits where `pads` has their border."""
        make = self.signs if pads else self.reals
        kernel = {"kernel": make(2, 3, 3, self.shape(value)[-1])}
        op = "bconv2d" if pads else "conv2d"
        return self.add(op, value, tensors=kernel, padding=padding, **ONE, **pads)


@pytest.fixture
def builder(rng) -> Builder:
    return Builder(rng, (6, 8, 4))


def borders(graph: Graph) -> Borders:
    graph = legalize(graph)
    types = infer_types(graph)
    return find_borders(calls(graph, types), types)


def test_the_wider_border_of_two_convolutions(builder):
    y = [builder.padded("images", padding) for padding in ((1, 0, 2, 0), (0, 3, 1, 0))]
    found = borders(builder.graph(*y))
    assert found.widths == {"images": (1, 3, 2, 0)}
    assert not found.negative


def test_no_padding_no_border(builder):
    assert borders(builder.graph(builder.padded("images", (0, 0, 0, 0)))) == Borders()


@pytest.mark.parametrize(("pad_value", "negative"), [(-1, True), (0, False), (1, False)])
def test_a_border_of_bits_is_that_of_their_convolution(builder, pad_value, negative):
    """Of zeros there is none: they became +1 and a correction."""
    bits = builder.add("sign", "images")
    found = borders(builder.graph(builder.padded(bits, AROUND, pad_value=pad_value)))
    assert found.of(bits) == (AROUND, negative)


def test_level_0_is_minus_one_in_every_plane(builder):
    levels = builder.add("quantize", "images", bits=2)
    found = borders(builder.graph(builder.padded(levels, AROUND, pad_value=0)))
    assert found.of(levels) == (AROUND, True)


# View -> whether its source has the border of the view.
VIEWS = {
    "channels": (("slice", {"axis": 2, "begin": 1, "size": 2}), True),
    "as many pixels": (("reshape", {"shape": (6, 8, 4)}), True),
    "other pixels": (("reshape", {"shape": (8, 6, 4)}), False),
}


@pytest.mark.parametrize("name", VIEWS)
def test_the_source_of_a_view_has_its_border(builder, name):
    (op, attributes), passed_on = VIEWS[name]
    x = builder.affine("images")
    view = builder.add(op, x, **attributes)
    found = borders(builder.graph(builder.padded(view, AROUND)))
    assert found.of(view) == (AROUND, False)
    assert found.of(x) == ((AROUND if passed_on else (0, 0, 0, 0)), False)
    assert not found.separate


def test_a_view_with_another_border_than_its_source_is_no_view(builder):
    bits = builder.add("sign", "images")
    view = builder.add("reshape", bits, shape=(6, 8, 4))
    y = builder.padded(view, AROUND, pad_value=-1)
    found = borders(builder.graph(y, builder.padded(bits, AROUND, pad_value=1)))
    assert found.separate == {view}
    assert (found.of(view), found.of(bits)) == ((AROUND, True), (AROUND, False))


def test_the_widest_border_has_the_greatest_of_each_side():
    assert widest((1, 2, 3, 4), (4, 3, 2, 1)) == (4, 3, 3, 4)
