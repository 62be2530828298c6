"""LearnableShift and RPReLU against the paper's formulas in NumPy, values and gradients."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from bnnzoo import nn
from tests.backend import evaluate, gradient

C = 3
X = np.array([[-2.0, -0.5, 0.0], [1.5, -0.0, 0.25]], np.float32)


def built(layer, rng):
    layer.build((None, C))
    layer.set_weights([rng.standard_normal(w.shape).astype("float32") for w in layer.weights])
    return layer


def test_shift_adds_a_number_to_each_channel(rng):
    layer = built(nn.LearnableShift(), rng)
    (shift,) = layer.get_weights()
    np.testing.assert_array_equal(evaluate(layer, X), X + shift)


def test_rprelu_is_the_papers_formula(rng):
    """beta_i (x - gamma_i) + zeta_i where x <= gamma_i, x - gamma_i + zeta_i above."""
    layer = built(nn.RPReLU(), rng)
    weights = {w.name: ops.convert_to_numpy(w) for w in layer.weights}
    gamma, beta, zeta = -weights["input_shift"], weights["alpha"], weights["output_shift"]
    expected = np.where(gamma < X, X - gamma + zeta, beta * (X - gamma) + zeta)
    np.testing.assert_allclose(evaluate(layer, X), expected, rtol=1e-6, atol=1e-6)


def test_rprelu_gradients():
    """At the turning point itself the slope is 1, on every backend."""
    layer = nn.RPReLU()
    layer.build((None, C))
    np.testing.assert_array_equal(
        gradient(lambda x: ops.sum(layer(x)), X), np.where(X >= 0, 1.0, 0.25)
    )


def test_start_as_torchs_prelu():
    layer = nn.RPReLU()
    np.testing.assert_array_equal(evaluate(layer, X), np.where(X >= 0, X, np.float32(0.25) * X))


@pytest.mark.parametrize("kind", [nn.LearnableShift, nn.RPReLU])
def test_is_rebuilt_from_its_config(kind):
    layer = kind(shift_initializer="ones", name="own")
    copy = kind.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    copy.build((None, C))
    assert ops.convert_to_numpy(copy.weights[0]).tolist() == [1.0] * C
    assert copy.compute_output_shape((None, 4, C)) == (None, 4, C)
