"""Claim: every kind of image file decodes to the pixels a person sees, and a broken one says so."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bnnzoo.data.images import FORMATS, IMAGE_SUFFIXES, MAX_PIXELS, as_pixels, read_image
from bnnzoo.errors import DataError


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


@pytest.fixture
def pixels(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)


def test_suffixes_are_those_that_pillow_knows_of_the_formats() -> None:
    known = {s for s, format in Image.registered_extensions().items() if format in FORMATS}
    assert known - IMAGE_SUFFIXES <= {".pfm"}  # of float pixels
    assert {".jfif", ".jpe"} <= IMAGE_SUFFIXES <= known


LOSSLESS = sorted({s for f in ("BMP", "PNG", "PPM", "TIFF") for s in FORMATS[f]} - {".pgm"})


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


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV", "RGBX", "RGBA", "LA", "PA"]
)
def test_an_open_image_of_any_mode_is_its_rgb_conversion(pixels: np.ndarray, mode: str) -> None:
    step = "L" if mode in ("LA", "PA") else "RGB"
    image = Image.fromarray(pixels).convert(step).convert(mode)
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(np.broadcast_to(as_pixels(image), expected.shape), expected)


def test_a_transparent_open_image_is_what_its_file_is(tmp_path: Path, pixels: np.ndarray) -> None:
    image = Image.fromarray(np.dstack([pixels, pixels[..., 0]]))
    path = save(tmp_path / "a.png", image)
    np.testing.assert_array_equal(as_pixels(image), read_image(path))


@pytest.mark.parametrize(("mode", "bits"), [("I;16", "16-bit"), ("I", "32-bit"), ("F", "32-bit")])
def test_an_open_image_of_deep_pixels_is_refused(mode: str, bits: str) -> None:
    match = rf"An image of mode '{mode}' cannot be converted to RGB: .*{bits}.*save it with 8 bits"
    with pytest.raises(DataError, match=match):
        as_pixels(Image.new(mode, (4, 4)))


def test_a_file_of_32_bit_integers_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", Image.fromarray(np.full((4, 4), 200, dtype=np.int32)))
    with pytest.raises(DataError, match="a.tif is not a readable image: it has 32-bit pixels"):
        read_image(path)


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
    with pytest.raises(DataError, match=r"is a folder. Pass image files"):
        read_image(tmp_path)
    with pytest.raises(DataError, match=r"There is no image aaaa"):
        read_image(Path("a" * 5000))
    (tmp_path / "link.png").symlink_to("gone.png")
    with pytest.raises(DataError, match=r"There is no image .*link.png, a link to gone.png"):
        read_image(tmp_path / "link.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match=r"pipe.png is not a regular file"):
        read_image(tmp_path / "pipe.png")


def write_tiff(path: Path, tags: list[tuple[int, int]], data: bytes) -> Path:
    """Writes a TIFF file with `data` at byte 8."""
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    ifd = struct.pack("<H", len(tags)) + entries + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + ifd)
    return path


def test_twelve_bit_grey_is_refused(tmp_path: Path) -> None:
    """Pillow does not scale 12 bits to 16: the picture would have 16 levels."""
    tags = [
        (256, 2), (257, 2), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 2), (279, 6),
    ]  # fmt: skip
    path = write_tiff(tmp_path / "a.tif", tags, b"\xff\xf0\x00\x00\x0f\xff")
    with pytest.raises(DataError, match="a.tif is not a readable image: it has 12-bit pixels"):
        read_image(path)


SIDE = 2**14


@pytest.mark.parametrize(
    ("tiles", "match"),
    [
        ([(322, 16), (323, 16)], None),
        ([(322, SIDE), (323, SIDE)], "its tiles must have one size, .* pixels: 16384 x 16384"),
        ([(322, SIDE), (322, 16), (323, SIDE), (323, 16)], "its tiles must have one size"),
        ([(322, 16), (322, SIDE), (323, 16), (323, SIDE)], "its tiles must have one size"),
    ],
    ids=["small", "large", "large first", "large last"],
)
def test_tiles_are_no_larger_than_images(
    tmp_path: Path, tiles: list[tuple[int, int]], match: str | None
) -> None:
    data = zlib.compress(bytes(256))
    tags = [(256, 8), (257, 8), (258, 8), (259, 8), (262, 1), (277, 1), *tiles, (324, 8)]
    path = write_tiff(tmp_path / "a.tif", [*tags, (325, len(data))], data)
    if match is None:
        assert read_image(path).shape == (8, 8, 1)
        return
    with pytest.raises(DataError, match=match):
        read_image(path)


def test_float_pixels_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", Image.fromarray(np.ones((4, 4), dtype=np.float32)))
    with pytest.raises(DataError, match="32-bit float pixels; save it with 8 bits"):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "format"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n", "EPS"),
        (None, "ICO"),
        (None, "TGA"),
        (None, "PCX"),
    ],
)
def test_formats_that_are_not_meant_are_not_opened(
    tmp_path: Path, content: bytes | None, format: str
) -> None:
    path = tmp_path / "a.png"
    if content is None:
        Image.new("RGB", (16, 16)).save(path, format)
    path.write_bytes(content or path.read_bytes())
    with Image.open(path) as image:
        assert image.format == format
    with pytest.raises(DataError, match=r"a\.png is not a readable image: cannot identify"):
        read_image(path)


def test_huge_image_is_refused(tmp_path: Path) -> None:
    side = 8200
    assert side**2 > MAX_PIXELS
    path = save(tmp_path / "a.png", Image.new("1", (side, side)))
    with pytest.raises(DataError, match=r"a\.png .*8200 x 8200 pixels, at most 67,108,864"):
        read_image(path)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_pillows_own_limit_is_an_error_too(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.new("1", (1, 1)))
    header = bytearray(path.read_bytes())
    header[16:24] = (60_000).to_bytes(4, "big") * 2
    path.write_bytes(header)
    with pytest.raises(DataError, match=r"a\.png is not a readable image"):
        read_image(path)


PEAK = """
import resource, sys
from pathlib import Path
from bnnzoo.data.images import read_image
from PIL import Image
Image.init()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
read_image(Path(sys.argv[1]))
print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit")
@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("a.png", "LA", {}),
        ("a.webp", "RGB", {"method": 0}),
        ("a.jpg", "CMYK", {"progressive": True}),
    ],
)
def test_decoding_holds_16_bytes_for_a_pixel(
    tmp_path: Path, name: str, mode: str, options: dict[str, object]
) -> None:
    side = 3000
    path = save(tmp_path / name, Image.new(mode, (side, side)), **options)
    command = [sys.executable, "-c", PEAK, str(path)]
    peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert peak < 16 * side**2 + 16 * 2**20


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
        positions = rng.integers(0, min(len(whole), 300), 3)
        broken[positions] = rng.integers(0, 256, 3)
        path.write_bytes(broken.tobytes())
        try:
            assert read_image(path).dtype == np.uint8
        except DataError as error:
            assert "\n" not in str(error)
