"""Every quantizer equals its formula in NumPy, value and gradient, and larq's quantizer."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from bnnzoo import nn
from bnnzoo.nn import quantizers
from tests.backend import compiled, gradient
from tests.conftest import DATA
from tests.nn.quantizers.formulas import FORMULAS

# Clip edges, thresholds and both zeros. 0.5 / 3 and the like are no edges: not exact in float32.
EDGES = [0.0, -0.0, 0.05, -0.05, 0.5, -0.5, 1.0, -1.0, 1.25, -1.25, 30.0, -30.0, 1e-3, -1e-3]
GOLDEN = np.load(DATA / "larq_quantizers.npz", allow_pickle=False)

each_formula = pytest.mark.parametrize("name", FORMULAS)


@pytest.fixture
def x(rng):
    values = rng.uniform(-1.6, 1.6, (3, 3, 4, 5)).astype("float32")
    values.flat[: len(EDGES)] = EDGES
    return values


def test_every_quantizer_has_a_formula():
    assert {type(f.quantizer) for f in FORMULAS.values()} == set(quantizers.ALIASES.values())


@each_formula
def test_value(name, x):
    formula = FORMULAS[name]
    expected = formula.value(x.astype("float64"))
    for run in (formula.quantizer, compiled(formula.quantizer)):
        value = ops.convert_to_numpy(run(ops.convert_to_tensor(x)))
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-7)


@each_formula
def test_gradient(name, x, rng):
    formula = FORMULAS[name]
    upstream = rng.standard_normal(x.shape).astype("float32")
    expected = formula.gradient(x.astype("float64"), upstream.astype("float64"))
    # Admits the rounding of tanh, cosh and sums; an edge on the wrong side is off by all of it.
    np.testing.assert_allclose(
        gradient(formula.quantizer, x, upstream), expected, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("name", sorted({key.split("/")[0] for key in GOLDEN} - {"x", "upstream"}))
def test_equals_larq(name):
    quantizer, x = FORMULAS[name].quantizer, GOLDEN["x"]
    value = ops.convert_to_numpy(quantizer(ops.convert_to_tensor(x)))
    np.testing.assert_allclose(value, GOLDEN[f"{name}/value"], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(
        gradient(quantizer, x, GOLDEN["upstream"]),
        GOLDEN[f"{name}/gradient"],
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("quantizer", [nn.ErrorDecaySign, nn.LibraSign, nn.CenteredSign, nn.ReCU])
def test_progress_must_be_a_fraction(quantizer):
    with pytest.raises(ValueError, match=r"progress must be from 0 to 1, got 1\.5"):
        quantizer(1.5)


def test_centered_sign_of_a_constant_filter_is_the_constant():
    w = np.full((3, 3, 2, 1), 0.25, np.float32)
    np.testing.assert_array_equal(ops.convert_to_numpy(nn.CenteredSign()(w)), w)


@pytest.mark.parametrize("name", ["xnor_weight_scale", "magnitude_aware_sign"])
def test_scale_of_a_dense_kernel_is_per_unit(name, rng):
    w = rng.uniform(-1.2, 1.2, (7, 4)).astype("float32")
    value = ops.convert_to_numpy(FORMULAS[name].quantizer(w))
    np.testing.assert_allclose(value, FORMULAS[name].value(w), rtol=1e-6)


def test_ternary_of_zeros_is_zero():
    for quantizer in (quantizers.SteTern(0.0), quantizers.SteTern(ternary_weight_networks=True)):
        np.testing.assert_array_equal(ops.convert_to_numpy(quantizer(np.zeros(3, "float32"))), 0)


def test_dorefa_weights_of_zeros_have_no_gradient():
    zeros = np.zeros(3, "float32")
    quantizer = quantizers.DoReFa(2, "weights")
    assert np.isfinite(ops.convert_to_numpy(quantizer(zeros))).all()
    np.testing.assert_array_equal(gradient(quantizer, zeros), 0)
