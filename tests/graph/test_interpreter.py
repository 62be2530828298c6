"""The reference against loops that are written out, and numbers that were worked out by hand."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from bnnzoo.errors import ArgumentError
from bnnzoo.graph import interpreter
from bnnzoo.graph.ops import OPS
from bnnzoo.graph.packing import Int8Kernel, PackedSigns, pack
from tests.graph.graphs import GraphBuilder


def run(builder, name, x, **given):
    return interpreter.run(builder.graph(name), x, given)[name]


def convolution(x, kernel, strides, dilation, padding, groups, border):
    """One image `(h, w, c)`, every tap of every output in a loop."""
    height, width, _ = x.shape
    c_out, kernel_h, kernel_w, c_in = kernel.shape
    top, bottom, left, right = padding
    h_out = (height + top + bottom - (kernel_h - 1) * dilation[0] - 1) // strides[0] + 1
    w_out = (width + left + right - (kernel_w - 1) * dilation[1] - 1) // strides[1] + 1
    y = np.zeros((h_out, w_out, c_out))
    for row, column, o in np.ndindex(*y.shape):
        first = o // (c_out // groups) * c_in
        for i, j, c in np.ndindex(kernel_h, kernel_w, c_in):
            r = row * strides[0] - top + i * dilation[0]
            s = column * strides[1] - left + j * dilation[1]
            inside = 0 <= r < height and 0 <= s < width
            y[row, column, o] += kernel[o, i, j, c] * (x[r, s, first + c] if inside else border)
    return y


@pytest.mark.parametrize("border", [-1, 0, 1])
@pytest.mark.parametrize(
    ("strides", "dilation", "padding", "groups"),
    [
        pytest.param((1, 1), (1, 1), (1, 1, 1, 1), 1, id="same"),
        pytest.param((2, 3), (1, 1), (0, 1, 0, 2), 1, id="strides"),
        pytest.param((1, 1), (2, 1), (2, 2, 1, 1), 2, id="dilation"),
        pytest.param((1, 1), (1, 1), (0, 0, 0, 0), 4, id="depthwise"),
    ],
)
def test_convolution(rng, strides, dilation, padding, groups, border):
    builder = GraphBuilder(rng, (6, 7, 4))
    kernel = builder.signs(8, 3, 2, 4 // groups)
    window = {"strides": strides, "dilation": dilation, "padding": padding, "groups": groups}
    bits = builder.add("sign", "images")
    tensors = {"kernel": kernel}
    binary = builder.add("bconv2d", bits, tensors=tensors, pad_value=border, **window)
    packed = {"kernel": pack(kernel)}
    real = builder.add("conv2d", "images", tensors=packed, **window)
    x = rng.standard_normal((2, 6, 7, 4))
    for name, inputs, value in ((binary, np.where(x < 0, -1, 1), border), (real, x, 0)):
        expected = [convolution(image, kernel, *window.values(), value) for image in inputs]
        # Sums of a few float64 numbers in another order.
        np.testing.assert_allclose(run(builder, name, x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("strides", "dilation", "crop", "pixels"),
    [
        pytest.param((2, 2), (1, 1), (1, 0), (8, 6), id="same"),
        pytest.param((3, 4), (1, 1), (0, 2), (14, 9), id="strides beyond the kernel"),
        pytest.param((1, 2), (2, 3), (0, 0), (9, 13), id="dilation"),
    ],
)
def test_transposed_convolution(rng, strides, dilation, crop, pixels):
    """Every pixel of y, from every pixel of x and every tap, in loops."""
    builder = GraphBuilder(rng, (4, 3, 2))
    kernel = builder.signs(3, 3, 2, 2)
    window = {"strides": strides, "dilation": dilation, "crop": crop, "pixels": pixels}
    tensors = {"kernel": kernel}
    bits = builder.add("sign", "images")
    binary = builder.add("bconv2d_transpose", bits, tensors=tensors, **window)
    real = builder.add("conv2d_transpose", "images", tensors=tensors, **window)
    x = rng.standard_normal((1, 4, 3, 2))
    for name, image in ((binary, np.where(x < 0, -1, 1)[0]), (real, x[0])):
        expected = np.zeros((*pixels, 3))
        for p, q, i, j, u, v in np.ndindex(*pixels, 4, 3, 3, 2):
            down = i * strides[0] + u * dilation[0] == p + crop[0]
            if down and j * strides[1] + v * dilation[1] == q + crop[1]:
                expected[p, q] += kernel[:, u, v] @ image[i, j]
        np.testing.assert_allclose(run(builder, name, x), [expected], rtol=0, atol=1e-12)


def test_levels_are_spread_as_fractions(rng):
    builder = GraphBuilder(rng, (1, 1, 1))
    levels = builder.add("quantize", "images", bits=2)
    kernel = {"kernel": np.array([[[[1], [-1]]]], np.int8)}
    y = builder.add("bconv2d_transpose", levels, tensors=kernel, strides=(1, 1), dilation=(1, 1),
                    crop=(0, 0), pixels=(1, 3))  # fmt: skip
    np.testing.assert_allclose(run(builder, y, [[[[0.7]]]]).ravel(), [2 / 3, -2 / 3, 0])


@pytest.mark.parametrize("pixels", [(6, 8), (2, 3), (7, 1), (1, 9)])
def test_another_size(rng, pixels):
    """The middle of every new pixel, as a fraction of the old ones, without any rounding."""
    builder = GraphBuilder(rng, (3, 4, 2))
    names = [builder.add(f"{kind}_resize2d", "images", pixels=pixels)
             for kind in ("nearest", "bilinear")]  # fmt: skip
    x = rng.standard_normal((1, 3, 4, 2))
    nearest, bilinear = np.zeros((2, 1, *pixels, 2))
    for i, j in np.ndindex(*pixels):
        places = [Fraction(2 * k + 1, 2) * n / after
                  for k, n, after in zip((i, j), (3, 4), pixels, strict=True)]  # fmt: skip
        nearest[:, i, j] = x[:, math.floor(places[0]), math.floor(places[1])]
        for r, s in np.ndindex(3, 4):
            weight = 1.0
            for place, at, n in zip(places, (r, s), (3, 4), strict=True):
                inside = min(max(place - Fraction(1, 2), 0), n - 1)
                weight *= float(max(0, 1 - abs(inside - at)))
            bilinear[:, i, j] += weight * x[:, r, s]
    np.testing.assert_array_equal(run(builder, names[0], x), nearest)
    np.testing.assert_allclose(run(builder, names[1], x), bilinear, rtol=0, atol=1e-14)


def in_8_bits(image):
    """Levels of a map `(h, w, c)` and their worth, by the words of docs/format.md, one by one."""
    m = np.float32(0)
    for x in image.ravel():
        m = max(m, abs(np.float32(x)))
    if m < 2.0**-100:
        return np.zeros(image.shape), 0.0
    levels = [round(float(np.float32(x) * (np.float32(127) / m))) for x in image.ravel()]
    return np.reshape(levels, image.shape), float(m) / 127


@pytest.mark.parametrize("size", [0.0, 1e-31, 1e-30, 1.0, 1e6, 3e38])
@pytest.mark.parametrize(
    ("strides", "dilation", "padding", "groups"),
    [
        pytest.param((1, 1), (1, 1), (1, 1, 1, 1), 1, id="same"),
        pytest.param((2, 3), (1, 2), (0, 1, 0, 2), 2, id="everything"),
    ],
)
def test_an_input_in_8_bits(rng, size, strides, dilation, padding, groups):
    builder = GraphBuilder(rng, (6, 7, 4))
    kernel = Int8Kernel(
        rng.integers(-127, 128, (8, 3, 2, 4 // groups)).astype(np.int8), rng.uniform(-1, 1, 8)
    )
    window = {"strides": strides, "dilation": dilation, "padding": padding, "groups": groups}
    y = builder.add("conv2d", "images", tensors={"kernel": kernel}, input_bits=8, **window)
    x = size * rng.uniform(-1, 1, (2, 6, 7, 4))
    x[:, 0, 0, 0] = size
    # Halves between two levels; with m = 127 they are exact.
    x[1] = np.floor(127 * x[1] / max(size, 1)) + 0.5 if size == 1 else x[1]
    x[1, 0, 0, 0] = 127 if size == 1 else size
    for image, found in zip(x, run(builder, y, x), strict=True):
        levels, worth = in_8_bits(image)
        sums = convolution(levels, kernel.levels.astype(int), *window.values(), 0)
        np.testing.assert_allclose(found, worth * (kernel.scale * sums), rtol=1e-15)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_an_input_that_has_no_8_bits_gives_nan(rng, odd):
    builder = GraphBuilder(rng, (2, 2, 1))
    window = {"strides": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0), "groups": 1}
    kernel = {"kernel": Int8Kernel(np.ones((1, 1, 1, 1), np.int8), np.ones(1))}
    y = builder.add("conv2d", "images", tensors=kernel, input_bits=8, **window)
    x = np.ones((2, 2, 2, 1))
    x[0, 1, 1, 0] = odd
    found = run(builder, y, x)
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1], 1, rtol=1e-15)


def test_levels_stand_for_fractions(rng):
    builder = GraphBuilder(rng, (1, 1, 2))
    levels = builder.add("quantize", "images", bits=2)
    window = {"strides": (1, 1), "dilation": (1, 1), "padding": (1, 0, 0, 0), "groups": 1}
    kernel = np.array([[[[1, 1]], [[1, -1]]]], np.int8)
    y = builder.add("bconv2d", levels, tensors={"kernel": kernel}, pad_value=0, **window)
    x = np.array([[[[0.5, 0.9]]]])
    # 1.5 rounds to the even level 2, 2.7 to 3; the row of padding counts as 0.
    np.testing.assert_array_equal(run(builder, levels, x), [[[[2, 3]]]])
    np.testing.assert_allclose(run(builder, y, x), [[[[-1 / 3]]]], rtol=1e-15)
    real = builder.add("dequantize", levels)
    np.testing.assert_allclose(run(builder, real, x), [[[[2 / 3, 1]]]], rtol=1e-15)


def test_zero_and_minus_zero_are_positive(rng):
    builder = GraphBuilder(rng, (3,))
    bits = builder.add("sign", "images")
    np.testing.assert_array_equal(run(builder, bits, [[0.0, -0.0, -1e-45]]), [[1, 1, -1]])


def test_thresholds(rng):
    builder = GraphBuilder(rng, (5,))
    tensors = {
        "threshold": np.array([2, 2, -2, np.inf, -np.inf]),
        "direction": np.array([1, -1, -1, 1, 1], np.int8),
    }
    bits = builder.add("sign", "images", tensors=tensors)
    x = [[2, 2, -2, 9, -9], [1.5, 1.5, -2.5, 0, 0], [2.5, 2.5, -1.5, 0, 0]]
    expected = [[1, 1, 1, -1, 1], [-1, 1, 1, -1, 1], [1, -1, -1, -1, 1]]
    np.testing.assert_array_equal(run(builder, bits, x), expected)


@pytest.mark.parametrize("op", ["max_pool2d", "avg_pool2d", "bmax_pool2d"])
def test_pooling_looks_only_inside_the_image(rng, op):
    builder = GraphBuilder(rng, (5, 4, 3))
    x = -1 - rng.random((2, 5, 4, 3))
    source, values, tensors = "images", x, {}
    direction = np.ones(3)
    if op == "bmax_pool2d":
        x = rng.standard_normal(x.shape)
        source, values = builder.add("sign", "images"), np.where(x < 0, -1, 1)
        direction = np.array([1, -1, 1])
        tensors = {"direction": direction.astype(np.int8)}
    window = {"pool": (3, 2), "strides": (2, 1), "padding": (1, 1, 0, 1)}
    name = builder.add(op, source, tensors=tensors, **window)
    expected = np.zeros((2, 3, 4, 3))
    reduce = np.mean if op == "avg_pool2d" else np.max
    for n, row, column, c in np.ndindex(*expected.shape):
        rows = [r for r in range(row * 2 - 1, row * 2 + 2) if 0 <= r < 5]
        columns = [s for s in range(column, column + 2) if s < 4]
        seen = [direction[c] * values[n, r, s, c] for r, s in itertools.product(rows, columns)]
        expected[n, row, column, c] = direction[c] * reduce(seen)
    np.testing.assert_allclose(run(builder, name, x), expected, rtol=1e-12)


def test_batch_norm_is_the_formula(rng):
    builder = GraphBuilder(rng, (1, 1, 1))
    numbers = {"gamma": 2, "beta": 3, "mean": 5, "variance": 3}
    tensors = {role: np.float32([number]) for role, number in numbers.items()}
    name = builder.add("batch_norm", "images", tensors=tensors, epsilon=1.0)
    assert run(builder, name, [[[[9.0]]]]) == 2 * (9 - 5) / 2 + 3


@pytest.mark.parametrize(
    ("op", "attributes", "x", "expected"),
    [
        ("clip", {"low": -1.0, "high": 2.0}, [-3, 0.5, 3], [-1, 0.5, 2]),
        ("sigmoid", {}, [-1000, 0, np.log(3)], [0, 0.5, 0.75]),
        ("tanh", {}, [-np.log(3) / 2, 0, 1000], [-0.5, 0, 1]),
        ("softmax", {}, [1000, 1000, 1000 - np.log(2)], [0.4, 0.4, 0.2]),
    ],
)
def test_function(rng, op, attributes, x, expected):
    builder = GraphBuilder(rng, (3,))
    name = builder.add(op, "images", **attributes)
    np.testing.assert_allclose(run(builder, name, [x]), [expected], rtol=1e-12, atol=1e-12)


def test_arithmetic_broadcasts_per_channel(rng):
    builder = GraphBuilder(rng, (1, 2, 2))
    pooled = builder.add("global_max_pool2d", "images")
    scale = builder.add("reshape", pooled, shape=(1, 1, 2))
    x = np.array([[[[1.0, 2.0], [3.0, -4.0]]]])
    for op, expected in {
        "add": [[[4, 4], [6, -2]]],
        "subtract": [[[-2, 0], [0, -6]]],
        "multiply": [[[3, 4], [9, -8]]],
    }.items():
        name = builder.add(op, "images", scale)
        np.testing.assert_array_equal(run(builder, name, x), [expected])


def test_moving_values(rng):
    builder = GraphBuilder(rng, (2, 3, 2))
    x = np.arange(12.0).reshape(1, 2, 3, 2)
    part = builder.add("slice", "images", axis=1, begin=1, size=2)
    np.testing.assert_array_equal(run(builder, part, x), x[:, :, 1:])
    joined = builder.add("concat", part, "images", axis=1)
    np.testing.assert_array_equal(run(builder, joined, x), np.concatenate([x[:, :, 1:], x], axis=2))
    turned = builder.add("permute", "images", axes=(2, 0, 1))
    np.testing.assert_array_equal(run(builder, turned, x), np.moveaxis(x, 3, 1))
    padded = builder.add("pad", "images", padding=(1, 0, 0, 2), value=7.0)
    assert run(builder, padded, x).shape == (1, 3, 5, 2)
    assert run(builder, padded, x)[0, 0, 0, 0] == 7


def test_bits_are_the_lowest_first_and_one_is_minus_one():
    kernel = PackedSigns(np.array([[0b00000101, 0b1]], np.uint8), (1, 3, 3, 1))
    expected = np.array([-1, 1, -1, 1, 1, 1, 1, 1, -1]).reshape(1, 3, 3, 1)
    np.testing.assert_array_equal(interpreter._real(kernel), expected)
    np.testing.assert_array_equal(kernel.unpack(), expected)
    np.testing.assert_array_equal(pack(expected.astype(np.int8)).bits, kernel.bits)


def test_given_values_replace_what_would_be_computed(rng):
    builder = GraphBuilder(rng, (2,))
    bits = builder.add("sign", "images")
    real = builder.add("dequantize", bits)
    np.testing.assert_array_equal(run(builder, real, [[1, 1]], **{bits: [[-1, 1]]}), [[-1, 1]])


def test_another_shape_is_an_error(rng):
    builder = GraphBuilder(rng, (2,))
    with pytest.raises(ArgumentError, match=r"images must be \(n, \*\(2,\)\), got \(1, 3\)"):
        run(builder, builder.add("tanh", "images"), [[1, 2, 3]])


def test_every_operation_has_a_meaning():
    assert interpreter.MEANINGS.keys() == OPS.keys()
