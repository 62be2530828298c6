"""Files are decoded ahead of the steps: each image with its label and its part, few at a time."""

from __future__ import annotations

import dataclasses
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bnnzoo.data import open_source, preprocessing
from bnnzoo.data.arrays import from_arrays
from bnnzoo.data.images import read_image
from bnnzoo.data.palette import mask_png
from bnnzoo.data.source import IGNORED, Item, Source
from bnnzoo.errors import ArgumentError, DataError
from bnnzoo.training import Augmentation
from bnnzoo.training.images.crops import Drawing
from bnnzoo.training.images.image_arrays import ImageArrays, evaluation_codes, training_codes
from bnnzoo.training.images.image_files import BATCHES_AHEAD, PART, ImageFiles, open_files
from bnnzoo.training.images.run_data import image_reader
from tests.training.tiny import photo_recipe, tiny_recipe, write_photos

ALL = Augmentation(flip=True, min_area=0.08)
SHAPE = (32, 24, 3)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"))


def taken(images, codes, batch_size=8, drawing=None):
    """Pixels and labels of all batches."""
    with images.feed(codes, batch_size, drawing) as data:
        pixels, labels = zip(*data["x"], strict=True)
    assert {len(batch) for batch in labels[:-1]} <= {batch_size}
    return np.concatenate(pixels), np.concatenate(labels)


def epoch_of(images, epoch, seed=1, augmentation=ALL, batch_size=8):
    codes = training_codes(np.arange(len(images)), augmentation, seed, epoch)
    drawing = Drawing(augmentation.min_area, seed, epoch)
    return codes, *taken(images, codes, batch_size, drawing)


@pytest.mark.parametrize("name", ["larq_in1k", "scale_pm1"])
def test_parts_are_cut_resized_and_mirrored_as_numpy_does(photos, name):
    source = open_source(photos / "train")
    codes, pixels, labels = epoch_of(open_files(source, name, SHAPE), epoch=3)
    assert pixels.dtype == np.uint8
    resize = preprocessing.PREPROCESSINGS[name].resize
    for code, found, label in zip(codes, pixels, labels, strict=True):
        item = source.items[code[0]]
        assert ("dark", "light")[label] == item.id.split("/")[0]
        image = read_image(photos / "train" / item.id)
        top, left, h, w = Drawing(0.08, 1, 3).box(int(code[0]), *image.shape[:2])
        expected = resize(image[top : top + h, left : left + w], 32, 24)
        expected = expected[:, ::-1] if code[3] else expected
        np.testing.assert_array_equal(found, np.rint(expected).clip(0, 255))


@pytest.fixture(scope="module")
def shown_masks(tmp_path_factory):
    """Images that show their masks, in several sizes: class 1 is white, pixels of no class grey."""
    folder = tmp_path_factory.mktemp("masks")
    rng = np.random.default_rng(5)
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for i in range(6):
        height, width = rng.integers(40, 70, 2)
        coarse = Image.fromarray(rng.choice(np.array([0, 1, 255], np.uint8), (4, 5)))
        mask = np.asarray(coarse.resize((width, height), Image.Resampling.NEAREST))
        shade = np.select([mask == 0, mask == 1], [np.uint8(1), np.uint8(255)], np.uint8(128))
        Image.fromarray(np.repeat(shade[..., None], 3, axis=2)).save(folder / f"images/{i}.png")
        (folder / f"masks/{i}.png").write_bytes(mask_png(mask))
    return open_source(f"folder:{folder}/images,{folder}/masks")


@pytest.mark.parametrize("min_area", [1.0, 0.3])
def test_masks_are_cropped_padded_and_mirrored_with_their_images(shown_masks, min_area):
    augmentation = Augmentation(pad=3, flip=True, min_area=min_area)
    images = open_files(shown_masks, "scale_pm1", SHAPE, pad=3)
    codes, pixels, masks = epoch_of(images, epoch=2, augmentation=augmentation, batch_size=4)
    assert masks.shape == (6, 32, 24) and masks.dtype == np.int32
    shades = pixels[..., 0]
    assert (masks[shades == 0] == IGNORED).all() and (shades == 0).any(), "the border has no class"
    for shade, label in ((1, 0), (255, 1), (128, IGNORED)):
        # Resizing mixes shades only within a pixel of an edge.
        assert (masks[shades == shade] == label).mean() > 0.985
        assert (shades == shade).mean() > 0.1
    assert {code[3] for code in codes.tolist()} == {0, 1}


def test_masks_are_measured_as_evaluation_fits_them(shown_masks):
    images = open_files(shown_masks, "scale_pm1", SHAPE)
    _, masks = taken(images, evaluation_codes(np.arange(6), Augmentation()), batch_size=4)
    fitting = preprocessing.get("scale_pm1", SHAPE)
    expected = [fitting.fit_mask(item.mask()) for item in shown_masks.items]
    np.testing.assert_array_equal(masks, expected)


def test_images_with_masks_stay_in_files(shown_masks):
    recipe = photo_recipe(Path(), preprocessing="scale_pm1", augmentation=Augmentation())
    read = image_reader(recipe, shown_masks, SHAPE)
    assert isinstance(read(shown_masks, input_shape=SHAPE), ImageFiles)
    with pytest.raises(ArgumentError, match="images must be files or auto for images with masks"):
        image_reader(dataclasses.replace(recipe, images="memory"), shown_masks, SHAPE)


