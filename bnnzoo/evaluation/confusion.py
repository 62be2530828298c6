"""Writes a confusion matrix as CSV or PNG."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.errors import MissingDependencyError

__all__ = ["confusion_csv", "confusion_png", "import_matplotlib"]

# More names than this do not fit on the axes.
_MOST_NAMES = 50


def confusion_csv(matrix: NDArray[np.int64], class_names: Sequence[str]) -> str:
    r"""Returns a row per true class: its name, then the number of images by predicted class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([r"true\predicted", *class_names])
    for name, row in zip(class_names, matrix.tolist(), strict=True):
        writer.writerow([name, *row])
    return text.getvalue()


def import_matplotlib() -> Any:
    """Imports `matplotlib.figure`.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        import matplotlib.figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "plots", "to draw a .png") from error
    return matplotlib.figure


def confusion_png(matrix: NDArray[np.int64], class_names: Sequence[str], title: str) -> bytes:
    """Returns a PNG image of the matrix, with each row divided by its sum.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    n = len(class_names)
    side = 4 + 0.25 * min(n, _MOST_NAMES)
    figure = import_matplotlib().Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot(xlabel="predicted", ylabel="true", title=title)
    shares = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    figure.colorbar(image, ax=axes, label="% of the true class", shrink=0.7)
    if n <= _MOST_NAMES:
        axes.set_xticks(range(n), class_names, rotation=90)
        axes.set_yticks(range(n), class_names)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()
