"""Golden logits: restated in NumPy, and a tolerance that rounding explains."""

from __future__ import annotations

import numpy as np
import pytest

from bnnzoo.publishing.golden import _rounded_up, log_softmax


def test_log_softmax(rng):
    x = 5 * rng.standard_normal((5, 7))
    p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(log_softmax(x), np.log(p), rtol=1e-12)
    assert np.isfinite(log_softmax(np.array([[1000.0, -1000.0]]))).all()


@pytest.mark.parametrize(
    "value, rounded", [(0.001, 0.001), (0.00101, 0.002), (0.035, 0.04), (0.3, 0.3), (1.2, 2.0)]
)
def test_a_tolerance_has_one_digit(value, rounded):
    assert _rounded_up(value) == rounded
