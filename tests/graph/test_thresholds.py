"""Comparing with the folded threshold decides as comparing with the threshold does."""

from __future__ import annotations

import numpy as np
import pytest

from bnnzoo.graph.thresholds import above_float32, above_integer

EDGES = [0.0, -0.0, 0.5, 1.0, -1.0, 2 / 3, 1e-320, -1e-320, np.inf, -np.inf, 1e300, -1e300]


@pytest.mark.filterwarnings("ignore:overflow")
def test_float32_decides_as_float64(rng):
    thresholds = np.array([*EDGES, *rng.standard_normal(500)])
    near = thresholds.astype(np.float32)
    for x in (near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, -np.float32(9e9))):
        expected = x.astype(np.float64) < thresholds
        np.testing.assert_array_equal(x < above_float32(thresholds), expected)


@pytest.mark.parametrize("unit", [1, 3, 7, 255])
def test_integers_decide_as_their_quotients(unit, rng):
    sums = np.arange(-600, 601)
    exact = sums[::7] / unit  # thresholds that sums reach
    for threshold in [*EDGES, *exact, *np.nextafter(exact, 9), *(rng.standard_normal(200) * 50)]:
        (least,) = above_integer(np.array([threshold]), unit)
        np.testing.assert_array_equal(sums < least, sums / unit < threshold)
