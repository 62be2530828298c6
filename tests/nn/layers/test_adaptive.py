"""AdaptiveSign and Maxout against AdaBin's formulas in NumPy, values and gradients."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from bnnzoo import nn
from tests.backend import evaluate, gradient, layer_gradients

C = 4
X = np.array([[-2.0, -0.5, 0.0, 0.25], [1.5, -0.0, 0.75, -1.0]], np.float32)


def adaptive(scale, center):
    constant = keras.initializers.Constant
    return nn.AdaptiveSign(constant(scale), constant(center))


@pytest.mark.parametrize("scale, center", [(1.0, 0.0), (0.5, 0.25), (2.0, -0.5), (-0.5, 0.25)])
def test_adaptive_sign_is_the_papers_formula(scale, center):
    z = (X - center) / scale
    expected = scale * (np.where(z < 0, -1.0, 1.0) + center)
    np.testing.assert_allclose(evaluate(adaptive(scale, center), X), expected, rtol=1e-6)


def test_adaptive_sign_gradients(rng):
    """By x, and by scale and center, through both of their places in the formula."""
    scale, center = 0.5, 0.25
    upstream = rng.standard_normal(X.shape).astype("float32")
    layer = adaptive(scale, center)
    layer.build(X.shape)
    _, dx, (dscale, dcenter) = layer_gradients(layer, X, upstream)
    z = (X.astype("float64") - center) / scale
    slope = np.maximum(2 - 2 * np.abs(z), 0)
    np.testing.assert_allclose(dx, upstream * slope, rtol=1e-5, atol=1e-6)
    by_scale = np.where(z < 0, -1, 1) + center - slope * z
    np.testing.assert_allclose(dscale, (upstream * by_scale).sum(), rtol=1e-5)
    np.testing.assert_allclose(dcenter, (upstream * (scale - slope)).sum(), rtol=1e-5)


def test_adaptive_sign_trains_as_a_quantizer_of_a_layer():
    layer = nn.QuantDense(3, input_quantizer=nn.AdaptiveSign(), kernel_quantizer="centered_sign")
    layer.build((None, C))
    assert {v.name for v in layer.trainable_variables} == {"kernel", "bias", "scale", "center"}
    restored = nn.QuantDense.from_config(layer.get_config())
    assert isinstance(restored.input_quantizer, nn.AdaptiveSign)


def maxout(positive, negative):
    layer = nn.Maxout()
    layer.build((None, C))
    layer.set_weights([np.float32(positive), np.float32(negative)])
    return layer


def test_maxout_is_the_papers_formula():
    p, q = np.float32([1.5, -0.5, 0.25, 2]), np.float32([0.25, 0.5, -0.75, 2])
    expected = p * np.maximum(X, 0) - q * np.maximum(-X, 0)
    np.testing.assert_allclose(evaluate(maxout(p, q), X), expected, rtol=1e-6)


def test_maxout_gradient_at_zero_is_that_of_positive_inputs():
    p, q = [1.5, -0.5, 0.25, 2], [0.25, 0.5, -0.75, 2]
    layer = maxout(p, q)
    np.testing.assert_array_equal(gradient(lambda x: ops.sum(layer(x)), X), np.where(X >= 0, p, q))


@pytest.mark.parametrize("layer", [adaptive(0.5, 0.25), nn.Maxout("zeros", "ones")])
def test_is_rebuilt_from_its_config(layer):
    copy = type(layer).from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    np.testing.assert_array_equal(evaluate(copy, X), evaluate(layer, X))
    assert copy.compute_output_shape((None, C)) == (None, C)
