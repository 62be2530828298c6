"""Steps of the native optimizers, compared with those of Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from bnnzoo import nn
from bnnzoo.training import Phase
from bnnzoo.training.native import engine
from bnnzoo.training.native.building import build
from bnnzoo.training.native.updates import Updates
from bnnzoo.training.optimizers import make_optimizer

PHASES = {
    "adam": Phase(2, learning_rate=0.01, warmup_epochs=1),
    "weight_decay": Phase(2, learning_rate=0.1, weight_decay=0.1, epsilon=1e-3),
    "clip_norm": Phase(2, learning_rate=0.01, clip_norm=0.5),
    "sgd": Phase(2, binary_optimizer="sgd", float_optimizer="sgd", learning_rate=0.1),
    "sgd_and_adam": Phase(2, binary_optimizer="sgd", learning_rate=0.1, float_learning_rate=0.01),
    "bop": Phase(2, binary_optimizer="bop", bop_gamma=0.1, bop_threshold=1e-3),
}


def network() -> Any:
    keras.utils.set_random_seed(5)
    inputs = keras.Input((4, 4, 3))
    x = layers.BatchNormalization()(inputs)
    x = nn.QuantConv2D(
        6, 3, input_quantizer="ste_sign", kernel_quantizer="ste_sign",
        kernel_constraint=nn.WeightClip(0.2),
    )(x)  # fmt: skip
    x = layers.Dense(5)(layers.Flatten()(x))
    return keras.Model(inputs, layers.Activation("softmax")(x))


@pytest.mark.parametrize("phase", PHASES)
def test_steps_are_those_of_keras(rng, phase):
    ours, theirs = network(), network()
    optimizers = [make_optimizer(PHASES[phase], model, 2) for model in (ours, theirs)]
    for optimizer, model in zip(optimizers, (ours, theirs), strict=True):
        optimizer.build(model.trainable_variables)
    made = build(ours, 1)
    updates = Updates(made, optimizers[0])
    for _ in range(2):  # a second epoch begins with the state of the first
        engine.load(made)
        updates.load()
        for _ in range(2):
            gradients = [rng.normal(0, 1, v.shape) for v in theirs.trainable_variables]
            numbers = dict(zip(map(id, ours.trainable_variables), gradients, strict=True))
            for binding in made.bindings:
                if binding.trained:
                    made.network.gradients[binding.place] = np.ravel(numbers[id(binding.variable)])
            updates.step()
            optimizers[1].apply(
                [ops.convert_to_tensor(g, "float32") for g in gradients], theirs.trainable_variables
            )
        engine.store(made)
        updates.store()
    for ours_, theirs_ in zip(
        [*ours.variables, *optimizers[0].variables],
        [*theirs.variables, *optimizers[1].variables],
        strict=True,
    ):
        # Keras computes 1 - beta^t in float32, with an error of 3e-5 at first: of steps of 0.1.
        np.testing.assert_allclose(np.array(ours_), np.array(theirs_), rtol=1e-5, atol=3e-6)