def test_without_random_parts_files_are_what_memory_is(rng):
    x = rng.integers(0, 256, (20, 6, 7, 3)).astype(np.uint8)
    source = from_arrays(x, np.arange(20))
    augmentation = Augmentation(pad=2, flip=True)
    codes, pixels, labels = epoch_of(
        open_files(source, "scale_pm1", pad=2), epoch=0, augmentation=augmentation
    )
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    for (index, top, left, flip), found in zip(codes, pixels, strict=True):
        window = padded[index, top : top + 6, left : left + 7]
        np.testing.assert_array_equal(found, window[:, ::-1] if flip else window)
    np.testing.assert_array_equal(labels, codes[:, 0])


def test_an_epoch_is_the_same_again_whatever_was_read_before(photos):
    images = open_files(open_source(photos / "train"), "raw", SHAPE)
    _, *first = epoch_of(images, epoch=5)
    epoch_of(images, epoch=4)
    alone = dataclasses.replace(images, workers=1)
    _, *again = epoch_of(alone, epoch=5, batch_size=5)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (epoch_of(images, epoch=6)[1] != first[0]).any()


@pytest.mark.parametrize("name", ["larq_in1k", "scale_pm1"])
def test_what_is_measured_is_what_evaluate_measures(photos, name):
    source = open_source(photos / "val")
    images = open_files(source, name, SHAPE)
    pixels, labels = taken(images, evaluation_codes(np.arange(len(images)), ALL))
    whole = dataclasses.replace(preprocessing.get(name, SHAPE), mean=(0.0,), std=(1.0,))
    np.testing.assert_array_equal(pixels, whole([image for image, _, _ in source]))
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(labels, [item.label for item in source.items])


def test_test_images_stand_behind_the_others(photos):
    train, test = (open_files(open_source(photos / s), "raw", SHAPE) for s in ("train", "val"))
    both = train.followed_by(test)
    assert len(both) == len(train) + len(test)
    expected = taken(test, evaluation_codes(np.array([2, 5]), ALL))
    found = taken(both, evaluation_codes(len(train) + np.array([2, 5]), ALL))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("broken", [0, 40])
def test_a_broken_image_is_named(tmp_path, broken):
    write_photos(tmp_path, broken=broken)
    images = open_files(open_source(tmp_path / "train"), "raw", SHAPE)
    codes = evaluation_codes(np.arange(48), ALL)
    with pytest.raises(DataError, match=rf"{broken:03}\.jpg is not a readable image"):
        taken(images, codes, drawing=Drawing(0.08, 0, 0))
    assert not data_threads()


def data_threads():
    return [t for t in threading.enumerate() if t.name.startswith("bnnzoo-data")]


class Counted:
    """Items that count how many were read."""

    def __init__(self, n, side):
        self.side = side
        self.read = 0
        self.items = tuple(Item(str(i), i % 3, self._image) for i in range(n))

    def _image(self):
        self.read += 1
        return np.zeros((self.side, self.side, 3), np.uint8)


def counted_files(n, side, workers=2):
    counted = Counted(n, side)
    source = Source("counted", n, counted.items)
    images = open_files(source, "scale_pm1", (100, 100, 3))
    return counted, dataclasses.replace(images, workers=workers)


def test_the_next_batches_are_made_while_a_step_runs():
    counted, images = counted_files(400, side=20)
    with images.feed(evaluation_codes(np.arange(400), ALL), 16, Drawing(0.08, 0, 0)) as data:
        next(data["x"])
        ahead = 16 + 16 * BATCHES_AHEAD
        deadline = time.monotonic() + 20
        while counted.read < ahead and time.monotonic() < deadline:
            time.sleep(0.01)
        assert counted.read >= ahead, "nobody asked for the second batch, so it was not made"
        time.sleep(0.1)
        # What the threads have begun, and no more.
        assert counted.read <= ahead + images.workers * PART
    assert not data_threads()


def test_a_folder_is_never_in_memory_whole():
    _, images = counted_files(60, side=600)  # 65 MB
    codes = evaluation_codes(np.arange(60), ALL)
    tracemalloc.start()
    try:
        with images.feed(codes, 8, Drawing(0.08, 0, 0)) as data:
            assert sum(len(labels) for _, labels in data["x"]) == 60
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Two threads have an image and its float32 copies; batches are 0.24 MB each.
    assert peak < 40e6


def test_stopping_early_leaves_no_thread():
    counted, images = counted_files(400, side=20)
    with (
        pytest.raises(KeyboardInterrupt),
        images.feed(evaluation_codes(np.arange(400), ALL), 16) as data,
    ):
        next(data["x"])
        raise KeyboardInterrupt
    assert not data_threads()
    assert counted.read < 100


def test_where_images_are_follows_from_the_recipe(photos, tmp_path):
    source = from_arrays(np.zeros((4, 8, 8, 3), np.uint8), [0, 1, 0, 1])
    many = dataclasses.replace(source, length=10**8)
    small = tiny_recipe(tmp_path)
    for recipe, data, kind in (
        (small, source, ImageArrays),
        (small, many, ImageFiles),
        (dataclasses.replace(small, images="files"), source, ImageFiles),
        (photo_recipe(photos), source, ImageFiles),
    ):
        assert isinstance(image_reader(recipe, data, None)(source), kind)


def test_sizes_that_nothing_decides_are_refused(photos):
    with pytest.raises(DataError, match="images must have one size for preprocessing 'raw'"):
        open_files(open_source(photos / "train"), "raw")


def test_one_grey_image_does_not_make_all_grey(tmp_path):
    for i, mode in enumerate(["L", "RGB", "RGB"]):
        (tmp_path / "a").mkdir(exist_ok=True)
        Image.new(mode, (9, 8)).save(tmp_path / "a" / f"{i}.png")
    assert open_files(open_source(tmp_path), "scale_pm1").shape == (8, 9, 3)
