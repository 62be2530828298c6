"""A weight file that a user's own Larq code wrote gives Larq's outputs and binary weights here."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from bnnzoo import nn

DATA = Path(__file__).parents[1] / "data"
BINARY = {
    "input_quantizer": "ste_sign",
    "kernel_quantizer": "ste_sign",
    "kernel_constraint": "weight_clip",
    "use_bias": False,
}


@pytest.fixture
def model() -> keras.Model:
    """The network of tests/data/make_larq_network.py, in bnnzoo's layers."""
    model = keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            nn.QuantConv2D(8, 3, kernel_quantizer="ste_sign", kernel_constraint="weight_clip"),
            keras.layers.BatchNormalization(scale=False),
            nn.QuantConv2D(16, 3, strides=2, padding="same", pad_values=1.0, **BINARY),
            keras.layers.BatchNormalization(scale=False),
            keras.layers.Flatten(),
            nn.QuantDense(10, **BINARY),
            keras.layers.BatchNormalization(scale=False),
            keras.layers.Activation("softmax"),
        ]
    )
    model.load_weights(DATA / "larq_network.h5")
    return model


@pytest.fixture
def larq() -> dict[str, np.ndarray]:
    with np.load(DATA / "larq_network.npz") as arrays:
        return dict(arrays)


def test_probabilities_are_larqs(model, larq):
    found = model.predict(larq["x"], verbose=0)
    # Sums of float32 in another order; one flipped sign would change them by more than 1e-3.
    np.testing.assert_allclose(found, larq["probabilities"], atol=1e-5)


def test_binary_weights_are_larqs(model, larq):
    kernels = list(nn.binary_weights(model).values())
    assert len(kernels) == 3
    for i, kernel in enumerate(kernels):
        np.testing.assert_array_equal(kernel.values, larq[f"binary/{i}"])
        assert kernel.scale is None


def test_latent_weights_are_read_too(model):
    latent = np.array(model.layers[0].kernel)
    assert 0 < np.abs(latent).min() < np.abs(latent).max() <= 1
