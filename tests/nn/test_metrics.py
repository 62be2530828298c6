"""FlipRatio is the mean share of signs that changed, as restated in NumPy."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from bnnzoo import nn


def flip_ratio(sequence):
    """Mean over consecutive pairs of the share of differing signs, sign(0) = sign(-0.0) = +1."""
    negative = [np.asarray(values) < 0 for values in sequence]
    pairs = itertools.pairwise(negative)
    return np.mean([np.mean(before != after) for before, after in pairs])


def result(metric):
    return float(ops.convert_to_numpy(metric.result()))


def test_formula(rng):
    sequence = rng.uniform(-1, 1, (7, 3, 4, 5)).astype("f")
    metric = nn.FlipRatio()
    for values in sequence:
        metric.update_state(values)
    assert 0.3 < result(metric) < 0.7
    assert result(metric) == pytest.approx(flip_ratio(sequence), rel=1e-6)


@pytest.mark.parametrize(
    ("sequence", "expected"),
    [
        ([[1.0, 1.0]], 0.0),
        ([[1.0, 1.0], [1.0, -1.0]], 0.5),
        ([[1.0, 1.0], [0.5, -1.0], [-1.0, -1.0]], 0.5),
        ([[1.0, -1.0], [-0.5, 0.5]], 1.0),
        ([[1.0, 1.0], [0.0, -0.0]], 0.0),
        ([[0.0, -0.0], [1.0, -1e-30]], 0.5),
    ],
    ids=["one", "half", "mean", "latent", "zeros_are_positive", "from_zeros"],
)
def test_small_sequences(sequence, expected):
    metric = nn.FlipRatio()
    for values in sequence:
        metric.update_state(np.array(values, "f"))
    assert result(metric) == expected


def test_nothing_to_compare_with():
    assert result(nn.FlipRatio()) == 0.0


def test_reset_keeps_the_signs():
    metric = nn.FlipRatio()
    metric.update_state([1.0, 1.0])
    metric.update_state([-1.0, -1.0])
    metric.reset_state()
    assert result(metric) == 0.0
    metric.update_state([-1.0, 1.0])
    assert result(metric) == 0.5


def test_variables_can_be_given():
    layer = nn.QuantDense(3, kernel_quantizer="ste_sign", kernel_constraint="weight_clip")
    layer.build((None, 4))
    metric = nn.FlipRatio()
    metric.update_state(layer.kernel)
    layer.kernel.assign(-ops.convert_to_tensor(layer.kernel))
    metric.update_state(layer.kernel)
    assert result(metric) == 1.0


def test_another_shape():
    metric = nn.FlipRatio()
    metric.update_state([1.0, 1.0])
    with pytest.raises(ValueError, match=r"must have the shape \(2,\) of the first update"):
        metric.update_state([1.0, 1.0, 1.0])


def test_stateless_update_once_it_is_built():
    metric = nn.FlipRatio()
    metric.build((2,))
    state = [variable.value for variable in metric.variables]
    for values in ([1.0, 1.0], [1.0, -1.0]):
        state = metric.stateless_update_state(state, ops.convert_to_tensor(values))
    assert float(ops.convert_to_numpy(metric.stateless_result(state))) == 0.5


def test_config():
    metric = nn.FlipRatio(name="flips")
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert isinstance(again, nn.FlipRatio)
    assert again.name == "flips"
