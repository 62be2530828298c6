"""CaseOptimizer trains each variable by its optimizer, and resumes as if it had not stopped."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from bnnzoo import nn

SGD, Adam = keras.optimizers.SGD, keras.optimizers.Adam


@keras.saving.register_keras_serializable(package="bnnzoo_tests")
def is_bias(variable):
    return variable.name == "bias"


def is_kernel(variable):
    return variable.name == "kernel"


def always(variable):
    return True


def never(variable):
    return False


def network():
    keras.utils.set_random_seed(3)
    binary = {"kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip"}
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(5),
            keras.layers.BatchNormalization(),
            nn.QuantDense(4, use_bias=False, input_quantizer="ste_sign", **binary),
            keras.layers.BatchNormalization(),
            nn.QuantDense(3, input_quantizer="ste_sign", **binary),
        ]
    )


def data():
    rng = np.random.default_rng(5)
    # JAX warns of labels in 64 bits, which it has not.
    return rng.standard_normal((32, 6)).astype("f"), rng.integers(0, 3, 32, dtype=np.int32)


def compiled(optimizer):
    model = network()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # XLA would take seconds on TensorFlow for each model; JAX cannot do without.
    jit_compile = "auto" if keras.backend.backend() == "jax" else False
    model.compile(optimizer, loss=loss, jit_compile=jit_compile)
    return model


def train(model, epochs=2, **options):
    x, y = data()
    return model.fit(x, y, batch_size=8, epochs=epochs, shuffle=False, verbose=0, **options)


def recipe(**options):
    bop = nn.Bop(threshold=1e-4, gamma=1e-2)
    return nn.CaseOptimizer(
        (nn.Bop.is_binary_variable, bop), default_optimizer=Adam(0.01), **options
    )


def variables():
    return [keras.Variable(np.array(v, "f")) for v in ([1.0, -1.0], [0.5, 0.25], [2.0])]


def gradients():
    return [ops.convert_to_tensor(np.array(g, "f")) for g in ([0.5, 0.5], [0.1, -0.3], [0.4])]


def values(variables):
    return [ops.convert_to_numpy(v) for v in variables]


def numbered(*indices):
    """A predicate that claims variables by their place in `chosen`."""
    return lambda variable: any(variable is numbered.chosen[i] for i in indices)


def assert_equal(actual, expected):
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_each_variable_goes_as_with_its_own_optimizer():
    numbered.chosen = together = variables()
    alone = variables()
    case = nn.CaseOptimizer(
        (numbered(0), nn.Bop(1e-3, 0.1)), (numbered(2), SGD(0.5)), default_optimizer=Adam(0.1)
    )
    singles = [nn.Bop(1e-3, 0.1), Adam(0.1), SGD(0.5)]
    for _ in range(3):
        case.apply(gradients(), together)
        for optimizer, gradient, variable in zip(singles, gradients(), alone, strict=True):
            optimizer.apply([gradient], [variable])
    assert_equal(values(together), values(alone))
    assert int(ops.convert_to_numpy(case.iterations)) == 3


def test_fit_trains_binary_kernels_by_bop_and_the_rest_by_the_default():
    model = compiled(recipe())
    before = model.get_weights()
    train(model)
    changed = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert all(changed)
    binary = [v for v in model.weights if nn.Bop.is_binary_variable(v)]
    assert len(binary) == 2
    assert all(np.all(np.abs(v) == 1) for v in values(binary))
    bop, adam = (case.optimizer for case in model.optimizer.cases)
    assert len(bop._trainable_variables) == 2
    assert len(adam._trainable_variables) == len(model.trainable_variables) - 2


RESUMED = {
    "registered": recipe,
    "function": lambda: nn.CaseOptimizer(
        (lambda v: v.name == "kernel", SGD(0.05, momentum=0.9)), default_optimizer=Adam(0.01)
    ),
    "registered_and_function": lambda: nn.CaseOptimizer(
        (is_bias, SGD(0.05)), (is_kernel, Adam(0.01)), default_optimizer="rmsprop"
    ),
    "schedules_and_clipping": lambda: nn.CaseOptimizer(
        (
            nn.Bop.is_binary_variable,
            nn.Bop(gamma=keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)),
        ),
        default_optimizer=Adam(keras.optimizers.schedules.CosineDecay(0.05, 16), clipnorm=1.0),
        global_clipnorm=0.5,
        loss_scale_factor=8.0,
    ),
    "no_default": lambda: nn.CaseOptimizer(
        (nn.Bop.is_binary_variable, nn.Bop(gamma=0.01)),
        (lambda v: not nn.Bop.is_binary_variable(v), Adam(0.01)),
    ),
}


@pytest.mark.parametrize("optimizer", RESUMED)
def test_resumed_training_equals_uninterrupted_training(optimizer, tmp_path):
    model = compiled(RESUMED[optimizer]())
    train(model, epochs=2)
    model.save(tmp_path / "model.keras")
    resumed = keras.models.load_model(tmp_path / "model.keras")
    assert_equal(values(resumed.optimizer.variables), values(model.optimizer.variables))
    assert len(model.optimizer.variables) > len(model.trainable_variables)
    expected = train(model, epochs=2).history["loss"]
    assert train(resumed, epochs=2).history["loss"] == pytest.approx(expected, rel=1e-5)
    assert_equal(resumed.get_weights(), model.get_weights())


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("optimizer", ["schedules_and_clipping", "no_default"])
def test_a_whole_model_in_h5_predicts_and_trains_again(optimizer, tmp_path):
    model = compiled(RESUMED[optimizer]())
    train(model)
    model.save(tmp_path / "model.h5")
    again = keras.models.load_model(tmp_path / "model.h5")
    assert_equal(again.get_weights(), model.get_weights())
    train(again)
    assert len(again.optimizer.variables) == len(model.optimizer.variables)


def test_weights_file_restores_the_state(tmp_path):
    model = compiled(recipe())
    train(model)
    model.save_weights(tmp_path / "state.weights.h5")
    other = compiled(recipe())
    other.optimizer.build(other.trainable_variables)
    other.load_weights(tmp_path / "state.weights.h5")
    assert_equal(values(other.optimizer.variables), values(model.optimizer.variables))


def test_state_is_saved_once(tmp_path):
    h5py = pytest.importorskip("h5py")
    model = compiled(recipe())
    model.optimizer.build(model.trainable_variables)
    model.save_weights(tmp_path / "state.weights.h5")
    saved = []
    with h5py.File(tmp_path / "state.weights.h5") as file:
        file["optimizer"].visititems(
            lambda name, item: saved.append(name) if isinstance(item, h5py.Dataset) else None
        )
    assert len(saved) == len(model.optimizer.variables)


def test_config_before_it_is_built():
    config = keras.optimizers.serialize(RESUMED["schedules_and_clipping"]())
    again = keras.optimizers.deserialize(config)
    assert keras.optimizers.serialize(again) == config
    assert again.cases[0].predicate is nn.Bop.is_binary_variable


def test_predicate_that_was_not_saved_fits_the_same_variables_only():
    optimizer = RESUMED["function"]()
    optimizer.build(network().trainable_variables)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    with pytest.raises(ValueError, match="must be registered to be used with other variables"):
        again.build(network().trainable_variables[1:])


def test_stateless_apply_equals_apply():
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow's optimizers have no stateless_apply")
    numbered.chosen = own = variables()
    stateful = variables()
    options = {"default_optimizer": Adam(0.1), "global_clipnorm": 0.5}
    stateless = nn.CaseOptimizer((numbered(0), nn.Bop(1e-3, 0.1)), **options)
    stateless.build(own)
    state, trained = [v.value for v in stateless.variables], [v.value for v in own]
    for _ in range(3):
        trained, state = stateless.stateless_apply(state, gradients(), trained)
    numbered.chosen = stateful
    options = {"default_optimizer": Adam(0.1), "global_clipnorm": 0.5}
    case = nn.CaseOptimizer((numbered(0), nn.Bop(1e-3, 0.1)), **options)
    for _ in range(3):
        case.apply(gradients(), stateful)
    assert_equal(values(trained), values(stateful))
    assert_equal(values(state), values(case.variables))


def test_learning_rate_is_that_of_the_default_optimizer():
    optimizer = recipe()
    model = compiled(optimizer)
    train(model, epochs=1, callbacks=[keras.callbacks.LearningRateScheduler(lambda _: 0.25)])
    bop, adam = (case.optimizer for case in model.optimizer.cases)
    assert float(ops.convert_to_numpy(adam.learning_rate)) == 0.25
    assert float(ops.convert_to_numpy(optimizer.learning_rate)) == 0.25
    assert float(ops.convert_to_numpy(bop.gamma)) == pytest.approx(1e-2)


def test_learning_rate_without_a_default_is_that_of_the_first():
    optimizer = nn.CaseOptimizer((never, SGD(0.5)), (always, SGD(0.25)))
    assert float(ops.convert_to_numpy(optimizer.learning_rate)) == 0.5


@pytest.mark.parametrize("where", ["outside", "inside"])
def test_global_clipnorm(where):
    """Outside the norm is that of all gradients, inside that of the optimizer's own."""
    numbered.chosen = trained = variables()
    start = values(trained)
    outside, inside = (
        ({"global_clipnorm": 0.2}, {}) if where == "outside" else ({}, {"global_clipnorm": 0.2})
    )
    case = nn.CaseOptimizer(
        (numbered(0), SGD(1.0)), default_optimizer=SGD(1.0, **inside), **outside
    )
    case.apply(gradients(), trained)
    gradient = [ops.convert_to_numpy(g) for g in gradients()]
    norms = [float(np.sum(g**2)) for g in gradient]
    if where == "outside":
        scales = [0.2 / sum(norms) ** 0.5] * 3
    else:
        scales = [1.0, *[0.2 / sum(norms[1:]) ** 0.5] * 2]
    assert_equal(
        values(trained), [w - s * g for w, s, g in zip(start, scales, gradient, strict=True)]
    )


