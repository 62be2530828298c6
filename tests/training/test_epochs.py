"""Batches to measure on: every image once, whatever the number of devices."""

from __future__ import annotations

import numpy as np
import pytest

from bnnzoo.training.epochs import whole_batches


@pytest.mark.parametrize("devices", [1, 2, 3, 8])
@pytest.mark.parametrize("n", [1, 7, 499, 500, 501, 1300])
def test_weighted_means_over_batches_are_those_over_images(rng, n, devices):
    indices = np.arange(100, 100 + n)
    batches, weights = whole_batches(indices, 500, devices)
    assert batches.shape == weights.shape
    assert batches.shape[1] % devices == 0
    assert batches.shape[1] < 500 + devices
    np.testing.assert_array_equal(batches[weights > 0], indices)
    losses = rng.random(100 + n)
    # Keras: the mean of a batch, then that of the batches.
    got = np.mean(np.mean(losses[batches] * weights, axis=1))
    assert got == pytest.approx(losses[100:].mean(), rel=1e-5)


@pytest.mark.parametrize("n", [64, 500, 10_000])
def test_one_device_measures_no_image_twice(n):
    batches, weights = whole_batches(np.arange(n), 500, 1)
    assert batches.size == n
    assert set(weights.ravel()) == {1.0}
