"""Claim: every preprocessing gives the arrays of its recipe at any size, from NumPy alone."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bnnzoo.data import preprocessing, resampling
from bnnzoo.data.images import read_image
from bnnzoo.data.preprocessing import PREPROCESSINGS
from bnnzoo.data.resampling import resize_bilinear
from bnnzoo.errors import ArgumentError, DataError
from tests.conftest import DATA

GOLDEN = dict(np.load(DATA / "preprocess_larq_in1k.npz"))
PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "imagenet_val1300"
MEAN = np.array([0.485, 0.456, 0.406]) * 255
STD = np.array([0.229, 0.224, 0.225]) * 255


def golden_image(name: str) -> np.ndarray:
    if name.startswith("random_"):
        h, w = map(int, name.removeprefix("random_").split("x"))
        return np.random.RandomState(h).randint(0, 256, (h, w, 3)).astype("uint8")
    if not (PHOTOS / name).is_file():
        pytest.skip(f"{PHOTOS / name} is not there: the photos are not part of the repository")
    return read_image(PHOTOS / name)


@pytest.mark.parametrize("key", sorted(GOLDEN))
def test_larq_in1k_equals_larq_zoo(key: str) -> None:
    # 1e-4 admits another order of float32 sums; a half-pixel shift or a = -0.5 gives above 0.1.
    result = preprocessing.get("larq_in1k")(golden_image(key.removeprefix("out/")))
    assert result.shape == (1, 224, 224, 3)
    assert result.dtype == np.float32
    assert np.abs(result[0, ::7, ::7] - GOLDEN[key]).max() <= 1e-4


def test_larq_in1k_takes_images_of_different_sizes() -> None:
    names = ["random_300x451", "random_97x64"]
    batch = preprocessing.get("larq_in1k")([golden_image(name) for name in names])
    for row, name in zip(batch, names, strict=True):
        assert np.abs(row[::7, ::7] - GOLDEN[f"out/{name}"]).max() <= 1e-4


def bicubic_restated(image: np.ndarray, size: int) -> np.ndarray:
    """TensorFlow 1's bicubic pixel by pixel in float64."""

    def kernel(x: float) -> float:
        a, x = -0.75, abs(x)
        if x <= 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0

    def taps(size_in: int, i: int) -> list[tuple[int, float]]:
        at = i * size_in / size
        low = int(np.floor(at))
        part = round((at - low) * 1024) / 1024
        return [(min(max(low + k, 0), size_in - 1), kernel(part - k)) for k in range(-1, 3)]

    out = np.zeros((size, size, image.shape[2]))
    for i in range(size):
        for j in range(size):
            for y, wy in taps(image.shape[0], i):
                for x, wx in taps(image.shape[1], j):
                    out[i, j] += wy * wx * image[y, x].astype(float)
    return out


@pytest.mark.parametrize(("h", "w", "size"), [(40, 64, 32), (33, 33, 48), (5, 9, 16)])
def test_larq_in1k_at_other_sizes_keeps_the_recipe(
    rng: np.random.Generator, h: int, w: int, size: int
) -> None:
    image = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
    crop = int(224 / 256 * min(h, w))
    top, left = (h - crop + 1) // 2, (w - crop + 1) // 2
    middle = image[top : top + crop, left : left + crop]
    expected = (bicubic_restated(middle, size) - MEAN) / STD
    result = preprocessing.get("larq_in1k", (size, size, 3))(image)
    np.testing.assert_allclose(result[0], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("id", "formula"),
    [
        ("scale_pm1", lambda x: x / 127.5 - 1),
        ("scale_01", lambda x: x / 255),
        (
            "torchvision_cifar10",
            lambda x: (x / 255 - [0.4914, 0.4822, 0.4465]) / [0.2470, 0.2435, 0.2616],
        ),
        ("raw", lambda x: x),
    ],
)
def test_scaling(rng: np.random.Generator, id: str, formula: object) -> None:
    x = rng.integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
    result = preprocessing.get(id)(x)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, formula(x.astype(float)), atol=1e-6)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((8, 6), (1, 8, 6, 1)),
        ((8, 6, 1), (1, 8, 6, 1)),
        ((8, 6, 3), (1, 8, 6, 3)),
        ((2, 8, 6), (2, 8, 6, 1)),
        ((2, 8, 6, 1), (2, 8, 6, 1)),
        ((2, 8, 6, 3), (2, 8, 6, 3)),
    ],
    ids=str,
)
def test_shapes(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert preprocessing.get("raw")(np.zeros(shape, dtype=np.uint8)).shape == expected


def test_another_size_is_cropped_to_the_aspect_and_resized_as_pillow_does(
    rng: np.random.Generator,
) -> None:
    # Smooth, since Pillow rounds to 8 bits between its two passes: 1 admits that rounding.
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(coarse).resize((61, 47), Image.Resampling.BICUBIC))
    result = preprocessing.get("raw", (20, 20, 3))(image)
    square = Image.fromarray(image[:, 7:54])
    expected = np.asarray(square.resize((20, 20), Image.Resampling.BILINEAR), dtype=float)
    np.testing.assert_allclose(result[0], expected, atol=1.0)


