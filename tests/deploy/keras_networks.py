"""Weights for Keras models under test: none of the kindness of a fresh initialisation."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tests.architectures.larq_zoo import seeded_weight


def seed_weights(model: keras.Model) -> keras.Model:
    """Fills every weight by the recipe of tests/data: some gammas are negative, every 7th is 0.

    Means and variances of batch norms are those of random inputs, so that values neither grow nor
    vanish through a deep network.
    """
    norms = []
    index = 0
    for layer in model._flatten_layers():
        for variable in [] if isinstance(layer, keras.Model) else layer.weights:
            variable.assign(_weight(variable.name, index, tuple(variable.shape)))
            index += 1
        if isinstance(layer, keras.layers.BatchNormalization):
            norms.append(layer)
    _calibrate(model, norms)
    return model


def _weight(kind: str, index: int, shape: tuple[int, ...]) -> np.ndarray:
    if kind.startswith("moving_"):
        return np.full(shape, float(kind == "moving_variance"), np.float32)
    if kind == "alpha":
        return np.random.RandomState(index).uniform(-0.5, 1.5, shape).astype(np.float32)
    value = seeded_weight(kind, index, shape)
    if kind == "gamma":
        value[3::7] = 0
    return value


def _calibrate(model: keras.Model, norms: list[Any]) -> None:
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    if norms:
        model(random_images(model, 4), training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        variance = np.array(keras.ops.convert_to_numpy(norm.moving_variance))
        norm.moving_variance.assign(np.where(variance > 1e-6, variance, 1.0))


def random_images(model: keras.Model, count: int, seed: int = 11) -> np.ndarray:
    """Returns standard normal inputs of a model."""
    shape = (count, *model.input_shape[1:])
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)
