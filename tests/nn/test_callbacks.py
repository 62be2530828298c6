"""The callbacks set what the train step uses, and log what the weights do."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from bnnzoo import nn

SGD, Adam = keras.optimizers.SGD, keras.optimizers.Adam
STEPS, EPOCHS, BATCH = 3, 2, 4
FROM_0 = {"epoch": [0, 0, 0, 1, 1, 1], "step": [0, 1, 2, 3, 4, 5]}


def data():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((STEPS * BATCH, 2)).astype("f")
    return x, (x @ np.array([[1.0], [-2.0]])).astype("f")


def linear(optimizer):
    """y = x w; its gradient is easy to restate."""
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = keras.Sequential([keras.Input((2,)), layer])
    jit_compile = "auto" if keras.backend.backend() == "jax" else False
    model.compile(optimizer, loss="mse", jit_compile=jit_compile)
    return model


def binary(optimizer):
    keras.utils.set_random_seed(2)
    options = {"kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip"}
    layers = [nn.QuantDense(8, name="a", **options), nn.QuantDense(1, name="b", **options)]
    model = keras.Sequential([keras.Input((2,)), *layers], name="net")
    jit_compile = "auto" if keras.backend.backend() == "jax" else False
    model.compile(optimizer, loss="mse", jit_compile=jit_compile)
    return model


def recipe():
    return nn.CaseOptimizer((nn.Bop.is_binary_variable, nn.Bop()), default_optimizer=Adam())


def fit(model, *callbacks):
    x, y = data()
    return model.fit(
        x, y, batch_size=BATCH, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=list(callbacks)
    ).history


def numpy_sgd(rates, momenta):
    """w after SGD with momentum, one learning rate and momentum for each step."""
    x, y = data()
    w, v = np.ones((2, 1)), np.zeros((2, 1))
    for step, (rate, momentum) in enumerate(zip(rates, momenta, strict=True)):
        batch = slice(step % STEPS * BATCH, (step % STEPS + 1) * BATCH)
        gradient = 2 / BATCH * x[batch].T @ (x[batch] @ w - y[batch])
        v = momentum * v - rate * gradient
        w = w + v
    return w


def weights(model):
    return ops.convert_to_numpy(model.layers[-1].kernel)


@pytest.mark.parametrize("update_freq", ["epoch", "step"])
@pytest.mark.parametrize("hyperparameter", ["learning_rate", "momentum"])
def test_scheduled_values_are_those_of_the_train_step(hyperparameter, update_freq):
    def schedule(time):
        return 0.1 * 0.5**time

    model = linear(SGD(0.05, momentum=0.5))
    history = fit(model, nn.HyperparameterScheduler(schedule, hyperparameter, None, update_freq))
    values = {"learning_rate": [0.05] * 6, "momentum": [0.5] * 6}
    values[hyperparameter] = [schedule(time) for time in FROM_0[update_freq]]
    expected = numpy_sgd(values["learning_rate"], values["momentum"])
    np.testing.assert_allclose(weights(model), expected, rtol=1e-5)
    logged = [values[hyperparameter][STEPS - 1], values[hyperparameter][-1]]
    assert history[hyperparameter] == pytest.approx(logged)


def test_steps_go_on_in_a_second_fit():
    seen = []

    def schedule(step):
        seen.append(step)
        return 0.1

    model = linear(SGD())
    fit(model, nn.HyperparameterScheduler(schedule, "learning_rate", update_freq="step"))
    fit(model, nn.HyperparameterScheduler(schedule, "learning_rate", update_freq="step"))
    assert seen == list(range(12))


@pytest.mark.parametrize("which", ["found", "given"])
def test_inner_optimizer(which):
    model = binary(recipe())
    bop, adam = (case.optimizer for case in model.optimizer.cases)
    optimizer = bop if which == "given" else None
    history = fit(
        model,
        nn.HyperparameterScheduler(lambda epoch: 0.5 / (1 + epoch), "gamma", optimizer),
        nn.HyperparameterScheduler(lambda epoch: 0.25, "threshold", optimizer),
        nn.HyperparameterScheduler(lambda epoch: 0.125, "learning_rate"),
        nn.HyperparameterScheduler(lambda epoch: 0.75, "beta_1", log_name="adam_beta_1"),
    )
    assert history["gamma"] == [0.5, 0.25]
    assert history["threshold"] == [0.25, 0.25]
    assert history["learning_rate"] == [0.125, 0.125]
    assert history["adam_beta_1"] == [0.75, 0.75]
    assert float(ops.convert_to_numpy(adam.learning_rate)) == 0.125


def test_optimizer_inside_a_loss_scale_optimizer():
    model = binary(keras.optimizers.LossScaleOptimizer(recipe()))
    steps = []

    def schedule(step, value):
        steps.append(step)
        return value / 2

    start = float(ops.convert_to_numpy(nn.Bop().gamma))
    history = fit(model, nn.HyperparameterScheduler(schedule, "gamma", update_freq="step"))
    assert steps == [0, 1, 2, 3, 4, 5]
    assert history["gamma"] == pytest.approx([start / 2**3, start / 2**6])


def test_schedule_that_takes_the_old_value():
    model = linear(SGD(0.5))
    history = fit(model, nn.HyperparameterScheduler(lambda _, lr: lr / 2, "learning_rate"))
    assert history["learning_rate"] == [0.25, 0.125]


def test_keras_schedule():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.5, 0.25])
    history = fit(linear(SGD()), nn.HyperparameterScheduler(schedule, "learning_rate"))
    assert history["learning_rate"] == [0.5, 0.25]


def test_default_arguments_of_a_schedule_stay():
    def schedule(epoch, start=0.5):
        return start / (1 + epoch)

    history = fit(linear(SGD(0.1)), nn.HyperparameterScheduler(schedule, "learning_rate"))
    assert history["learning_rate"] == [0.5, 0.25]


def test_verbose(capsys):
    fit(linear(SGD()), nn.HyperparameterScheduler(lambda _: 0.25, "learning_rate", verbose=1))
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 0: learning_rate is now 0.25.",
        "Epoch 1: learning_rate is now 0.25.",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.1, "gamma"), "schedule must be callable, got 0.1"),
        ((abs, "gamma", None, "batch"), "update_freq must be 'epoch' or 'step', got 'batch'"),
    ],
    ids=["schedule", "update_freq"],
)
def test_arguments_that_cannot_work(arguments, message):
    with pytest.raises(ValueError, match=message):
        nn.HyperparameterScheduler(*arguments)


def scheduled(optimizer):
    return optimizer(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5))


def two_sgds():
    return nn.CaseOptimizer(
        (nn.Bop.is_binary_variable, SGD(name="a")), default_optimizer=SGD(name="b")
    )


@pytest.mark.parametrize(
    ("optimizer", "hyperparameter", "given", "message"),
    [
        (recipe, "gama", None, r"got 'gama', which none of \[.*'bop'.*\] has. Check the name"),
        (two_sgds, "momentum", None, r"got 'momentum', which all of \['a', 'b'\] has. Pass optim"),
        (recipe, "gamma", nn.Bop, "must be one that the model trains with, got 'bop'. For a"),
        (lambda: scheduled(Adam), "learning_rate", None, "learning_rate .* must be a number to be"),
        (SGD, "nesterov", None, "nesterov of optimizer .* must be a number to be scheduled, got F"),
        (SGD, "apply", None, "apply of optimizer .* must be a number to be scheduled"),
    ],
    ids=["unknown", "ambiguous", "stranger", "schedule", "flag", "method"],
)
def test_hyperparameters_that_cannot_be_scheduled(optimizer, hyperparameter, given, message):
    model = binary(optimizer())
    callback = nn.HyperparameterScheduler(lambda _: 0.1, hyperparameter, given and given())
    with pytest.raises(ValueError, match=message):
        fit(model, callback)


class Recorder(keras.callbacks.Callback):
    """Keeps the kernels before the first step and after every one."""

    def __init__(self):
        super().__init__()
        self.kernels = []

    def on_train_begin(self, logs=None):
        self.kernels.append(self.model.get_weights()[::2])

    def on_train_batch_end(self, batch, logs=None):
        self.kernels.append(self.model.get_weights()[::2])


@pytest.mark.parametrize("update_freq", ["epoch", "step"])
def test_flip_ratios_of_every_binary_layer(update_freq):
    model, recorder = binary(SGD(0.5)), Recorder()
    history = fit(model, recorder, nn.FlipRatioLogger(update_freq))
    for index, layer in enumerate(model.layers):
        signs = np.array([kernels[index] >= 0 for kernels in recorder.kernels])
        if update_freq == "step":
            changes = [np.mean(a != b) for a, b in itertools.pairwise(signs)]
            expected = [np.mean(changes[:STEPS]), np.mean(changes[STEPS:])]
        else:
            ends = signs[::STEPS]
            expected = [np.mean(a != b) for a, b in itertools.pairwise(ends)]
        logged = history[f"flip_ratio/{layer.kernel.path}"]
        assert logged == pytest.approx(expected)
    assert max(expected) > 0, "nothing flips: the test shows nothing"


def test_flip_ratio_logger_without_binary_layers():
    with pytest.raises(ValueError, match="must train binary kernels to log their flips, got none"):
        fit(linear(SGD()), nn.FlipRatioLogger())


def test_flip_ratio_logger_frequency():
    with pytest.raises(ValueError, match="update_freq must be 'epoch' or 'step', got 'batch'"):
        nn.FlipRatioLogger("batch")
