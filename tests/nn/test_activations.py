"""hard_tanh and leaky_tanh equal their formulas, value and gradient, and survive saving."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from bnnzoo import nn
from tests.backend import gradient

X = np.array([-3.0, -1.5, -1.0, -0.25, -0.0, 0.0, 0.5, 1.0, 2.0], "float32")
CASES = {
    "hard_tanh": (nn.hard_tanh, np.clip(X, -1, 1), np.abs(X) <= 1),
    "leaky_tanh": (
        nn.leaky_tanh,
        np.where(np.abs(X) <= 1, X, np.sign(X) * (1 + 0.2 * (np.abs(X) - 1))),
        np.where(np.abs(X) <= 1, 1, 0.2),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_formula(name):
    activation, value, slope = CASES[name]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(activation(X)), value, rtol=1e-6)
    np.testing.assert_allclose(gradient(activation, X), slope, rtol=1e-6)


def test_leaky_tanh_slope():
    y = keras.ops.convert_to_numpy(nn.leaky_tanh(X, alpha=0.5))
    np.testing.assert_allclose(y[[0, -1]], [-2, 1.5])


@pytest.mark.parametrize("name", CASES)
def test_save(name, tmp_path):
    inputs = keras.Input((9,))
    model = keras.Model(inputs, keras.layers.Activation(CASES[name][0])(inputs))
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(restored(X[None]))[0], CASES[name][1], rtol=1e-6
    )