def torchvision_restated(image: np.ndarray, shorter: int, filter: int) -> np.ndarray:
    """torchvision's Resize and CenterCrop(224) of an image of Pillow, which timm uses as well."""
    pillow = Image.fromarray(image)
    w, h = pillow.size
    size = (shorter, int(shorter * h / w)) if w < h else (int(shorter * w / h), shorter)
    left, top = (round((side - 224) / 2) for side in size)
    resized = pillow.resize(size, filter)
    return np.asarray(resized.crop((left, top, left + 224, top + 224)), float)


@pytest.mark.parametrize(
    ("id", "shorter", "filter"),
    [
        ("torchvision_in1k", 256, Image.Resampling.BILINEAR),
        ("timm_in1k", 235, Image.Resampling.BICUBIC),
    ],
)
@pytest.mark.parametrize(
    "name",
    ["random_300x451", "random_97x64", "random_256x256", "random_235x500",
     "ILSVRC2012_val_00000347.JPEG", "ILSVRC2012_val_00000355.JPEG"],
)  # fmt: skip
def test_pixels_are_those_of_torchvision_and_timm(
    id: str, shorter: int, filter: int, name: str
) -> None:
    image = golden_image(name)
    found = preprocessing.get(id).unscaled()(image)[0]
    np.testing.assert_array_equal(found, torchvision_restated(image, shorter, filter))


@pytest.mark.parametrize(("size_in", "size_out"), [(5, 9), (9, 5), (7, 7), (1, 4), (4, 1)])
def test_bilinear_keeps_a_constant_image(size_in: int, size_out: int) -> None:
    image = np.full((size_in, size_in, 1), 77, dtype=np.uint8)
    np.testing.assert_allclose(resize_bilinear(image, size_out, size_out), 77, rtol=1e-6)


def test_colour_becomes_grey_as_in_pillow(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(image).convert("L"))
    result = preprocessing.get("raw", (16, 16, 1))(image)
    np.testing.assert_array_equal(result[0, ..., 0], expected)


def test_grey_becomes_three_equal_channels(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (16, 16), dtype=np.uint8)
    result = preprocessing.get("raw", (16, 16, 3))(image)
    for channel in range(3):
        np.testing.assert_array_equal(result[0, ..., channel], image)


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA", "CMYK", "L"])
def test_an_open_image_is_one_image_in_rgb(rng: np.random.Generator, mode: str) -> None:
    colours = Image.fromarray(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8))
    image = (colours.convert("L") if mode == "LA" else colours).convert(mode)
    expected = preprocessing.get("raw", (None, None, 3))(np.asarray(image.convert("RGB")))
    for images in (image, [image], (image,)):
        found = preprocessing.get("raw", (None, None, 3))(images)
        np.testing.assert_array_equal(found, expected)