def test_loss_scale_factor_changes_nothing_but_the_range():
    plain, scaled = compiled(recipe()), compiled(recipe(loss_scale_factor=1024.0))
    train(plain)
    train(scaled)
    assert_equal(scaled.get_weights(), plain.get_weights())


def test_mixed_float16_scales_the_loss():
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        model = compiled(recipe())
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    before = model.get_weights()
    train(model, epochs=2)
    assert all(np.all(np.isfinite(w)) for w in model.get_weights())
    assert not np.array_equal(before[0], model.get_weights()[0])
    binary = [v for v in model.weights if nn.Bop.is_binary_variable(v)]
    assert all(np.all(np.abs(v) == 1) for v in values(binary))


def test_gradient_accumulation_of_the_inner_optimizers():
    numbered.chosen = trained = variables()
    start = values(trained)
    case = nn.CaseOptimizer(
        (numbered(0), nn.Bop(0.1, 1.0, gradient_accumulation_steps=2)),
        default_optimizer=SGD(1.0, gradient_accumulation_steps=2),
    )
    case.apply(gradients(), trained)
    assert_equal(values(trained), start)
    case.apply(gradients(), trained)
    gradient = [ops.convert_to_numpy(g) for g in gradients()]
    assert_equal(values(trained), [[-1, -1], start[1] - gradient[1], start[2] - gradient[2]])


