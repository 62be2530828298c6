"""Bop flips what its formula and larq's Bop flip, and keeps its settings through a config."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from bnnzoo import nn
from tests.conftest import DATA

PiecewiseConstantDecay = keras.optimizers.schedules.PiecewiseConstantDecay
ExponentialDecay = keras.optimizers.schedules.ExponentialDecay

# The cases of tests/data/make_larq_bop.py. JSON-like, so that a schedule is new in every test.
LARQ_CASES = {
    "constant": lambda: nn.Bop(threshold=1e-2, gamma=0.1),
    "zero_threshold": lambda: nn.Bop(threshold=0.0, gamma=0.5),
    "high_threshold": lambda: nn.Bop(threshold=0.2, gamma=0.3),
    "scheduled": lambda: nn.Bop(
        threshold=PiecewiseConstantDecay([20], [1e-2, 5e-2]), gamma=ExponentialDecay(0.3, 10, 0.5)
    ),
}


def numpy_bop(w, m, gradient, threshold, gamma):
    """One step of the formula; a latent start value counts by its sign, with sign(0) = +1."""
    w = np.where(w < 0, -1, 1).astype("f")
    m = (1 - gamma) * m + gamma * gradient
    flip = (np.abs(m) > threshold) & (np.sign(m) == w)
    return np.where(flip, -w, w), m


def variable(value):
    return keras.Variable(np.asarray(value, "float32"))


def values(variable):
    return ops.convert_to_numpy(variable)


@pytest.mark.parametrize("case", LARQ_CASES)
def test_golden_of_larq(case):
    with np.load(DATA / "larq_bop.npz", allow_pickle=False) as golden:
        weights, gradients = variable(golden["weights"]), golden["gradients"]
        expected, average = golden[f"{case}/weights"], golden[f"{case}/m"]
    flips = np.count_nonzero(expected[1:] != expected[:-1])
    assert flips > 20, "the golden would not show a Bop that never flips"
    bop = LARQ_CASES[case]()
    for step, gradient in enumerate(gradients):
        bop.apply([ops.convert_to_tensor(gradient)], [weights])
        np.testing.assert_array_equal(values(weights), expected[step])
    # Two roundings per step of an average of size 0.1.
    np.testing.assert_allclose(values(bop._averages[0]), average, atol=1e-7)


def test_formula(rng):
    start = rng.uniform(-1, 1, 200).astype("f")
    start[:3] = 0.0, -0.0, -1e-9
    weights, bop = variable(start), nn.Bop(threshold=0.05, gamma=0.25)
    w, m = start, np.zeros(200)
    for _ in range(20):
        gradient = rng.standard_normal(200).astype("f") / 4
        bop.apply([ops.convert_to_tensor(gradient)], [weights])
        w, m = numpy_bop(w, m, gradient, 0.05, 0.25)
        np.testing.assert_array_equal(values(weights), w)


@pytest.mark.parametrize(
    ("w", "gradient", "expected"),
    [
        (1.0, 0.5, 1.0),  # |m| = threshold does not flip
        (1.0, 0.75, -1.0),
        (1.0, -0.75, 1.0),  # the gradient asks for more of the same sign
        (-1.0, -0.75, 1.0),
        (-1.0, 0.75, -1.0),
        (0.0, 0.0, 1.0),
        (-0.0, 0.0, 1.0),
        (-0.3, 0.0, -1.0),
    ],
)
def test_edges_of_a_flip(w, gradient, expected):
    weights = variable([w])
    nn.Bop(threshold=0.5, gamma=1.0).apply([ops.convert_to_tensor([gradient])], [weights])
    assert values(weights).item() == expected


def test_default_threshold_flips_at_small_gradients_only_of_the_right_sign():
    weights = variable([1.0, 1.0, -1.0, -1.0])
    nn.Bop().apply([ops.convert_to_tensor([2e-4, -2e-4, 2e-4, 0.0])], [weights])
    np.testing.assert_array_equal(values(weights), [-1, 1, -1, -1])


def test_float16_weights_are_binary():
    weights = keras.Variable(np.array([0.3, -0.3, 0.0], "float16"), dtype="float16")
    bop = nn.Bop(threshold=1e-3, gamma=0.5)
    bop.apply([ops.convert_to_tensor(np.array([1, 1, -1], "float16"))], [weights])
    np.testing.assert_array_equal(values(weights), np.array([-1, -1, 1], "float16"))


@pytest.mark.parametrize("case", LARQ_CASES)
def test_config_survives_json(case):
    bop = LARQ_CASES[case]()
    again = keras.optimizers.deserialize(keras.optimizers.serialize(bop))
    assert isinstance(again, nn.Bop)
    assert again.get_config() == bop.get_config()
    for step in (0, 25):
        bop.iterations.assign(step)
        again.iterations.assign(step)
        assert float(values(again.gamma)) == float(values(bop.gamma))
        assert float(values(again.threshold)) == float(values(bop.threshold))


def test_gamma_is_the_learning_rate():
    bop = nn.Bop(gamma=0.25)
    bop.learning_rate = 0.5
    assert float(values(bop.gamma)) == 0.5
    bop.gamma = 0.125
    assert float(values(bop.learning_rate)) == 0.125
    assert bop.get_config()["gamma"] == 0.125


def test_threshold_is_state():
    bop = nn.Bop(threshold=0.25)
    bop.threshold = 0.5
    assert float(values(bop.threshold)) == 0.5
    assert any(v is bop.threshold for v in bop.variables), "not saved, and constant under jit"


def test_a_scheduled_threshold_cannot_be_set():
    with pytest.raises(TypeError, match="threshold must be a float to be settable"):
        LARQ_CASES["scheduled"]().threshold = 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"threshold": -1e-3},
            "threshold must be a number of at least 0 or a schedule, got -0.001",
        ),
        ({"threshold": "1e-8"}, "threshold must be a number"),
        ({"gamma": 1.5}, "gamma must be a number from 0 to 1 or a schedule, got 1.5"),
        ({"gamma": None}, "gamma must be a number"),
        ({"weight_decay": 1e-4}, "weight_decay must be off in Bop, got 0.0001"),
        ({"use_ema": True}, "use_ema must be off in Bop"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        nn.Bop(**arguments)


@pytest.mark.parametrize(
    ("quantizer", "binary"),
    [
        ("ste_sign", True),
        ("xnor_weight_scale", True),
        (nn.NoOp(bits=1), True),
        (nn.NoOp(), False),
        ("ste_tern", False),
        (nn.DoReFa(mode="weights"), False),
        (lambda x: x, False),
        (None, False),
    ],
    ids=["ste_sign", "xnor", "no_op_1", "no_op", "ste_tern", "dorefa", "function", "none"],
)
def test_is_binary_variable(quantizer, binary):
    layer = nn.QuantDense(3, kernel_quantizer=quantizer, kernel_constraint="weight_clip")
    layer.build((None, 4))
    assert nn.Bop.is_binary_variable(layer.kernel) is binary
    assert not nn.Bop.is_binary_variable(layer.bias)


def test_is_binary_variable_of_every_kernel_of_a_separable_convolution():
    layer = nn.QuantSeparableConv2D(
        4, 3, depthwise_quantizer="ste_sign", depthwise_constraint="weight_clip"
    )
    layer.build((None, 8, 8, 3))
    marks = {v.name: nn.Bop.is_binary_variable(v) for v in layer.weights}
    assert marks == {"depthwise_kernel": True, "pointwise_kernel": False, "bias": False}


def test_is_binary_variable_after_cloning():
    layer = nn.QuantDense(3, kernel_quantizer="ste_sign", kernel_constraint="weight_clip")
    model = keras.Sequential([keras.Input((4,)), layer])
    clone = keras.models.clone_model(model)
    assert nn.Bop.is_binary_variable(clone.layers[0].kernel)
