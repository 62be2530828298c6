"""Borders that are layers of their own become those of the convolution behind them."""

from __future__ import annotations

import numpy as np
import pytest

from bnnzoo.graph import interpreter, passes
from bnnzoo.graph.passes.fold_padding import fold_padding
from tests.graph.graphs import GraphBuilder

ONE = {"strides": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0), "groups": 1}
SIDES = (1, 2, 0, 3)


class Builder(GraphBuilder):
    """Borders and convolutions of a 5 x 6 map of 4 channels."""

    def pad(self, value: str, border: float = 0.0, sides: tuple[int, ...] = SIDES) -> str:
        return self.add("pad", value, padding=sides, value=border)

    def numbers_of(self, bits: str) -> str:
        return self.add("dequantize", bits)

    def levels(self, value: str) -> str:
        return self.add("quantize", value, bits=2)

    def bconv(self, bits: str, pad_value: int = 0, **window) -> str:
        kernel = {"kernel": self.signs(4, 3, 3, self.shape(bits)[-1])}
        return self.add("bconv2d", bits, tensors=kernel, pad_value=pad_value, **{**ONE, **window})

    def conv(self, value: str, binary: bool = True, groups: int = 1, **window) -> str:
        shape = (4, 3, 3, 4 // groups)
        kernel = {"kernel": self.signs(*shape) if binary else self.reals(*shape)}
        return self.add("conv2d", value, tensors=kernel, **{**ONE, "groups": groups, **window})

    def signs_of(self, value: str = "images") -> str:
        return self.numbers_of(self.add("sign", value))


def as_sequence(b: Builder) -> str:
    """What the front end makes of a border around a sequence: reshapes on both sides of it."""
    image = b.add("reshape", b.signs_of(b.add("reshape", "images", shape=(30, 4))),
                  shape=(1, 30, 4))  # fmt: skip
    padded = b.pad(image, sides=(0, 0, 1, 1))
    kernel = {"kernel": b.signs(4, 1, 3, 4)}
    return b.add("conv2d", padded, tensors=kernel, **ONE)


# A graph -> its operations after the pass, and padding and pad_value of its convolution.
FOLDED = {
    "zeros in front of a sign": (
        lambda b: b.bconv(b.add("sign", b.pad("images"))), ["sign", "bconv2d"], SIDES, 1,
    ),
    "less than zero in front of a sign": (
        lambda b: b.bconv(b.add("sign", b.pad("images", -0.5)), strides=(2, 2)),
        ["sign", "bconv2d"], SIDES, -1,
    ),
    "zeros behind a sign": (
        lambda b: b.conv(b.pad(b.signs_of()), strides=(2, 1)), ["sign", "bconv2d"], SIDES, 0,
    ),
    "ones behind a sign": (
        lambda b: b.conv(b.pad(b.signs_of(), 1.0), groups=2), ["sign", "bconv2d"], SIDES, 1,
    ),
    "minus one behind a sign": (
        lambda b: b.conv(b.pad(b.signs_of(), -1.0), dilation=(2, 1)),
        ["sign", "bconv2d"], SIDES, -1,
    ),
    "zeros behind a sign in front of another": (
        lambda b: b.bconv(b.add("sign", b.pad(b.signs_of()))), ["sign", "bconv2d"], SIDES, 1,
    ),
    "one border after the other": (
        lambda b: b.bconv(
            b.add("sign", b.pad(b.pad("images", sides=(0, 1, 1, 0)))), 1, padding=(1, 1, 1, 1)
        ),
        ["sign", "bconv2d"], (2, 4, 2, 4), 1,
    ),
    "zeros in front of levels": (
        lambda b: b.bconv(b.levels(b.pad("images")), 1), ["quantize", "bconv2d"], SIDES, 0,
    ),
    "zeros behind levels": (
        lambda b: b.conv(b.pad(b.numbers_of(b.levels("images")))),
        ["quantize", "bconv2d"], SIDES, 0,
    ),
    "zeros in front of a real convolution": (
        lambda b: b.conv(b.pad("images"), binary=False, padding=(1, 0, 1, 0)),
        ["conv2d"], (2, 2, 1, 3), None,
    ),
    "zeros behind a sign and a depthwise kernel": (
        lambda b: b.conv(b.pad(b.signs_of()), groups=4), ["sign", "dequantize", "conv2d"], SIDES,
        None,
    ),
    "a sequence": (as_sequence, ["reshape", "sign", "reshape", "bconv2d"], (0, 0, 1, 1), 0),
}  # fmt: skip
KEPT = {
    "ones around numbers": lambda b: b.conv(b.pad("images", 1.0), binary=False),
    "halves around signs": lambda b: b.conv(b.pad(b.signs_of(), 0.5)),
    "ones around levels": lambda b: b.bconv(b.levels(b.pad("images", 1.0))),
    "two values": lambda b: b.bconv(b.add("sign", b.pad("images")), -1, padding=(1, 1, 1, 1)),
    "a pooling in between": lambda b: b.bconv(
        b.add("bmax_pool2d", b.add("sign", b.pad("images")), pool=(2, 2), strides=(1, 1),
              padding=(0, 0, 0, 0))
    ),
    "rows that became columns": lambda b: b.bconv(
        b.add("reshape", b.add("sign", b.pad("images")), shape=(9, 8, 4))
    ),
}  # fmt: skip


def assert_equal(before, after, rng):
    x = rng.integers(-2, 3, (3, *before.input_shape)).astype(np.float32) / 2
    expected, values = interpreter.run(before, x), interpreter.run(after, x)
    for name in before.outputs:
        # Sums of levels and of real numbers are rounded: float64 loses 1e-15.
        np.testing.assert_allclose(values[name], expected[name], rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", FOLDED)
def test_a_border_goes_into_the_convolution(name, rng):
    build, ops, padding, pad_value = FOLDED[name]
    builder = Builder(rng, (5, 6, 4))
    before = builder.graph(build(builder))
    after = fold_padding(before)
    assert [node.op for node in after.nodes] == ops
    conv = after.nodes[-1]
    assert (conv.attributes["padding"], conv.attributes.get("pad_value")) == (padding, pad_value)
    assert_equal(before, after, rng)


@pytest.mark.parametrize("name", KEPT)
def test_what_a_convolution_cannot_have_stays(name, rng):
    builder = Builder(rng, (5, 6, 4))
    before = builder.graph(KEPT[name](builder))
    assert fold_padding(before) is before


def test_others_read_the_sign_with_its_border(rng):
    builder = Builder(rng, (5, 6, 4))
    bits = builder.add("sign", builder.pad("images"))
    before = builder.graph(builder.bconv(bits), builder.numbers_of(bits))
    after = fold_padding(before)
    assert [node.op for node in after.nodes] == ["pad", "sign", "sign", "bconv2d", "dequantize"]
    assert_equal(before, after, rng)


def test_a_sign_behind_a_batch_norm_still_becomes_a_threshold(rng):
    builder = Builder(rng, (5, 6, 4))
    y = builder.batch_norm(builder.bconv(builder.add("sign", "images"), padding=(1, 1, 1, 1)))
    before = builder.graph(builder.bconv(builder.add("sign", builder.pad(y))))
    after, _ = passes.apply(before, passes.RUNTIME)
    assert [node.op for node in after.nodes] == ["sign", "bconv2d", "sign", "bconv2d"]
    assert_equal(before, after, rng)
