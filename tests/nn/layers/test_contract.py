"""Every layer equals its Keras twin without quantizers, and survives saving, cloning and mixing."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from keras import ops

from bnnzoo import nn
from bnnzoo.nn import layers
from tests.backend import evaluate
from tests.nn.layers.cases import LAYERS, randomize

each_case = pytest.mark.parametrize("case", LAYERS, ids=str)
each_layer = pytest.mark.parametrize("case", [c for c in LAYERS if not c.label], ids=str)


def output(layer, x):
    return evaluate(layer, x).astype("float32")


def test_every_layer_has_a_case():
    public = {getattr(layers, name) for name in layers.__all__ if name.startswith("Quant")}
    public.remove(layers.QuantizedLayer)
    assert {case.layer for case in LAYERS if not case.label} == public


@each_case
def test_equals_the_twin(case, rng):
    x = case.inputs(rng)
    layer, twin = case.real(case.layer), case.real(case.twin)
    layer.build(x.shape), twin.build(x.shape)
    assert [(w.name, w.shape) for w in layer.weights] == [(w.name, w.shape) for w in twin.weights]
    layer.set_weights(randomize(twin, rng))
    expected = output(twin, x)
    np.testing.assert_allclose(output(layer, x), expected, rtol=1e-5, atol=1e-6)
    assert tuple(layer.compute_output_shape(x.shape)) == expected.shape
    added = layer.get_config().keys() - twin.get_config().keys()
    own = {"pad_values", "input_quantizer", *layer.kernel_quantizers.values()}
    assert added <= own | {"output_padding"}  # which older Keras versions leave out of a config


@each_case
def test_computes_with_signs(case, rng):
    """The binary layer is the twin on the signs of inputs and kernels, biases real."""
    x = case.inputs(rng)
    layer, twin = case.binary(), case.real(case.twin)
    layer.build(x.shape), twin.build(x.shape)
    weights = randomize(layer, rng)
    kernels = {id(variable) for variable, _ in layer.quantizers}
    twin.set_weights(
        [
            np.where(value < 0, -1.0, 1.0) if id(variable) in kernels else value
            for variable, value in zip(layer.weights, weights, strict=True)
        ]
    )
    expected = output(twin, np.where(x < 0, -1.0, 1.0).astype("float32"))
    np.testing.assert_allclose(output(layer, x), expected, rtol=1e-5, atol=1e-6)
    for variable, value in zip(layer.weights, weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)


@each_case
def test_config_round_trip(case):
    layer = case.binary(name="some_name")
    restored = case.layer.from_config(json.loads(json.dumps(layer.get_config())))
    assert restored.get_config() == layer.get_config()
    assert restored.name == "some_name"
    for argument, alias in case.quantizers.items():
        assert getattr(restored, argument) == nn.quantizers.get(alias)


@each_layer
def test_save_and_clone(case, rng, tmp_path):
    x, model = case.inputs(rng), case.model()
    randomize(model, rng)
    y = output(model, x)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for copy in (restored, clone):
        assert type(copy.layers[-1]) is case.layer
        np.testing.assert_array_equal(output(copy, x), y)


@each_layer
def test_mixed_precision_keeps_binary_values(case, rng):
    x, full = case.inputs(rng), case.binary(activation=None)
    full.build(x.shape)
    # Latent weights that float16 would round to zero keep their sign.
    weights = [1e-9 * rng.standard_normal(w.shape) * (len(w.shape) > 1) for w in full.weights]
    full.set_weights(weights)
    expected = output(full, x)
    for dtype in ("float16", "bfloat16"):
        mixed = case.binary(activation=None, dtype=f"mixed_{dtype}")
        mixed.build(x.shape)
        mixed.set_weights(weights)
        y = evaluate(mixed, x)
        assert y.dtype.name == dtype
        assert all(w.dtype == "float32" for w in mixed.weights)
        # Sums of up to 36 signs are exact in both types.
        np.testing.assert_array_equal(y.astype("float32"), expected)


@each_layer
def test_trains_within_its_constraint(case, rng):
    model, x = case.model(), case.inputs(rng, batch=8)
    randomize(model, rng)
    model.compile(keras.optimizers.SGD(10.0), "mse")
    before = model.get_weights()
    model.fit(x, np.zeros((8, *model.output_shape[1:])), epochs=2, batch_size=4, verbose=0)
    assert any(np.any(a != b) for a, b in zip(before, model.get_weights(), strict=True))
    for variable, _ in model.layers[-1].quantizers:
        assert np.abs(ops.convert_to_numpy(variable)).max() <= 1
    assert set(nn.binary_weights(model)) == {v.path for v, _ in model.layers[-1].quantizers}