def test_moving_averages_of_an_inner_optimizer_end_in_its_variables():
    numbered.chosen = trained = variables()
    start = values(trained)[1:]
    default = SGD(1.0, use_ema=True, ema_momentum=0.5)
    case = nn.CaseOptimizer((numbered(0), nn.Bop(0.1, 1.0)), default_optimizer=default)
    case.apply(gradients(), trained)
    case.apply(gradients(), trained)
    case.finalize_variable_values(trained)
    # The average starts at w1 = w0 - g and takes half of w2 = w0 - 2g.
    gradient = [ops.convert_to_numpy(g) for g in gradients()[1:]]
    expected = [w - 1.5 * g for w, g in zip(start, gradient, strict=True)]
    assert_equal(values(trained), [[-1, -1], *expected])


def test_a_case_without_gradients_is_skipped():
    numbered.chosen = trained = variables()
    start = values(trained)
    case = nn.CaseOptimizer((numbered(0), nn.Bop(0.1, 1.0)), default_optimizer=SGD(1.0))
    with pytest.warns(UserWarning, match="Gradients do not exist for variables"):
        case.apply([None, *gradients()[1:]], trained)
    gradient = [ops.convert_to_numpy(g) for g in gradients()]
    assert_equal(values(trained), [start[0], start[1] - gradient[1], start[2] - gradient[2]])


