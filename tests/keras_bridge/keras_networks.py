"""Weights for Keras models under test: none of the kindness of a fresh initialisation."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from bnnzoo import nn
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


def put_thresholds_on_counts(
    norm: keras.layers.BatchNormalization, K: int, unit: float = 1, origin: float = 0
) -> None:
    """Lets a batch norm change its sign within some roundings of a sum of K signs.

    Args:
        norm: Of unit * sum + origin.
        K: Of how many signs.
        unit: What a count is worth.
        origin: What the count 0 is.
    """
    rng = np.random.RandomState(K)
    size = norm.moving_mean.shape[0]
    count = K - 2 * rng.randint(0, K + 1, size) + K * rng.uniform(-4, 4, size) * 2.0**-24
    slope = rng.choice([-1, 1], size) * rng.uniform(0.1, 2, size) if norm.scale else np.ones(size)
    variance = rng.uniform(0.3, 3, size) * K * unit**2
    beta = rng.normal(size=size) if norm.center else np.zeros(size)
    mean = unit * count + origin + beta * np.sqrt(variance + norm.epsilon) / slope
    values = {"gamma": slope, "beta": beta, "moving_mean": mean, "moving_variance": variance}
    for variable in norm.weights:
        variable.assign(values[variable.name].astype(np.float32))


def counting(
    K: int,
    *between: Any,
    norm: Any = None,
    unit: float = 1,
    origin: float = 0,
    **dense: Any,
) -> keras.Model:
    """Returns a network of two outputs: signs of a batch norm of sums of K signs, and the norm.

    Args:
        K: Of how many signs.
        between: Layers between the sums and the batch norm.
        norm: The batch norm; None takes Keras's default.
        unit: What the layers in front of the norm make of a count.
        origin: And of the count 0.
        dense: Settings of the layer that counts.
    """
    inputs = keras.Input((K,))
    settings = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign", "use_bias": False}
    x = nn.QuantDense(64, **{**settings, **dense})(inputs)
    for layer in between:
        x = layer(x)
    norm = norm or keras.layers.BatchNormalization()
    x = norm(x)
    model = keras.Model(inputs, [keras.layers.Activation(nn.SteSign())(x), x])
    for variable in model.layers[1].weights:
        variable.assign(np.full(variable.shape, 0.03 if variable.name == "kernel" else 1))
    put_thresholds_on_counts(norm, K, unit, origin)
    return model


def every_count(K: int) -> np.ndarray:
    """Returns the inputs that give every sum of K signs."""
    return np.where(np.arange(K) < np.arange(K + 1)[:, None], 1, -1).astype(np.float32)
