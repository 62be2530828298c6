"""`pad_values` fills the border with -1, 0 or +1 after quantization, as a NumPy oracle does."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest

from bnnzoo import nn
from tests.backend import evaluate
from tests.nn.layers.cases import CLIP, DEPTHWISE_CLIP, DEPTHWISE_SIGN, SIGN


def borders(size, kernel, stride, dilation, padding):
    """TensorFlow's rule for "same": ceil(size / stride) outputs, the odd element at the end."""
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
    widths = [
        borders(*settings, padding)
        for settings in zip(x.shape[1:-1], w.shape[:rank], strides, dilation, strict=True)
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


def check(layer, x, **settings):
    """Compares a binary layer with the oracle, exactly: both are sums of signs."""
    y = evaluate(layer, x)
    w = sign(layer.get_weights()[0])
    expected = convolve(
        sign(x), w, layer.strides, layer.dilation_rate, layer.padding, layer.pad_values, **settings
    )
    np.testing.assert_array_equal(y, expected)
    assert tuple(layer.compute_output_shape(x.shape)) == expected.shape


GEOMETRY = [
    # size, kernel, strides, dilation
    ((6, 5), (3, 3), 1, 1),
    ((6, 5), (2, 4), 1, 1),
    ((7, 6), (3, 3), 2, 1),
    ((7, 8), (3, 2), (2, 3), 1),
    ((8, 7), (2, 1), 3, 1),
    ((7, 6), (3, 3), 1, (2, 3)),
    ((1, 1), (3, 5), 1, 1),
]
PADDINGS = [("same", -1), ("same", 0), ("same", 1), ("valid", 1)]


@pytest.mark.parametrize(("size", "kernel", "strides", "dilation"), GEOMETRY, ids=repr)
@pytest.mark.parametrize(("padding", "pad_values"), PADDINGS)
def test_conv2d(size, kernel, strides, dilation, padding, pad_values, rng):
    if padding == "valid" and size != (7, 8):
        size = (9, 10)
    layer = nn.QuantConv2D(
        3,
        kernel,
        strides,
        padding,
        pad_values,
        dilation_rate=dilation,
        use_bias=False,
        **SIGN,
        **CLIP,
    )
    check(layer, rng.standard_normal((2, *size, 2)).astype("float32"))


@pytest.mark.parametrize("pad_values", [-1, 1])
def test_conv2d_groups(pad_values, rng):
    layer = nn.QuantConv2D(4, 3, 2, "same", pad_values, groups=2, use_bias=False, **SIGN, **CLIP)
    check(layer, rng.standard_normal((2, 5, 6, 6)).astype("float32"), groups=2)


@pytest.mark.parametrize("pad_values", [-1, 0, 1])
@pytest.mark.parametrize(("padding", "strides"), [("causal", 1), ("causal", 2), ("same", 2)])
def test_conv1d(padding, strides, pad_values, rng):
    layer = nn.QuantConv1D(
        3,
        4,
        strides,
        padding,
        pad_values,
        dilation_rate=1 if strides > 1 else 2,
        use_bias=False,
        **SIGN,
        **CLIP,
    )
    check(layer, rng.standard_normal((2, 7, 2)).astype("float32"))


@pytest.mark.parametrize("pad_values", [-1, 1])
def test_conv3d(pad_values, rng):
    layer = nn.QuantConv3D(
        3, (3, 2, 3), (1, 2, 2), "same", pad_values, use_bias=False, **SIGN, **CLIP
    )
    check(layer, rng.standard_normal((2, 3, 4, 5, 2)).astype("float32"))


@pytest.mark.parametrize("pad_values", [-1, 1])
def test_depthwise(pad_values, rng):
    x = rng.standard_normal((2, 6, 5, 3)).astype("float32")
    layer = nn.QuantDepthwiseConv2D(
        3,
        2,
        "same",
        pad_values,
        depth_multiplier=2,
        use_bias=False,
        **DEPTHWISE_SIGN,
        **DEPTHWISE_CLIP,
    )
    y = evaluate(layer, x)
    w = sign(layer.get_weights()[0])
    # A depthwise convolution is a grouped one with a group per channel.
    grouped = w.reshape(3, 3, 1, 6)
    expected = convolve(sign(x), grouped, (2, 2), (1, 1), "same", pad_values, groups=3)
    np.testing.assert_array_equal(y, expected)


def test_border_keeps_the_dtype_of_mixed_precision(rng):
    layer = nn.QuantConv2D(
        3, 3, 2, "same", -1, use_bias=False, dtype="mixed_float16", **SIGN, **CLIP
    )
    check(layer, rng.standard_normal((2, 6, 5, 2)).astype("float32"))


def test_sizes_unknown_when_the_model_is_built(rng):
    inputs = keras.Input((None, None, 2))
    layer = nn.QuantConv2D(3, 3, 2, "same", 1, use_bias=False, **SIGN, **CLIP)
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, None, None, 3)
    w = sign(layer.get_weights()[0])
    for size in itertools.product((4, 5), (6, 7)):
        x = rng.standard_normal((2, *size, 2)).astype("float32")
        y = model.predict(x, verbose=0)
        np.testing.assert_array_equal(y, convolve(sign(x), w, (2, 2), (1, 1), "same", 1))


def test_channels_first(rng):
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow has no channels-first convolution on a CPU")
    layer = nn.QuantConv2D(
        3, 3, 2, "same", 1, data_format="channels_first", use_bias=False, **SIGN, **CLIP
    )
    x = rng.standard_normal((2, 4, 6, 5)).astype("float32")
    y = evaluate(layer, x)
    w = sign(layer.get_weights()[0])
    expected = convolve(sign(x).transpose(0, 2, 3, 1), w, (2, 2), (1, 1), "same", 1)
    np.testing.assert_array_equal(y, expected.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("pad_values", [2, 0.5, None, "same"])
@pytest.mark.parametrize("layer", [nn.QuantConv1D, nn.QuantConv2D, nn.QuantSeparableConv2D])
def test_other_values_are_refused(layer, pad_values):
    with pytest.raises(ValueError, match=rf"pad_values must be -1, 0 or 1, got {pad_values!r}\."):
        layer(4, 3, pad_values=pad_values)