def test_constraints_of_the_variables_hold():
    variable = keras.Variable(np.array([0.9], "f"))
    variable.constraint = nn.WeightClip(1.0)
    case = nn.CaseOptimizer((always, SGD(1.0)))
    case.apply([ops.convert_to_tensor(np.array([-5.0], "f"))], [variable])
    assert values([variable])[0].item() == 1.0


def built():
    optimizer = SGD()
    optimizer.build([])
    return optimizer


SHARED = SGD()


@pytest.mark.parametrize(
    ("cases", "default", "message"),
    [
        ([], None, r"cases must have a \(predicate, optimizer\) pair, got none"),
        ([SGD()], None, r"cases\[0\] must be a pair \(predicate, optimizer\)"),
        ([(is_bias, SGD()), (SGD(), is_bias)], None, r"cases\[1\] must be a pair"),
        ([(is_bias, SHARED)], SHARED, "must be different objects, got one twice"),
        ([(is_bias, built())], None, "must be new, got one that is built"),
        ([(is_bias, SGD(loss_scale_factor=2.0))], None, "must not scale the loss"),
        ([(is_bias, keras.optimizers.LossScaleOptimizer(SGD()))], None, "must not scale the loss"),
    ],
    ids=[
        "none",
        "no_pair",
        "swapped",
        "twice",
        "built",
        "loss_scale_factor",
        "loss_scale_optimizer",
    ],
)
def test_arguments_that_cannot_work(cases, default, message):
    with pytest.raises(ValueError, match=message):
        nn.CaseOptimizer(*cases, default_optimizer=default)


@pytest.mark.parametrize(
    ("predicates", "default", "message"),
    [
        ((always, is_bias), "sgd", r"bias' must be claimed by one optimizer, got \['a', 'b'\]"),
        ((is_bias,), None, "kernel' must be claimed by an optimizer, got none. Pass default_opt"),
        ((is_bias, never), "sgd", "The predicate of 'b' must claim a variable, got none of 2"),
    ],
    ids=["two", "none", "idle"],
)
def test_variables_that_are_not_claimed_once(predicates, default, message):
    cases = [(predicate, SGD(name=name)) for predicate, name in zip(predicates, "ab", strict=False)]
    optimizer = nn.CaseOptimizer(*cases, default_optimizer=default)
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    with pytest.raises(ValueError, match=message):
        optimizer.build(layer.trainable_variables)
    assert not optimizer.built


def test_variables_it_was_not_built_with():
    optimizer = nn.CaseOptimizer((always, SGD()))
    optimizer.build(variables())
    with pytest.raises(ValueError, match="Unknown variable"):
        optimizer.apply(gradients(), variables())
