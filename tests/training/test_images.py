"""Images are loaded as the network wants them; codes follow from seed, epoch and index alone."""

from __future__ import annotations

import numpy as np
import pytest

from bnnzoo.data.arrays import from_arrays
from bnnzoo.data.preprocessing import get
from bnnzoo.errors import ArgumentError
from bnnzoo.training import Augmentation
from bnnzoo.training.images import evaluation_codes, load_images, split_codes, training_codes

ALL = Augmentation(pad=3, flip=True)


def test_images_of_the_right_size_stay_bytes(rng):
    x = rng.integers(0, 256, (5, 6, 7, 3)).astype(np.uint8)
    images = load_images(from_arrays(x, [0, 1, 2, 3, 4]), "scale_pm1", (6, 7, 3))
    assert images.pixels.dtype == np.uint8
    np.testing.assert_array_equal(images.pixels, x)
    np.testing.assert_array_equal(images.labels, range(5))
    assert images.shape == (6, 7, 3)


def test_grey_images_get_an_axis(rng):
    x = rng.integers(0, 256, (5, 6, 7)).astype(np.uint8)
    images = load_images(from_arrays(x, [0] * 5), "scale_pm1", (6, 7, 1))
    np.testing.assert_array_equal(images.pixels, x[..., None])


@pytest.mark.parametrize("shape", [(8, 8, 1), (6, 7, 1), (4, 9, 3)], ids=str)
def test_other_images_are_fitted_as_the_preprocessing_does(rng, shape):
    x = rng.integers(0, 256, (4, 6, 7, 3)).astype(np.uint8)
    images = load_images(from_arrays(x, [0] * 4), "scale_pm1", shape)
    scaled = (images.pixels - np.float32(127.5)) / np.float32(127.5)
    np.testing.assert_array_equal(scaled, get("scale_pm1", shape)(x))


def test_the_order_and_the_windows_follow_from_the_epoch():
    indices = np.arange(50) + 7
    codes = training_codes(indices, ALL, seed=1, epoch=4)
    np.testing.assert_array_equal(codes, training_codes(indices, ALL, seed=1, epoch=4))
    for other in ({"seed": 2, "epoch": 4}, {"seed": 1, "epoch": 5}):
        assert (training_codes(indices, ALL, **other) != codes).any(axis=0).all()
    np.testing.assert_array_equal(np.sort(codes[:, 0]), indices)
    assert set(codes[:, 1]) | set(codes[:, 2]) == set(range(7))
    assert set(codes[:, 3]) == {0, 1}


def test_without_augmentation_only_the_order_changes():
    codes = training_codes(np.arange(50), Augmentation(), seed=1, epoch=0)
    assert not codes[:, 1:].any()


def test_evaluation_takes_the_middle_in_order():
    codes = evaluation_codes(np.array([5, 9]), ALL)
    np.testing.assert_array_equal(codes, [[5, 3, 3, 0], [9, 3, 3, 0]])


def test_held_out_images_are_not_trained_on():
    train, curve = split_codes(100, 20, held_out=30, seed=1)
    assert (len(train), len(curve)) == (70, 30)
    assert set(train) | set(curve) == set(range(100))
    train, curve = split_codes(100, 20, held_out=0, seed=1)
    np.testing.assert_array_equal(train, range(100))
    np.testing.assert_array_equal(curve, range(100, 120))
    with pytest.raises(ArgumentError, match="held_out must be below 100"):
        split_codes(100, 20, held_out=100, seed=1)
