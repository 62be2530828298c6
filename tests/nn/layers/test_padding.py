"""`pad_values` fills the border with -1, 0 or +1 after quantization, as a NumPy reference does."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from bnnzoo import nn
from tests.backend import compiled, evaluate
from tests.nn.layers.cases import CLIP, DEPTHWISE_CLIP, DEPTHWISE_SIGN, SIGN, randomize


def borders(size, kernel, stride, dilation, padding):
    """TensorFlow's rule for "same": ceil(size / stride) outputs, the odd element at the end."""
    if not isinstance(padding, str):
        return padding
    reach = (kernel - 1) * dilation
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return reach, 0
    total = max((-(-size // stride) - 1) * stride + reach + 1 - size, 0)
    return total // 2, total - total // 2


def convolve(x, w, strides, dilation, padding, pad_value, groups=1):
    """Returns the convolution of signs `(n, *sizes, c_in)` with `(*kernel, c_in / groups, c_out)`.

    One multiplication per product, on an explicitly padded input.
    """
    rank = w.ndim - 2
    sides = [padding] * rank if isinstance(padding, str) else padding
    widths = [
        borders(*settings)
        for settings in zip(x.shape[1:-1], w.shape[:rank], strides, dilation, sides, strict=True)
    ]
    x = np.pad(x, [(0, 0), *widths, (0, 0)], constant_values=pad_value)
    reach = [(k - 1) * d for k, d in zip(w.shape[:rank], dilation, strict=True)]
    starts = [range(0, x.shape[1 + i] - reach[i], strides[i]) for i in range(rank)]
    y = np.zeros((x.shape[0], *map(len, starts), w.shape[-1]))
    c_in, c_out = w.shape[-2], w.shape[-1] // groups
    for index in np.ndindex(*y.shape[1:-1]):
        for tap in np.ndindex(*w.shape[:rank]):
            at = tuple(starts[i][index[i]] + tap[i] * dilation[i] for i in range(rank))
            for g in range(groups):
                inputs = x[(slice(None), *at, slice(g * c_in, (g + 1) * c_in))]
                outputs = slice(g * c_out, (g + 1) * c_out)
                y[(slice(None), *index, outputs)] += inputs @ w[(*tap, slice(None), outputs)]
    return y


def sign(x):
    return np.where(x < 0, -1.0, 1.0)


def signs_of(layer, x, rng):
    """Returns the output of a binary layer with random weights, and the signs of its kernel."""
    layer.build(x.shape)
    (kernel,) = randomize(layer, rng)
    return evaluate(layer, x), sign(kernel)


def check(layer, size, rng, groups=1):
    """Compares a binary layer with the reference interpreter, exactly: both are sums of signs."""
    x = rng.standard_normal((2, *size)).astype("float32")
    y, w = signs_of(layer, x, rng)
    geometry = layer.strides, layer.dilation_rate, layer.padding, layer.pad_values
    expected = convolve(sign(x), w, *geometry, groups)
    np.testing.assert_array_equal(y, expected)
    assert tuple(layer.compute_output_shape(x.shape)) == expected.shape


BINARY = {**SIGN, **CLIP, "use_bias": False, "kernel_initializer": "zeros"}
GEOMETRY = [
    # size, kernel, strides, dilation
    ((6, 5), (3, 3), 1, 1),
    ((6, 5), (2, 4), 1, 1),
    ((7, 6), (3, 3), 2, 1),
    ((7, 8), (3, 2), (2, 3), 1),
    ((8, 8), (2, 1), 3, 1),
    ((7, 6), (3, 3), 1, (2, 3)),
    ((1, 1), (3, 5), 1, 1),
]
PADDINGS = [("same", -1), ("same", 0), ("same", 1), ("valid", 1)]


@pytest.mark.parametrize(("size", "kernel", "strides", "dilation"), GEOMETRY, ids=repr)
@pytest.mark.parametrize(("padding", "pad_values"), PADDINGS)
def test_conv2d(size, kernel, strides, dilation, padding, pad_values, rng):
    size = (9, 10) if padding == "valid" else size
    geometry = kernel, strides, padding, pad_values
    check(nn.QuantConv2D(3, *geometry, dilation_rate=dilation, **BINARY), (*size, 2), rng)


@pytest.mark.parametrize("pad_values", [-1, 1])
def test_conv2d_groups(pad_values, rng):
    layer = nn.QuantConv2D(4, 3, 2, "same", pad_values, groups=2, **BINARY)
    check(layer, (5, 6, 6), rng, groups=2)


@pytest.mark.parametrize("pad_values", [-1, 0, 1])
@pytest.mark.parametrize(
    ("padding", "strides", "dilation"), [("causal", 1, 2), ("causal", 2, 1), ("same", 2, 1)]
)
def test_conv1d(padding, strides, dilation, pad_values, rng):
    layer = nn.QuantConv1D(3, 4, strides, padding, pad_values, dilation_rate=dilation, **BINARY)
    check(layer, (7, 2), rng)


# What PyTorch and MXNet call padding=1, and borders that no rule has.
SIDES = {
    "1": (1, ((1, 1), (1, 1))),
    "per axis": ((0, 2), ((0, 0), (2, 2))),
    "per side": (((1, 0), (2, 3)), ((1, 0), (2, 3))),
    "as JSON has it": ([[1, 1], [1, 1]], ((1, 1), (1, 1))),
}


@pytest.mark.parametrize("pad_values", [-1, 0, 1])
@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize(
    ("strides", "dilation", "groups"), [(1, 1, 1), (2, 1, 2), (1, 2, 1), ((2, 3), 1, 1)]
)
def test_borders_of_so_many_pixels(sides, strides, dilation, groups, pad_values, rng):
    given, padding = SIDES[sides]
    layer = nn.QuantConv2D(
        4, 3, strides, given, pad_values, dilation_rate=dilation, groups=groups, **BINARY
    )
    assert layer.padding == layer.from_config(layer.get_config()).padding == padding
    check(layer, (7, 8, 4), rng, groups)


@pytest.mark.parametrize("padding", [2, (1, 3), [[1, 3]]], ids=repr)
@pytest.mark.parametrize("pad_values", [-1, 0, 1])
def test_borders_of_sequences(padding, pad_values, rng):
    check(nn.QuantConv1D(3, 4, 2, padding, pad_values, **BINARY), (7, 2), rng)


def test_borders_of_channels_first():
    """TensorFlow has no such convolution on a CPU: shapes only."""
    layer = nn.QuantConv2D(4, 3, 2, (1, 0), 1, data_format="channels_first", **BINARY)
    assert layer.compute_output_shape((None, 2, 6, None)) == (None, 4, 3, None)
    padded, rule = layer.padded(np.zeros((1, 2, 6, 5), "float32"))
    assert (tuple(padded.shape), rule) == ((1, 2, 8, 5), "valid")


@pytest.mark.parametrize(
    ("padding", "rank"),
    [(-1, 2), (1.5, 2), ((1, 2, 3), 2), (((1, 1, 1), (1, 1, 1)), 2), ((1, -1), 1), (None, 2)],
    ids=repr,
)
def test_other_padding_is_refused(padding, rank):
    layer = nn.QuantConv1D if rank == 1 else nn.QuantConv2D
    with pytest.raises(ValueError, match=r"padding must be the name of a rule, an integer of at"):
        layer(4, 3, padding=padding)


def test_a_kernel_larger_than_the_padded_image_is_refused():
    layer = nn.QuantConv2D(4, 5, padding=1, name="wide", **BINARY)
    with pytest.raises(ValueError, match=r"padded input of wide must be at least as large as its"):
        layer.compute_output_shape((None, 2, 9, 3))


@pytest.mark.parametrize("pad_values", [-1, 1])
def test_conv3d(pad_values, rng):
    layer = nn.QuantConv3D(3, (3, 2, 3), (1, 2, 2), "same", pad_values, **BINARY)
    check(layer, (3, 4, 5, 2), rng)


@pytest.mark.parametrize("padding", ["same", ((1, 1), (1, 1))], ids=repr)
@pytest.mark.parametrize("pad_values", [-1, 1])
def test_depthwise(pad_values, padding, rng):
    x = rng.standard_normal((2, 6, 5, 3)).astype("float32")
    settings = {**DEPTHWISE_SIGN, **DEPTHWISE_CLIP, "depthwise_initializer": "zeros"}
    layer = nn.QuantDepthwiseConv2D(3, 2, padding, pad_values, 2, use_bias=False, **settings)
    y, w = signs_of(layer, x, rng)
    # A depthwise convolution is a grouped one with a group per channel.
    grouped = w.reshape(3, 3, 1, 6)
    expected = convolve(sign(x), grouped, (2, 2), (1, 1), padding, pad_values, groups=3)
    np.testing.assert_array_equal(y, expected)
    assert tuple(layer.compute_output_shape(x.shape)) == expected.shape


PADDED = {
    "conv1d": (nn.QuantConv1D, (4, 3), (1, 2), -4),
    "conv2d": (nn.QuantConv2D, (4, 3), (1, 1, 2), -16),
    "conv3d": (nn.QuantConv3D, (4, 3), (1, 1, 1, 2), -52),
    "depthwise": (nn.QuantDepthwiseConv2D, (3,), (1, 1, 2), -8),
    "separable1d": (nn.QuantSeparableConv1D, (4, 3), (1, 2), -4),
    "separable2d": (nn.QuantSeparableConv2D, (4, 3), (1, 1, 2), -16),
}


@pytest.mark.parametrize("padding", ["same", 1])
@pytest.mark.parametrize("name", PADDED)
def test_border_is_not_quantized(name, padding):
    """The quantizer would make it 0. One pixel of 0, a border of -1 and kernels of 1."""
    layer, arguments, size, expected = PADDED[name]
    settings = {"padding": padding, "pad_values": -1, "input_quantizer": "ste_heaviside"}
    original = layer(*arguments, use_bias=False, **settings)
    layer = layer.from_config(original.get_config())
    x = np.zeros((1, *size), "float32")
    layer.build(x.shape)
    layer.set_weights([np.ones(w.shape) for w in layer.weights])
    np.testing.assert_array_equal(evaluate(layer, x), expected)


def test_border_in_mixed_precision(rng):
    layer = nn.QuantConv2D(3, 3, 2, "same", -1, dtype="mixed_float16", **BINARY)
    check(layer, (6, 5, 2), rng)
    assert keras.backend.standardize_dtype(layer(np.zeros((1, 6, 5, 2), "f")).dtype) == "float16"


def test_sizes_unknown_when_the_model_is_built(rng):
    inputs = keras.Input((None, None, 2))
    layer = nn.QuantConv2D(3, 3, 2, "same", 1, **BINARY)
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, None, None, 3)
    (kernel,) = randomize(layer, rng)
    for size in itertools.product((4, 5), (6, 7)):
        x = rng.standard_normal((2, *size, 2)).astype("float32")
        expected = convolve(sign(x), sign(kernel), (2, 2), (1, 1), "same", 1)
        np.testing.assert_array_equal(model.predict(x, verbose=0), expected)


def test_channels_first(rng):
    settings = {**BINARY, "use_bias": True, "data_format": "channels_first"}
    layer = nn.QuantConv2D(4, 3, 2, "same", 1, **settings)
    x = rng.standard_normal((2, 2, 6, 5)).astype("float32")
    layer.build(x.shape)
    kernel, bias = randomize(layer, rng)
    # TensorFlow has this convolution on a CPU only under XLA.
    y = ops.convert_to_numpy(compiled(layer)(x))
    channels_last = sign(x).transpose(0, 2, 3, 1)
    expected = convolve(channels_last, sign(kernel), (2, 2), (1, 1), "same", 1) + bias
    np.testing.assert_allclose(y, expected.transpose(0, 3, 1, 2), rtol=1e-6)


@pytest.mark.parametrize("pad_values", [2, 0.5, None, "same"])
@pytest.mark.parametrize("layer", [nn.QuantConv1D, nn.QuantConv2D, nn.QuantSeparableConv2D])
def test_other_values_are_refused(layer, pad_values):
    with pytest.raises(ValueError, match=rf"pad_values must be -1, 0 or 1, got {pad_values!r}\."):
        layer(4, 3, pad_values=pad_values)
