"""Convolutions of inputs in 8 bits are the reference interpreter's to the integer.

The largest magnitude of every map is 127 and scales are powers of two, so that float32 holds each
result as it is; the numbers between are anything, halves between two levels among them.
"""

from __future__ import annotations

import numpy as np
import pytest

from bnnzoo import runtime
from bnnzoo.graph import interpreter
from bnnzoo.graph.ir import Graph
from bnnzoo.graph.packing import Int8Kernel
from bnnzoo.graph.passes import RUNTIME
from bnnzoo.runtime import pooling
from tests.graph.graphs import GraphBuilder
from tests.runtime.engine_runs import ISAS, assert_equal, engine_values, reference_values


class Int8Builder(GraphBuilder):
    """Adds convolutions of inputs in 8 bits."""

    scales = (0.5, 0.25, 2.0)

    def conv_int8(self, value: str, filters: int, kernel=(3, 3), groups=1, **changed) -> str:
        shape = (filters, *kernel, self.shape(value)[-1] // groups)
        levels = self.rng.integers(-127, 128, shape).astype(np.int8)
        scale = self.rng.choice(self.scales, filters).astype(np.float32)
        window = {"strides": (1, 1), "dilation": (1, 1), "padding": (1, 1, 1, 1)}
        return self.add(
            "conv2d", value, tensors={"kernel": Int8Kernel(levels, scale)}, input_bits=8,
            groups=groups, **{**window, **changed},
        )  # fmt: skip

    def affine_of_powers(self, value: str) -> str:
        channels = self.shape(value)[-1]
        tensors = {
            "scale": self.rng.choice([-0.5, 0.25, 1.0, 0.0], channels).astype(np.float32),
            "bias": self.rng.integers(-9, 9, channels).astype(np.float32),
        }
        return self.add("affine", value, tensors=tensors)


def maps(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Returns numbers from -127 to 127, a third of them halves."""
    x = rng.uniform(-126, 126, shape)
    x = np.where(rng.random(shape) < 0.3, np.floor(x) + 0.5, x).astype(np.float32)
    x[:, 0, 0, 0] = 127 * rng.choice([-1, 1], shape[0])
    return x


WINDOWS = {
    "3x3": {},
    "7x7": {"kernel": (7, 7), "strides": (2, 2), "padding": (2, 3, 2, 3)},
    "1x1": {"kernel": (1, 1), "padding": (0, 0, 0, 0)},
    "1x1-strides": {"kernel": (1, 1), "padding": (0, 0, 0, 0), "strides": (2, 3)},
    "dilation": {"dilation": (2, 1), "padding": (0, 4, 3, 1)},
    "dilation-columns": {"dilation": (1, 2), "padding": (2, 0, 1, 2)},
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", WINDOWS)
def test_integers_are_equal(rng, name, isa):
    for size, channels, filters in (((9, 11), 3, 64), ((8, 7), 17, 5), ((7, 29), 64, 130)):
        builder = Int8Builder(rng, (*size, channels))
        conv = builder.conv_int8("images", filters, **WINDOWS[name])
        graph = builder.graph(conv)
        assert_equal(graph, maps(rng, 2, *size, channels), isa)


@pytest.mark.parametrize("isa", ISAS)
def test_groups(rng, isa):
    for groups, channels, filters in ((2, 6, 8), (3, 15, 195), (5, 5, 5)):
        builder = Int8Builder(rng, (6, 9, channels))
        graph = builder.graph(builder.conv_int8("images", filters, groups=groups))
        assert_equal(graph, maps(rng, 2, 6, 9, channels), isa)


@pytest.mark.parametrize("isa", ISAS)
def test_dense_layers(rng, isa):
    for channels, filters in ((1, 1), (66, 65), (512, 1000)):
        builder = Int8Builder(rng, (1, 1, channels))
        conv = builder.conv_int8("images", filters, (1, 1), padding=(0, 0, 0, 0))
        assert_equal(builder.graph(conv), maps(rng, 2, 1, 1, channels), isa)


def stem(rng: np.random.Generator) -> Graph:
    """A convolution, folded with its affine and pooled in strips, and its signs."""
    builder = Int8Builder(rng, (41, 22, 3))
    conv = builder.conv_int8("images", 70, (5, 5), strides=(2, 1), padding=(1, 2, 2, 2))
    window = {"pool": (3, 3), "strides": (2, 2), "padding": (0, 1, 1, 0)}
    pooled = builder.add("max_pool2d", builder.affine_of_powers(conv), **window)
    signs = builder.add("dequantize", builder.add("sign", pooled))
    return builder.graph(pooled, signs)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_stem_in_strips(rng, monkeypatch, isa, threads):
    monkeypatch.setattr(pooling, "_MIN_BYTES", 0)
    graph = stem(rng)
    x = maps(rng, 3, 41, 22, 3)
    model = runtime.Model(graph, isa=isa)
    assert {time.op for time in model.profile(runs=1)} == {"conv2d", "dequantize"}
    assert_equal(graph, x, isa, threads=threads, passes=RUNTIME)
    assert_equal(graph, x[:1], isa, threads=threads, passes=())


def test_maps_in_the_middle_of_a_network(rng):
    """Inputs that lie among other channels, one that two convolutions share, and one of each."""
    builder = Int8Builder(rng, (7, 9, 12))
    part = builder.add("slice", "images", axis=2, begin=0, size=5)
    both = builder.add("concat", part, builder.conv_int8(part, 4), axis=2)
    first = builder.conv_int8(both, 30)
    second = builder.conv_int8(both, 70, (3, 1), padding=(1, 1, 1, 1))
    third = builder.conv_int8("images", 30, (1, 1), padding=(0, 0, 0, 0))
    graph = builder.graph(both, first, second, third, builder.add("add", first, third))
    x = maps(rng, 2, 7, 9, 12)
    for isa in ISAS:
        for threads in (1, 3):
            found = engine_values(graph, x, isa, threads=threads)
            for got, expected in zip(found, reference_values(graph, x), strict=True):
                # The largest number of `both` is no power of two times 127.
                np.testing.assert_allclose(
                    got, expected, rtol=1e-6, atol=1e-6 * abs(expected).max()
                )


@pytest.mark.parametrize("isa", ISAS)
def test_every_number_of_threads_gives_the_same_bits(rng, isa):
    builder = Int8Builder(rng, (33, 34, 3))
    x = builder.add("clip", builder.conv_int8("images", 130), low=0.0, high=float("inf"))
    graph = builder.graph(builder.conv_int8(x, 200, (1, 1), padding=(0, 0, 0, 0)))
    images = rng.standard_normal((3, 33, 34, 3)).astype(np.float32)
    (expected,) = engine_values(graph, images, isa)
    for threads in (2, 3, 8):
        for batch in (images, images[:1]):
            (found,) = engine_values(graph, batch, isa, threads=threads)
            np.testing.assert_array_equal(found, expected[: len(batch)])


def test_every_instruction_set_gives_the_same_bits(rng):
    """Sums are integers, and so is what is read of them: one product follows."""
    builder = Int8Builder(rng, (9, 13, 7))
    graph = builder.graph(builder.conv_int8("images", 33))
    x = rng.standard_normal((2, 9, 13, 7)).astype(np.float32)
    first, *others = (engine_values(graph, x, isa)[0] for isa in ISAS)
    for other in others:
        np.testing.assert_array_equal(first, other)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("odd", [np.nan, -np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_spoil_their_image_and_no_other(rng, isa, odd):
    builder = Int8Builder(rng, (6, 7, 5))
    graph = builder.graph(builder.conv_int8("images", 66))
    x = maps(rng, 3, 6, 7, 5)
    x[1, 5, 6, 4] = odd
    expected = interpreter.run(graph, x)[graph.outputs[0]]
    assert np.isnan(expected[1]).all() and np.isfinite(expected[[0, 2]]).all()
    (found,) = engine_values(graph, x, isa)
    np.testing.assert_array_equal(found, expected.astype(np.float32))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("size", [0.0, 1e-45, 1e-38, 7e-31, 1e-30, 3e38])
def test_small_and_large_maps(rng, isa, size):
    """Below 2^-100 a map counts as zeros: 127 / m would be no number."""
    builder = Int8Builder(rng, (5, 5, 4))
    builder.scales = (2.0**-16,)  # so that no sum overflows
    conv = builder.conv_int8("images", 9)
    graph = builder.graph(builder.affine_of_powers(conv))
    x = (rng.choice([-1, 1, 0.5], (2, 5, 5, 4)) * size).astype(np.float32)
    x[:, 0, 0, 0] = size
    (expected,) = reference_values(graph, x)
    (found,) = engine_values(graph, x, isa)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-36)
    assert (expected == expected[0, 0, 0]).all() == (size < 2.0**-100)


def test_an_infinite_map_gives_signs_as_nan_does(rng):
    graph = stem(rng)
    x = maps(rng, 1, 41, 22, 3)
    x[0, 3, 3, 1] = np.inf
    pooled, signs = engine_values(graph, x, passes=RUNTIME)
    assert np.isnan(pooled).all() and (signs == 1).all()
