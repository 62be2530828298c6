"""Rounding of latent weights keeps their signs, which are all that inference sees of them."""

from __future__ import annotations

import numpy as np

from bnnzoo.publishing.latent import to_float16


def test_no_weight_changes_its_sign(rng):
    exponents = rng.uniform(-12, 0, (64, 64))
    kernel = (rng.choice([-1, 1], (64, 64)) * 10**exponents).astype(np.float32)
    rounded = to_float16(kernel)
    assert (kernel.astype(np.float16) == 0).any(), "plain rounding loses some"
    np.testing.assert_array_equal(rounded >= 0, kernel >= 0)
    np.testing.assert_allclose(rounded, kernel, rtol=2**-11, atol=2**-24)


def test_zeros_of_both_signs_stay_zeros():
    """The binary layers take the sign of zero as +1, whichever zero it is."""
    np.testing.assert_array_equal(to_float16(np.array([0.0, -0.0])), [0, 0])
