"""Images with masks: their files, their pairs, and what preprocessing makes of a mask."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bnnzoo.data import open_source, preprocessing
from bnnzoo.data.masks import read_mask
from bnnzoo.data.prefetch import batches
from bnnzoo.data.source import IGNORED
from bnnzoo.errors import ArgumentError, DataError

INDICES = np.array([[0, 1, 2], [3, 0, 255]], np.uint8)


def palette(indices: np.ndarray) -> Image.Image:
    image = Image.frombytes("P", indices.shape[::-1], indices.tobytes())
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768).astype(np.uint8).tobytes())
    return image


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two photos with masks, one of them in a subfolder."""
    rng = np.random.default_rng(0)
    for name, (h, w) in {"a": (30, 40), "more/b": (25, 25)}.items():
        photo = Image.fromarray(rng.integers(0, 256, (h, w, 3), np.uint8))
        mask = rng.integers(0, 3, (h, w)).astype(np.uint8)
        mask[0] = IGNORED
        for folder, image, suffix in (("images", photo, ".jpg"), ("masks", palette(mask), ".png")):
            path = (tmp_path / folder / name).with_suffix(suffix)
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
    return tmp_path


def spec(folder: Path) -> str:
    return f"folder:{folder}/images,{folder}/masks"


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_indices_of_a_palette_are_its_numbers(bits: int, tmp_path: Path) -> None:
    indices = np.uint8(INDICES & (2**bits - 1))
    palette(indices).save(tmp_path / "mask.png", bits=bits)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), indices)


