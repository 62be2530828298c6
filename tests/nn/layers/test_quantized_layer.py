"""Warnings of starved weights, aliases, wrong arguments, and the pairs of kernel and quantizer."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest

from bnnzoo import nn
from tests.nn.layers.cases import LAYERS

each_layer = pytest.mark.parametrize("case", [c for c in LAYERS if not c.label], ids=str)


@each_layer
def test_binary_kernel_without_constraint_warns_once(case):
    with pytest.warns(
        nn.StarvedWeightsWarning, match=r"'lonely'.*Pass \w+='weight_clip'"
    ) as caught:
        layer = case.layer(**case.arguments, **case.start, **case.quantizers, name="lonely")
    assert len(caught) == len(case.constraints)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer.build((1, *case.input_shape))


@pytest.mark.parametrize(
    "quantizer",
    [
        None,
        nn.SteSign(None),
        nn.DoReFaSign(),
        nn.MagnitudeAwareSign(None),
        nn.NoOp(1),
        nn.SteTern(),
        nn.DoReFa(2, "weights"),
        np.sign,
    ],
    ids=repr,
)
def test_kernels_that_cannot_starve_do_not_warn(quantizer):
    nn.QuantDense(3, kernel_quantizer=quantizer)


@each_layer
def test_pairs_of_kernel_and_quantizer(case):
    layer = case.binary()
    assert layer.quantizers == ()
    layer.build((1, *case.input_shape))
    assert [q for _, q in layer.quantizers] == [nn.SteSign()] * len(case.constraints)
    trainable = {id(variable) for variable in layer.trainable_weights}
    assert all(id(variable) in trainable for variable, _ in layer.quantizers)
    assert layer.input_quantizer == nn.SteSign()


def test_pairs_of_a_real_layer():
    layer = nn.QuantDense(3)
    layer.build((1, 2))
    assert layer.quantizers == ((layer.kernel, None),)


@pytest.mark.parametrize(
    ("alias", "expected"),
    [
        ("hard_tanh", nn.hard_tanh),
        ("leaky_tanh", nn.leaky_tanh),
        ("approx_sign", nn.ApproxSign()),
        ("relu", keras.activations.relu),
    ],
)
def test_activation_aliases(alias, expected):
    assert nn.QuantDense(3, alias).activation == expected
    assert nn.QuantConv2D(3, 3, activation=alias).activation == expected


def test_constraint_aliases():
    layer = nn.QuantDense(3, kernel_constraint="weight_clip", bias_constraint="non_neg")
    assert isinstance(layer.kernel_constraint, nn.WeightClip)
    assert isinstance(layer.bias_constraint, keras.constraints.NonNeg)


@pytest.mark.parametrize("argument", ["input_quantizer", "kernel_quantizer"])
def test_unknown_quantizer(argument):
    with pytest.raises(ValueError, match="Did you mean 'ste_sign'"):
        nn.QuantConv2D(3, 3, **{argument: "stesign"})


def test_any_function_quantizes(rng):
    layer = nn.QuantDense(3, kernel_quantizer=keras.ops.sign, use_bias=False)
    x = rng.standard_normal((2, 4)).astype("float32")
    y = keras.ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(y, x @ np.sign(layer.get_weights()[0]), rtol=1e-5)
