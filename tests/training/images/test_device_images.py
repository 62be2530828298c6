"""DeviceImages cuts, mirrors and scales as NumPy does."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from bnnzoo.data.preprocessing import get
from bnnzoo.training.images.device_images import DeviceImages
from bnnzoo.training.images.image_arrays import ImageArrays


@pytest.mark.parametrize("preprocessing", ["scale_pm1", "larq_in1k"])
@pytest.mark.parametrize("pad", [0, 2])
def test_windows_and_flips(rng, pad, preprocessing):
    pixels = rng.integers(0, 256, (7, 5, 6, 3)).astype(np.uint8)
    images = ImageArrays(pixels, np.zeros(7, np.int32))
    codes = np.stack(
        [
            rng.integers(0, 7, 40),
            rng.integers(0, 2 * pad + 1, 40),
            rng.integers(0, 2 * pad + 1, 40),
            rng.integers(0, 2, 40),
        ],
        axis=1,
    ).astype(np.int32)
    padded = np.pad(images.pixels, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    known = get(preprocessing)
    expected = []
    for index, top, left, flip in codes:
        window = padded[index, top : top + 5, left : left + 6]
        window = window[:, ::-1] if flip else window
        expected.append((window - np.float32(known.mean)) / np.float32(known.std))
    device_images = DeviceImages(images, preprocessing, pad)
    assert device_images.pixels.dtype == "uint8"
    # XLA may multiply by the inverse deviation: one rounding of values up to 3.
    np.testing.assert_allclose(ops.convert_to_numpy(device_images(codes)), expected, atol=1e-6)
