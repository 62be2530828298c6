"""MaxPooling2D with explicit padding against windows in NumPy, and against Keras's rules."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from bnnzoo import nn
from tests.backend import evaluate


@pytest.mark.parametrize("padding", [1, (1, 0), ((0, 1), (2, 1))])
@pytest.mark.parametrize("strides", [1, 2])
def test_the_border_never_is_the_maximum(padding, strides, rng):
    x = rng.standard_normal((2, 5, 6, 3)).astype("float32") - 10
    layer = nn.MaxPooling2D(3, strides=strides, padding=padding)
    sides = np.broadcast_to(padding, 2) if np.ndim(padding) < 2 else padding
    sides = [(side, side) if np.ndim(side) == 0 else side for side in sides]
    padded = np.pad(x, [(0, 0), *sides, (0, 0)], constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    expected = windows[:, ::strides, ::strides].max(axis=(-2, -1))
    np.testing.assert_array_equal(evaluate(layer, x), expected)
    assert layer.compute_output_shape(x.shape) == expected.shape


@pytest.mark.parametrize("rule", ["same", "valid"])
def test_rules_are_kerass(rule, rng):
    x = rng.standard_normal((2, 7, 6, 3)).astype("float32")
    ours, theirs = nn.MaxPooling2D(3, 2, rule), keras.layers.MaxPooling2D(3, 2, rule)
    np.testing.assert_array_equal(evaluate(ours, x), evaluate(theirs, x))
    assert ours.compute_output_shape(x.shape) == theirs.compute_output_shape(x.shape)


def test_is_rebuilt_from_its_config():
    layer = nn.MaxPooling2D(3, 2, 1)
    copy = nn.MaxPooling2D.from_config(layer.get_config())
    assert copy.padding == layer.padding == ((1, 1), (1, 1))
    assert copy.strides == (2, 2)


def test_padding_as_wide_as_the_window_is_refused():
    with pytest.raises(ValueError, match=r"must be smaller than the window \(2, 2\), got 2"):
        nn.MaxPooling2D(2, padding=2)
