"""Quantized values are exact in every dtype, eager and compiled, at every kind of number."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from keras import ops

from bnnzoo import nn
from bnnzoo.nn import quantizers
from bnnzoo.nn.quantizers.straight_through import clip, sign
from tests.backend import compiled, gradient

DTYPES = ["float16", "bfloat16", "float32"]
SPECIAL = [np.inf, -np.inf, 0.0, -0.0, 6e4, -6e4, 1e-7, -1e-7, 1.0, -1.0, 1e-3, -1e-3]
SIGNS = [nn.SteSign(), nn.SteSign(None), nn.SteSign(1.25), nn.ApproxSign(), nn.SwishSign()]

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_sign = pytest.mark.parametrize("quantizer", SIGNS, ids=repr)
each_mode = pytest.mark.parametrize("mode", [lambda fn: fn, compiled], ids=["eager", "compiled"])


def special_values(dtype, rng):
    values = np.concatenate([SPECIAL, rng.standard_normal(84), 300 * rng.standard_normal(84)])
    values = values.reshape(3, 3, 4, 5)
    return values.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


@each_dtype
@each_mode
@each_sign
def test_signs_are_exact(quantizer, mode, dtype, rng):
    x = special_values(dtype, rng)
    value = mode(quantizer)(ops.convert_to_tensor(x))
    assert value.dtype == ops.convert_to_tensor(x).dtype
    expected = np.where(x.astype("float32") < 0, -1.0, 1.0)
    np.testing.assert_array_equal(ops.convert_to_numpy(value).astype("float32"), expected)


@each_dtype
@pytest.mark.parametrize(
    ("quantizer", "allowed"),
    [
        (nn.SteHeaviside(), {0, 1}),
        (nn.SteTern(), {-1, 0, 1}),
        (nn.SteTern(ternary_weight_networks=True), {-1, 0, 1}),
        (nn.DoReFa(1), {0, 1}),
        (nn.DoReFa(1, "weights"), {-1, 1}),
    ],
    ids=repr,
)
def test_few_values_are_exact(quantizer, allowed, dtype, rng):
    value = compiled(quantizer)(ops.convert_to_tensor(special_values(dtype, rng)))
    assert set(np.unique(ops.convert_to_numpy(value).astype("float32"))) == allowed


@each_mode
@each_sign
def test_signs_are_exact_after_a_product(quantizer, mode, rng):
    """A fused multiply and subtract would leave the product's rounding error in the sign."""

    def scaled_sign(x, gamma, beta):
        return quantizer(x * gamma) + 0 * quantizer(x * gamma + beta)

    x, gamma, beta = (rng.standard_normal(4096).astype("float32") for _ in range(3))
    x, gamma = 1e3 * x, gamma / 1e3
    value = ops.convert_to_numpy(mode(scaled_sign)(x, gamma, beta))
    np.testing.assert_array_equal(value, np.where(x * gamma < 0, -1, 1))


@pytest.mark.parametrize("alias", quantizers.ALIASES)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_gradients_are_finite_at_special_values(alias, dtype, rng):
    x = special_values(dtype, rng)
    if alias in ("magnitude_aware_sign", "no_op", "centered_sign", "libra_sign", "recu"):
        x = np.where(np.abs(x) < 100, x, x.dtype.type(2))  # infinite weights have an infinite mean
    result = gradient(quantizers.get(alias), x)
    assert result.dtype == x.dtype
    assert np.isfinite(result.astype("float32")).all()


@each_sign
@each_mode
def test_nan_stays_nan(quantizer, mode):
    value = ops.convert_to_numpy(mode(quantizer)(np.array([np.nan, 1.0], "float32")))
    np.testing.assert_array_equal(np.isnan(value), [True, False])


def test_sign_of_zeros_is_plus_one():
    np.testing.assert_array_equal(ops.convert_to_numpy(sign(np.array([0.0, -0.0], "f"))), [1, 1])


def test_clip_keeps_the_gradient_at_its_edges():
    x = np.array([-1.5, -1.0, 0.0, 1.0, 1.5], "float32")
    np.testing.assert_array_equal(gradient(lambda x: clip(x, -1.0, 1.0), x), [0, 1, 1, 1, 0])


@pytest.mark.parametrize("quantizer", [nn.SteSign, nn.MagnitudeAwareSign, nn.SteHeaviside])
@pytest.mark.parametrize("clip_value", [0, -1.0, float("nan")])
def test_clip_value_must_be_positive(quantizer, clip_value):
    with pytest.raises(ValueError, match=f"clip_value must be positive or None, got {clip_value}"):
        quantizer(clip_value=clip_value)
