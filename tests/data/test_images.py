"""Claim: every kind of image file decodes to the pixels a person sees, and a broken one says so."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bnnzoo.data.images import IMAGE_SUFFIXES, read_image
from bnnzoo.errors import DataError


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


@pytest.fixture
def pixels(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)


LOSSLESS = sorted(IMAGE_SUFFIXES - {".jpg", ".jpeg", ".gif", ".webp", ".pgm"})


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_colour_is_exact_in_lossless_formats(
    tmp_path: Path, pixels: np.ndarray, suffix: str
) -> None:
    path = save(tmp_path / f"a{suffix}", Image.fromarray(pixels))
    np.testing.assert_array_equal(read_image(path), pixels)


@pytest.mark.parametrize("suffix", [".png", ".pgm", ".bmp"])
def test_grey_has_one_channel(tmp_path: Path, pixels: np.ndarray, suffix: str) -> None:
    path = save(tmp_path / f"a{suffix}", Image.fromarray(pixels[..., 0]))
    np.testing.assert_array_equal(read_image(path), pixels[..., :1])


def test_exif_orientation_is_applied(tmp_path: Path, pixels: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees to show it
    path = save(tmp_path / "a.png", Image.fromarray(pixels), exif=exif)
    np.testing.assert_array_equal(read_image(path), np.rot90(pixels, k=3))


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], dtype=np.uint8)
    path = save(tmp_path / "a.png", Image.fromarray(rgba))
    np.testing.assert_array_equal(read_image(path), [[[10, 20, 30], [255, 255, 255]]])


def test_palette_becomes_colour(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 100, 50, 1, 2, 3])
    image.putdata([0, 1])
    path = save(tmp_path / "a.png", image)
    np.testing.assert_array_equal(read_image(path), [[[200, 100, 50], [1, 2, 3]]])


def test_transparent_palette_lies_over_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 100, 50, 1, 2, 3])
    image.putdata([0, 1])
    path = save(tmp_path / "a.png", image, transparency=0)
    np.testing.assert_array_equal(read_image(path), [[[255, 255, 255], [1, 2, 3]]])


def test_sixteen_bit_grey_keeps_its_upper_byte(tmp_path: Path) -> None:
    deep = np.array([[0, 0x00FF, 0x1234, 0xFFFF]], dtype=np.uint16)
    path = save(tmp_path / "a.png", Image.fromarray(deep))
    np.testing.assert_array_equal(read_image(path)[..., 0], [[0, 0, 0x12, 0xFF]])


def test_cmyk_becomes_colour(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), quality=100)
    red = read_image(path)
    assert red.shape == (8, 8, 3)
    assert red[..., 0].min() > 240
    assert red[..., 1:].max() < 15


def test_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    path = save(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(read_image(path)[0, 0], [255, 0, 0])


def test_bilevel_becomes_black_and_white(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(np.eye(4, dtype=bool)))
    np.testing.assert_array_equal(read_image(path)[..., 0], 255 * np.eye(4))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_truncated_file_is_named(tmp_path: Path, rng: np.random.Generator, suffix: str) -> None:
    noise = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / f"a{suffix}", Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=rf"a{suffix} is not a readable image: .* Replace it\.$"):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "a.png is not a readable image"),
        (b"not an image", "a.png is not a readable image: cannot identify image file"),
    ],
    ids=["empty", "text"],
)
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=match):
        read_image(tmp_path / "a.png")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no image .*a.png"):
        read_image(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"is a folder. Name image files"):
        read_image(tmp_path)


def test_float_pixels_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", Image.fromarray(np.ones((4, 4), dtype=np.float32)))
    with pytest.raises(DataError, match="32-bit float pixels; save it with 8 bits"):
        read_image(path)


def test_huge_image_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png", Image.new("L", (100, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match="decompression bomb"):
        read_image(path)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of some broken headers before it raises
@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_mutated_files_give_pixels_or_a_data_error(
    tmp_path: Path, rng: np.random.Generator, format: str
) -> None:
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(buffer, format)
    whole = np.frombuffer(buffer.getvalue(), dtype=np.uint8)
    path = tmp_path / "a.png"
    for _ in range(200):
        broken = whole.copy()
        places = rng.integers(0, min(len(whole), 300), 3)
        broken[places] = rng.integers(0, 256, 3)
        path.write_bytes(broken.tobytes())
        try:
            assert read_image(path).dtype == np.uint8
        except DataError as error:
            assert "\n" not in str(error)
