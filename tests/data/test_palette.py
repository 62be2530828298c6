"""The colours of classes, and files of masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from bnnzoo.data.masks import read_mask
from bnnzoo.data.palette import mask_png, palette

# The first classes of PASCAL VOC: background, aeroplane, bicycle, bird, boat, bottle; and no class.
VOC = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128)]


def test_colours_are_those_of_pascal_voc() -> None:
    colours = palette()
    assert [tuple(colour) for colour in colours[:6].tolist()] == VOC
    assert tuple(colours[255]) == (224, 224, 192)
    assert len({tuple(colour) for colour in colours.tolist()}) == 256


def test_a_written_mask_is_read_again_and_shows_its_colours(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).integers(0, 256, (7, 11)).astype(np.uint8)
    (tmp_path / "mask.png").write_bytes(mask_png(mask))
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), mask)
    with Image.open(tmp_path / "mask.png") as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), palette()[mask])
