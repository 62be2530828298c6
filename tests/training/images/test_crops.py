"""Random boxes are those of the formula, within their bounds, and follow from seed and index."""

from __future__ import annotations

import numpy as np
import pytest

from bnnzoo.training.images.crops import Drawing, random_box

SIZES = [(227, 227), (375, 500), (500, 333), (64, 1000), (1000, 64), (9, 7), (1, 1)]


def restated(height, width, min_area, uniform):
    """All attempts at once; the first that fits, else the middle."""
    area = height * width * (min_area + (1 - min_area) * uniform[:, 0])
    ratio = np.exp(np.log(3 / 4) + uniform[:, 1] * (np.log(4 / 3) - np.log(3 / 4)))
    h, w = np.rint(np.sqrt(area / ratio)).astype(int), np.rint(np.sqrt(area * ratio)).astype(int)
    fits = np.flatnonzero((h >= 1) & (w >= 1) & (h <= height) & (w <= width))
    if len(fits):
        i = fits[0]
        top, left = (uniform[i, 2:] * (height - h[i] + 1, width - w[i] + 1)).astype(int)
        return top, left, h[i], w[i]
    h, w = min(height, round(width / (3 / 4))), min(width, round(height * (4 / 3)))
    return (height - h) // 2, (width - w) // 2, h, w


@pytest.mark.parametrize("min_area", [0.08, 0.5, 1.0])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_formula_and_the_bounds(rng, size, min_area):
    height, width = size
    for _ in range(200):
        uniform = rng.random((10, 4))
        top, left, h, w = random_box(height, width, min_area, uniform)
        assert (top, left, h, w) == restated(height, width, min_area, uniform)
        assert 0 <= top <= top + h <= height
        assert 0 <= left <= left + w <= width
        assert h > 0
        assert w > 0
        # Sides are rounded: half a pixel each. The middle of a strip may be smaller.
        assert (w + 0.5) / max(h - 0.5, 0.5) >= 3 / 4
        assert max(w - 0.5, 0.5) / (h + 0.5) <= 4 / 3
        if max(size) < 4 / 3 * min(size):
            assert (h + 0.5) * (w + 0.5) >= min_area * height * width


def test_areas_and_places_are_drawn_evenly():
    boxes = np.array([Drawing(0.08, 1, 2).box(index, 400, 400) for index in range(4000)])
    areas = boxes[:, 2] * boxes[:, 3] / 400**2
    # Of the largest quarter of [0.08, 1] some do not fit, and all four are drawn again.
    counts = np.histogram(areas, bins=np.linspace(0.08, 1, 5))[0] / 4000
    np.testing.assert_allclose(counts[:3], counts[:3].mean(), atol=0.03)
    assert 0.05 < counts[3] < 0.25
    room = 400 - boxes[:, 2]
    assert np.mean(boxes[room > 50, 0] / room[room > 50]) == pytest.approx(0.5, abs=0.03)


def test_a_box_follows_from_seed_epoch_and_place_alone():
    drawing = Drawing(0.08, seed=1, epoch=2)
    box = drawing.box(3, 300, 400)
    for index in range(3):
        drawing.box(index, 300, 400)
    assert drawing.box(3, 300, 400) == box
    others = [Drawing(0.08, 2, 2).box(3, 300, 400), Drawing(0.08, 1, 3).box(3, 300, 400)]
    assert len({box, *others, drawing.box(4, 300, 400)}) == 4
