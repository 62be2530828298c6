"""Claim: a confusion matrix is written as a table with names and as a picture."""

from __future__ import annotations

import csv
import io
import sys

import numpy as np
import pytest
from PIL import Image

from bnnzoo.errors import MissingDependencyError
from bnnzoo.evaluation.confusion import confusion_csv, confusion_png

MATRIX = np.array([[3, 0, 1], [0, 2, 0], [0, 0, 0]])
NAMES = ("cat", "dog, wolf", "none")


def test_csv_has_names_on_both_sides() -> None:
    rows = list(csv.reader(io.StringIO(confusion_csv(MATRIX, NAMES))))
    assert rows == [
        [r"true\predicted", *NAMES],
        ["cat", "3", "0", "1"],
        ["dog, wolf", "0", "2", "0"],
        ["none", "0", "0", "0"],
    ]


@pytest.mark.parametrize("n", [3, 120])
def test_png_is_a_picture(n: int) -> None:
    pytest.importorskip("matplotlib")
    matrix = np.eye(n, dtype=np.int64)
    picture = confusion_png(matrix, [f"class {i}" for i in range(n)], "made by a test")
    with Image.open(io.BytesIO(picture)) as image:
        assert image.format == "PNG"
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert (pixels == [8, 48, 107]).all(axis=1).any(), "no cell has the colour of 100 %"


def test_missing_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"pip install '\.\[plots\]'"):
        confusion_png(MATRIX, NAMES, "")