def test_large_images_are_resized_in_blocks(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = rng.integers(0, 256, (50, 41, 3), dtype=np.uint8)
    whole = resize_bilinear(image, 7, 9)
    monkeypatch.setattr(resampling, "BLOCK_VALUES", 50 * 10)
    np.testing.assert_allclose(resize_bilinear(image, 7, 9), whole, rtol=1e-6)
    monkeypatch.setattr("bnnzoo.data.preprocessing.BLOCK_PIXELS", 41 * 3)
    test_colour_becomes_grey_as_in_pillow(rng)


@pytest.mark.parametrize(
    ("images", "match"),
    [
        (np.zeros((4, 4, 3), dtype=np.float32), "must be uint8, got float32. Pass raw pixels"),
        (np.zeros((4,), dtype=np.uint8), r"must be \(h, w\).* got \(4,\)"),
        (np.zeros((1, 4, 4, 4), dtype=np.uint8), "drop an alpha channel"),
        (np.zeros((9, 9, 4), dtype=np.uint8), r"got \(9, 9, 4\)\. .*drop an alpha channel"),
        (np.zeros((9, 9, 2), dtype=np.uint8), r"got \(9, 9, 2\)"),
        (np.zeros((0, 4, 4, 3), dtype=np.uint8), "at least one image, got none"),
        ([], "at least one image, got none"),
        ([np.zeros((4, 4), np.uint8), np.zeros((5, 4), np.uint8)], "must have one shape"),
    ],
    ids=[
        "float",
        "one axis",
        "alpha",
        "one of alpha",
        "grey alpha",
        "no rows",
        "empty list",
        "two sizes",
    ],
)
def test_images_that_cannot_be_used(images: object, match: str) -> None:
    with pytest.raises(DataError, match=match):
        preprocessing.get("raw")(images)  # type: ignore[arg-type]


def test_unknown_id_suggests_the_nearest() -> None:
    with pytest.raises(ArgumentError, match=r"Did you mean 'larq_in1k'\? Available: larq_in1k, "):
        preprocessing.get("larq_in1")


@pytest.mark.parametrize(
    ("id", "shape", "match"),
    [
        ("larq_in1k", (224, 224, 1), "must be 3, got 1"),
        ("scale_pm1", (28, 28, 2), "must be 1 or 3, got 2"),
        ("scale_pm1", (784,), r"must be \(height, width, channels\), got \(784,\)"),
    ],
    ids=str,
)
def test_input_shapes_that_cannot_be_made(id: str, shape: tuple[int, ...], match: str) -> None:
    with pytest.raises(ArgumentError, match=match):
        preprocessing.get(id, shape)


@pytest.mark.parametrize("id", PREPROCESSINGS)
def test_every_preprocessing_is_frozen_and_described(id: str) -> None:
    found = preprocessing.get(id, (32, 32, 3))
    assert found.id == id
    assert found.description
    assert found.size == (32, 32)
    with pytest.raises(FrozenInstanceError):
        found.id = "other"  # type: ignore[misc]
    assert found(np.zeros((40, 50, 3), dtype=np.uint8)).shape == (1, 32, 32, 3)


def test_open_input_sizes_take_the_preprocessings_own() -> None:
    assert preprocessing.get("larq_in1k", (None, None, 3)).size == (224, 224)
    assert preprocessing.get("scale_pm1", (None, None, 1)).size is None


def test_data_needs_no_keras() -> None:
    code = (
        "import sys, bnnzoo.data; "
        "bnnzoo.data.open_source('sample:fashion_mnist'); "
        "print(sorted({'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr


@pytest.mark.parametrize(
    ("id", "formula", "size"),
    [
        ("mean=0.5:std=0.25", lambda x: (x / 255 - 0.5) / 0.25, None),
        (
            "mean=0.485,0.456,0.406:std=0.229,0.224,0.225:size=6x5",
            lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
            (6, 5),
        ),
        ("std=1:size=6x5:mean=0.1,0.2,0.3", lambda x: x / 255 - [0.1, 0.2, 0.3], (6, 5)),
    ],
)
def test_an_id_says_mean_deviation_and_size(
    rng: np.random.Generator, id: str, formula: Callable[[Any], Any], size: object
) -> None:
    x = rng.integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
    found = preprocessing.get(id)
    assert found.size == size
    np.testing.assert_allclose(found(x), formula(x.astype(float)), atol=1e-5)
    again = preprocessing.get(found.id)
    assert (again.id, again.mean, again.std) == (found.id, found.mean, found.std)
    assert preprocessing.known_id(found) == preprocessing.known_id(id) == found.id


def test_an_id_says_the_crop(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    found = preprocessing.get("mean=0:std=1:size=16:crop=0.8")(image)[0]
    expected = np.asarray(
        Image.fromarray(image[4:36, 4:36]).resize((16, 16), Image.Resampling.BILINEAR)
    )
    np.testing.assert_allclose(255 * found, expected, atol=1.5)


@pytest.mark.parametrize(
    ("id", "match"),
    [
        ("mean=0.5", "must be mean=M:std=S.*got 'mean=0.5'"),
        ("mean=0.5:std=x", "must be mean=M:std=S"),
        ("mean=0.5:std=1:gamma=2", "must be mean=M:std=S"),
        ("mean=0.5:std=1:size=1x2x3", "must be mean=M:std=S"),
        ("mean=123.7,116.8,103.9:std=1", r"mean must be .* from 0 to 1, got 123.7.*divide"),
        ("mean=0.5:std=58", r"std must be .* from 1e-06 to 10, got 58.0"),
        ("mean=0.5:std=0", "std must be"),
        ("mean=nan:std=1", "mean must be"),
        ("mean=0.5,0.5:std=1", "mean must be 1 or 3 numbers"),
        ("mean=0.5:std=1:size=0x4", "size from 1 to 8192"),
        ("mean=0.5:std=1:crop=1.5", "crop must be above 0 and at most 1"),
    ],
)
def test_an_id_that_says_something_else(id: str, match: str) -> None:
    with pytest.raises(ArgumentError, match=match):
        preprocessing.get(id)


def test_a_changed_preprocessing_has_an_id_where_one_can_say_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    changed = replace(preprocessing.get("scale_01"), id="mine", mean=(127.5,), size=(8, 8))
    assert preprocessing.known_id(changed) == "mean=0.5:std=1.0:size=8x8"
    other = replace(changed, fit=lambda image, height, width: image.astype(np.float32))
    assert preprocessing.known_id(other) is None
    assert "Preprocessing 'mine' is not saved" in caplog.text


def test_one_image_of_a_list_is_in_memory_at_a_time():
    photos = [Image.new("RGB", (1000, 1000)) for _ in range(16)]  # 3 MB each
    prepare = preprocessing.get("scale_01", (8, 8, 3))
    peaks = []
    for given in (photos[:1], photos[:1], photos):
        tracemalloc.start()
        prepare(given)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < peaks[1] + 8e6, peaks


@pytest.mark.parametrize(
    "shape", [(1, 1, 3), (2, 5, 1), (7, 3, 3), (224, 224, 3), (333, 500, 3), (60, 61, 1)]
)
@pytest.mark.parametrize("size", [(224, 224), (5, 3), (1, 64)])
def test_the_extension_resamples_as_numpy_does_to_the_bit(
    rng: np.random.Generator, shape: tuple[int, ...], size: tuple[int, int]
) -> None:
    image = rng.integers(0, 256, shape, np.uint8)
    taps = [resampling._bicubic_taps(a, b) for a, b in zip(shape, size, strict=False)]
    native = resampling._extension().resample(image, *taps[0], *taps[1])
    np.testing.assert_array_equal(native, resampling._resample(image, *taps))
    np.testing.assert_array_equal(native, resampling.resize_bicubic_tf1(image, *size))


def test_without_the_extension_numpy_resamples(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = rng.integers(0, 256, (9, 8, 3), np.uint8)
    expected = resampling.resize_bicubic_tf1(image, 4, 6)
    monkeypatch.setattr(resampling, "_extension", lambda: None)
    np.testing.assert_array_equal(resampling.resize_bicubic_tf1(image, 4, 6), expected)


def test_the_extension_refuses_taps_outside_the_image(rng: np.random.Generator) -> None:
    image, weights = rng.integers(0, 256, (4, 4, 3), np.uint8), np.ones((1, 2), np.float32)
    inside, outside = np.array([[0, 3]]), np.array([[0, 4]])
    for rows, columns in ((outside, inside), (inside, outside), (inside, -outside)):
        with pytest.raises(ValueError, match="inside the image"):
            resampling._extension().resample(image, rows, weights, columns, weights)
    with pytest.raises(ValueError, match="index per weight"):
        resampling._extension().resample(image, inside, weights[:, :1], inside, weights)
