"""The schedule follows its formula at every step, also when compiled into an optimizer."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from bnnzoo.errors import ArgumentError
from bnnzoo.training.schedules import WarmupDecay

FORMULAS = {
    "cosine": lambda p: (1 + np.cos(np.pi * p)) / 2,
    "linear": lambda p: 1 - p,
    "poly": lambda p: (1 - p) ** 0.9,
    "constant": lambda p: np.ones_like(p),
}


@pytest.mark.parametrize("warmup", [0, 1, 4, 10])
@pytest.mark.parametrize("decay", FORMULAS)
def test_the_formula(decay, warmup):
    schedule = WarmupDecay(0.2, 10, warmup, decay, drops=[(5, 0.1)])  # which are for steps only
    t = np.arange(13)
    p = np.clip((t - warmup) / max(10 - warmup, 1), 0, 1)
    expected = 0.2 * np.where(t < warmup, (t + 1) / max(warmup, 1), FORMULAS[decay](p))
    values = [float(ops.convert_to_numpy(schedule(step))) for step in t]
    np.testing.assert_allclose(values, expected, atol=1e-7)  # float32 of values up to 0.2


def test_an_optimizer_saves_and_follows_it():
    optimizer = keras.optimizers.Adam(WarmupDecay(0.2, 10, 2, "linear"))
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    copy.build([keras.Variable([0.0])])
    copy.iterations.assign(6)
    rate = float(ops.convert_to_numpy(copy.learning_rate))
    assert rate == pytest.approx(0.1)


def test_steps_hold_a_share_from_each_drop_on():
    schedule = WarmupDecay(0.2, 10, 2, "steps", drops=[(4, 0.5), (7, 0.1)])
    values = [float(ops.convert_to_numpy(schedule(step))) for step in range(11)]
    expected = [0.1, 0.2, 0.2, 0.2, 0.1, 0.1, 0.1, 0.02, 0.02, 0.02, 0.02]
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    copy = WarmupDecay.from_config(schedule.get_config())
    assert [float(ops.convert_to_numpy(copy(step))) for step in range(11)] == values


@pytest.mark.parametrize(
    "arguments", [{"decay": "step"}, {"warmup_steps": 11}, {"warmup_steps": -1}], ids=str
)
def test_wrong_arguments(arguments):
    with pytest.raises(ArgumentError, match="must be"):
        WarmupDecay(0.1, 10, **arguments)
