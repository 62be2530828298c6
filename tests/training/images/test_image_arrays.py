"""Images are loaded as the network wants them; codes follow from seed, epoch and index alone."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from bnnzoo.data.arrays import from_arrays
from bnnzoo.data.preprocessing import get
from bnnzoo.data.source import Item, Source
from bnnzoo.errors import ArgumentError, DataError
from bnnzoo.training import Augmentation
from bnnzoo.training.images.image_arrays import (
    calibration_indices,
    evaluation_codes,
    load_arrays,
    split_codes,
    training_codes,
)

ALL = Augmentation(pad=3, flip=True)


def test_images_of_the_right_size_stay_bytes(rng):
    x = rng.integers(0, 256, (5, 6, 7, 3)).astype(np.uint8)
    images = load_arrays(from_arrays(x, [0, 1, 2, 3, 4]), "scale_pm1", (6, 7, 3))
    assert images.pixels.dtype == np.uint8
    np.testing.assert_array_equal(images.pixels, x)
    np.testing.assert_array_equal(images.labels, range(5))
    assert images.shape == (6, 7, 3)


def test_grey_images_get_an_axis(rng):
    x = rng.integers(0, 256, (5, 6, 7)).astype(np.uint8)
    images = load_arrays(from_arrays(x, [0] * 5), "scale_pm1", (6, 7, 1))
    np.testing.assert_array_equal(images.pixels, x[..., None])


@pytest.mark.parametrize("shape", [(8, 8, 1), (6, 7, 1), (4, 9, 3)], ids=str)
def test_other_images_are_fitted_as_the_preprocessing_does(rng, shape):
    x = rng.integers(0, 256, (4, 6, 7, 3)).astype(np.uint8)
    images = load_arrays(from_arrays(x, [0] * 4), "scale_pm1", shape)
    scaled = (images.pixels - np.float32(127.5)) / np.float32(127.5)
    np.testing.assert_array_equal(scaled, get("scale_pm1", shape)(x))


def source_of(*images):
    items = (Item(str(i), i, lambda image=image: image) for i, image in enumerate(images))
    return Source("images", len(images), tuple(items))


def test_one_grey_image_does_not_make_all_grey(rng):
    x = [rng.integers(0, 256, shape).astype(np.uint8) for shape in ((6, 7), (6, 7, 3), (6, 7, 1))]
    images = load_arrays(source_of(*x), "scale_pm1")
    np.testing.assert_array_equal(images.pixels[0], np.repeat(x[0][..., None], 3, axis=2))
    np.testing.assert_array_equal(images.pixels[1], x[1])
    np.testing.assert_array_equal(images.pixels[2], np.repeat(x[2], 3, axis=2))


def test_images_of_two_sizes_want_a_shape(rng):
    x = [rng.integers(0, 256, shape).astype(np.uint8) for shape in ((6, 7, 3), (7, 6, 3))]
    with pytest.raises(DataError, match=r"one size for preprocessing 'scale_pm1', got \[\(6, 7"):
        load_arrays(source_of(*x), "scale_pm1")
    assert load_arrays(source_of(*x), "scale_pm1", (6, 6, 3)).shape == (6, 6, 3)


def test_large_images_are_fitted_one_by_one(rng):
    image = rng.integers(0, 256, (1000, 1000, 3)).astype(np.uint8)
    items = tuple(Item(str(i), i % 2, image.copy) for i in range(20))
    tracemalloc.start()
    try:
        images = load_arrays(Source("large", 20, items), "scale_pm1", (32, 32, 3))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert images.pixels.nbytes == 20 * 32 * 32 * 3 * 4
    assert peak < 10 * image.nbytes  # all originals are 20 of these; one is resized in float32


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
    train, validation = split_codes(100, 20, held_out=30, seed=1)
    assert (len(train), len(validation)) == (70, 30)
    assert set(train) | set(validation) == set(range(100))
    train, validation = split_codes(100, 20, held_out=0, seed=1)
    np.testing.assert_array_equal(train, range(100))
    np.testing.assert_array_equal(validation, range(100, 120))
    with pytest.raises(ArgumentError, match="held_out must be below 100"):
        split_codes(100, 20, held_out=100, seed=1)


def test_calibration_images_are_of_every_class():
    """As a file may be sorted by class: ten classes of 100 images, of which 64 are taken.

    That a class is missing has a chance of 0.9^64 = 0.1 %, and the seed is fixed.
    """
    train = np.arange(1000) + 7
    indices = calibration_indices(train, 64, seed=0)
    assert len(set(indices)) == 64
    assert set(indices) <= set(train)
    assert set((indices - 7) // 100) == set(range(10))
    assert sorted(calibration_indices(train[:5], 64, seed=0)) == list(train[:5])