def test_grey_levels_are_indices(tmp_path: Path) -> None:
    Image.fromarray(INDICES).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), INDICES)
    Image.fromarray(INDICES == 1).save(tmp_path / "two.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "two.png"), (INDICES == 1).astype(np.uint8))


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_levels_of_few_bits_are_not_spread(bits: int, tmp_path: Path) -> None:
    """Pillow reads level 3 of 2 bits as 255."""
    indices = np.uint8(INDICES & (2**bits - 1))
    image = palette(indices)
    image.save(tmp_path / "mask.png", bits=bits)
    data = (tmp_path / "mask.png").read_bytes()
    grey = data[:25] + b"\0" + data[26:]  # colour type 0 instead of 3
    (tmp_path / "grey.png").write_bytes(with_checksums(grey))
    with Image.open(tmp_path / "grey.png") as opened:
        assert opened.mode == "L" and np.asarray(opened).max() == 255
    np.testing.assert_array_equal(read_mask(tmp_path / "grey.png"), indices)


def with_checksums(png: bytes) -> bytes:
    """Returns a PNG file without its palette, and with the checksum of each chunk."""
    made, at = png[:8], 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        if kind != b"PLTE":
            made += png[at : at + 4] + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        at += 12 + length
    return made


REFUSED = {
    "colours": (lambda path: Image.new("RGB", (4, 4)).save(path), "mode 'RGB', not class indices"),
    "16 bits": (
        lambda path: Image.fromarray(np.zeros((4, 4), np.uint16)).save(path), "mode 'I;16'"
    ),
    "a photo": (lambda path: Image.new("L", (4, 4)).save(path, "JPEG"), "cannot identify"),
    "nothing": (lambda path: path.write_bytes(b""), "is not a mask"),
    "half": (
        lambda path: (palette(np.zeros((64, 64), np.uint8)).save(path),
                      path.write_bytes(path.read_bytes()[:-40])),
        "is not a mask",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_class_indices_is_refused(name: str, tmp_path: Path) -> None:
    write, reason = REFUSED[name]
    path = tmp_path / "mask.png"
    write(path)
    with pytest.raises(DataError, match=reason) as caught:
        read_mask(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_images_and_masks_are_paired_by_name(folders: Path) -> None:
    source = open_source(spec(folders))
    assert [item.id for item in source.items] == ["a.jpg", str(Path("more/b.jpg"))]
    assert source.has_masks and source.class_names is None and source.count_classes() == 3
    image, mask = source.items[0].read_both()
    assert image.shape == (30, 40, 3)
    np.testing.assert_array_equal(mask, np.asarray(Image.open(folders / "masks/a.png")))


def test_classes_have_the_names_of_the_file(folders: Path) -> None:
    (folders / "masks" / "classes.txt").write_text("sky\nroad\ncar\nman\n")
    source = open_source(spec(folders))
    assert source.class_names == ("sky", "road", "car", "man")
    assert source.count_classes() == 4


def test_masks_of_other_classes_are_refused(folders: Path) -> None:
    """Indices in masks are not changed, unlike those of folders."""
    (folders / "masks" / "classes.txt").write_text("sky\nroad\ncar\n")
    source = open_source(spec(folders))
    assert source.labelled_as(("sky", "road", "car")) is source
    with pytest.raises(DataError, match="got sky, road, car, not road, sky, car"):
        source.labelled_as(("road", "sky", "car"))


def test_a_file_without_a_partner_is_named(folders: Path) -> None:
    Image.new("RGB", (3, 3)).save(folders / "images/c.jpg")
    with pytest.raises(DataError, match=r"c.jpg has no mask .*masks/c.png. Add it"):
        open_source(spec(folders))
    skipping = open_source(spec(folders), skip_bad=True)
    assert len(skipping) == 2 and [skipped.id for skipped in skipping.skipped] == ["c"]
    (folders / "images/c.jpg").unlink()
    (folders / "images/a.jpg").unlink()
    with pytest.raises(DataError, match=r"a.png has no image .*images/a.\*. Add it"):
        open_source(spec(folders))


def test_two_images_of_one_name_are_refused(folders: Path) -> None:
    Image.new("RGB", (3, 3)).save(folders / "images/a.png")
    with pytest.raises(DataError, match="names must differ without their suffixes"):
        open_source(spec(folders))


def test_a_mask_of_another_size_is_named(folders: Path) -> None:
    palette(np.zeros((40, 30), np.uint8)).save(folders / "masks/a.png")
    source = open_source(spec(folders))
    match = r"a.jpg: a mask must have the size of its image, 40 x 30, got 30 x 40"
    with pytest.raises(DataError, match=match):
        list(batches(source, preprocessing.get("raw", (16, 16, 3)), 2))
    (batch,) = batches(source, preprocessing.get("raw", (16, 16, 3)), 2, skip_bad=True)
    assert [skipped.id for skipped in batch.skipped] == ["a.jpg"] and batch.labels.shape[0] == 1


def test_a_label_beyond_the_classes_is_named_when_it_is_read(folders: Path) -> None:
    source = open_source(spec(folders), num_classes=2)
    match = "labels of a mask must be from 0 to 1, or 255 for no class, got 2"
    with pytest.raises(DataError, match=match):
        source.items[0].read_both()


@pytest.mark.parametrize("rest", ["one", "one,", "a,b,c", ""])
def test_folders_must_be_two(rest: str) -> None:
    with pytest.raises(ArgumentError, match="must be folder:IMAGES,MASKS, got"):
        open_source(f"folder:{rest}")


def test_a_missing_folder_is_named(folders: Path) -> None:
    with pytest.raises(DataError, match="There is no folder or file .*none"):
        open_source(f"folder:{folders}/images,{folders}/none")
    with pytest.raises(ArgumentError, match="--labels must not be given"):
        open_source(spec(folders), labels_csv="labels.csv")


KINDS = ("larq_in1k", "torchvision_in1k", "timm_in1k", "scale_pm1", "mean=0.5:std=0.2:crop=0.8")


@pytest.mark.parametrize("shape", [(60, 90), (90, 61), (224, 224), (500, 333)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_follows_its_image(kind: str, shape: tuple[int, int]) -> None:
    """An image that shows its mask still shows it afterwards, but for pixels at an edge."""
    found = preprocessing.get(kind, (48, 64, 3))
    mask = np.zeros(shape, np.uint8)
    mask[shape[0] // 3 :, : shape[1] // 2] = 1
    image = np.repeat(255 * mask[..., None], 3, axis=2)
    fitted = found.unscaled()([image])[0, ..., 0] / 255
    labels = found.fit_mask(mask)
    assert labels.shape == (48, 64) and labels.dtype == np.uint8
    assert np.abs(fitted - labels).mean() < 0.03
    clear = np.abs(fitted - 0.5) > 0.45
    assert clear.mean() > 0.85
    assert (labels[clear] == (fitted[clear] > 0.5)).mean() > 0.985


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_returns_to_its_place_in_the_image(kind: str) -> None:
    found = preprocessing.get(kind, (48, 64, 3))
    mask = np.random.default_rng(0).integers(0, 5, (48, 64)).astype(np.uint8)
    back = found.unfit_mask(mask, 480, 500)
    _, _, height, width = found.region(480, 500, 48, 64)
    inside = (back != IGNORED).sum()
    assert back.shape == (480, 500) and abs(inside - height * width) < 1000
    # A larger image has every pixel of the mask: fitting it again takes the same ones.
    np.testing.assert_array_equal(found.fit_mask(back), mask)


def test_nearest_neighbours_are_those_of_pillow() -> None:
    mask = np.random.default_rng(0).integers(0, 9, (37, 53)).astype(np.uint8)
    for size in ((20, 31), (80, 100)):
        found = preprocessing.nearest(mask, (0, 0, 37, 53), *size)
        peer = Image.fromarray(mask).resize(size[::-1], Image.Resampling.NEAREST)
        np.testing.assert_array_equal(found, np.asarray(peer))


def test_a_custom_fit_has_no_masks() -> None:
    custom = replace(preprocessing.get("raw", (8, 8, 1)), fit=lambda image, h, w: image[:h, :w])
    with pytest.raises(ArgumentError, match="must not have a custom fit to be applied to masks"):
        custom.fit_mask(np.zeros((9, 9), np.uint8))


def test_batches_have_masks_as_labels(folders: Path) -> None:
    (batch,) = batches(open_source(spec(folders)), preprocessing.get("scale_pm1", (16, 24, 3)), 4)
    assert batch.images is not None and batch.images.shape == (2, 16, 24, 3)
    assert batch.labels.shape == (2, 16, 24) and batch.labels.dtype == np.int64
    assert set(np.unique(batch.labels)) <= {0, 1, 2, IGNORED}
