"""Quantizers are found by alias, survive serialization, and wrong arguments say what to do."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from bnnzoo import nn
from bnnzoo.nn import quantizers
from tests.nn.quantizers.formulas import FORMULAS

BITS = {
    "approx_sign": 1,
    "centered_sign": 1,
    "dorefa": 2,
    "dorefa_quantizer": 2,
    "dorefa_sign": 1,
    "error_decay_sign": 1,
    "libra_sign": 1,
    "magnitude_aware_sign": 1,
    "no_op": 32,
    "recu": 1,
    "ste_heaviside": 1,
    "ste_sign": 1,
    "ste_tern": 2,
    "swish_sign": 1,
    "xnor_weight_scale": 1,
}


@pytest.mark.parametrize("alias", quantizers.ALIASES)
def test_alias(alias):
    quantizer = quantizers.get(alias)
    assert type(quantizer) is quantizers.ALIASES[alias]
    assert quantizer.bits == BITS[alias]
    assert quantizers.get(type(quantizer).__name__) == quantizer


@pytest.mark.parametrize("name", FORMULAS)
def test_serialization(name):
    quantizer = FORMULAS[name].quantizer
    restored = quantizers.get(json.loads(json.dumps(quantizers.serialize(quantizer))))
    assert restored == quantizer
    assert type(quantizer).from_config(quantizer.get_config()) == quantizer


# What Larq 0.14 writes of a quantizer, which is a layer of Keras 2 there -> ours.
LAYER = {"trainable": True, "dtype": "float32"}
OF_LARQ = {
    "SteSign": ({"name": "ste_sign", "clip_value": 1.25}, nn.SteSign(clip_value=1.25)),
    "ste_sign": ({"name": "ste_sign", "clip_value": 1.0}, nn.SteSign()),
    "ApproxSign": ({"name": "approx_sign"}, nn.ApproxSign()),
    "SteHeaviside": ({"name": "x", "clip_value": None}, nn.SteHeaviside(clip_value=None)),
    "SwishSign": ({"name": "x", "beta": 4.0}, nn.SwishSign(beta=4.0)),
    "MagnitudeAwareSign": ({"name": "x", "clip_value": 1.0}, nn.MagnitudeAwareSign()),
    "SteTern": (
        {"name": "x", "threshold_value": 0.1, "ternary_weight_networks": True, "clip_value": 1.0},
        nn.SteTern(threshold_value=0.1, ternary_weight_networks=True),
    ),
    "DoReFa": ({"name": "x", "k_bit": 3, "mode": "weights"}, nn.DoReFa(k_bit=3, mode="weights")),
    "NoOp": ({"name": "x", "precision": 4}, nn.NoOp(bits=4)),
}


@pytest.mark.parametrize("newer", [False, True], ids=["TensorFlow 2.12", "TensorFlow 2.13"])
@pytest.mark.parametrize("name", OF_LARQ)
def test_a_config_of_larq(name, newer):
    settings, expected = OF_LARQ[name]
    config = {"class_name": name, "config": {**LAYER, **settings}}
    if newer:
        config |= {"module": "larq.quantizers", "registered_name": name, "build_config": {}}
    assert quantizers.get(json.loads(json.dumps(config))) == expected


def test_layers_take_configs_of_larq():
    config = {"class_name": "SteSign", "config": {**LAYER, "name": "a", "clip_value": 1.25}}
    clip = {"class_name": "WeightClip", "config": {"clip_value": 1.25}}
    layer = nn.QuantConv2D.from_config({
        "name": "conv", "filters": 4, "kernel_size": (3, 3), "input_quantizer": config,
        "kernel_quantizer": config, "kernel_constraint": clip,
    })  # fmt: skip
    assert layer.input_quantizer == layer.kernel_quantizer == nn.SteSign(clip_value=1.25)
    assert isinstance(layer.kernel_constraint, nn.WeightClip)


def test_bits_follow_the_arguments():
    assert nn.DoReFa(k_bit=3).bits == 3
    assert nn.NoOp(bits=1).bits == 1


def test_get_passes_callables_and_none():
    assert quantizers.get(None) is None
    assert quantizers.get(np.sign) is np.sign
    assert quantizers.get(nn.SteSign) == nn.SteSign()
    assert quantizers.serialize(None) is None


@keras.saving.register_keras_serializable(package="test", name="own_sign")
class OwnSign(nn.Quantizer):
    bits = 1

    def __call__(self, x):
        return quantizers.sign(x)


def test_a_registered_class_of_ones_own():
    quantizer = quantizers.get("test>own_sign")
    assert isinstance(quantizer, OwnSign)
    assert isinstance(quantizers.get(quantizers.serialize(quantizer)), OwnSign)
    assert not quantizer.vanishing_gradient


@pytest.mark.parametrize("name", FORMULAS)
def test_as_activation(name, tmp_path, rng):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Activation(FORMULAS[name].quantizer)(inputs))
    x = rng.standard_normal((3, 4)).astype("float32")
    expected = FORMULAS[name].value(x)
    y = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(restored(x)), y)


def test_unknown_alias_suggests_the_nearest():
    with pytest.raises(ValueError, match=r"Unknown quantizer 'ste_sgin'\. Did you mean 'ste_sign'"):
        quantizers.get("ste_sgin")


def test_not_a_quantizer():
    with pytest.raises(ValueError, match="must be an alias, a callable or None, got 1"):
        quantizers.get(1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.DoReFa(0), "k_bit must be an integer from 1 to 16, got 0"),
        (lambda: nn.DoReFa(2.5), "k_bit must be an integer from 1 to 16, got 2.5"),
        (lambda: nn.DoReFa(mode="weight"), "mode must be 'activations' or 'weights', got 'weight'"),
        (lambda: nn.SteTern(-0.1), "threshold_value must be 0 or more, got -0.1"),
        (lambda: nn.SwishSign(0), "beta must be positive, got 0"),
        (lambda: nn.NoOp(0), "bits must be an integer from 1 to 64, got 0"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
