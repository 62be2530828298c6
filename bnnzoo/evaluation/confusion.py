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

# More names than this do not fit on the axes, and more numbers not into the cells.
_MOST_NAMES, _MOST_NUMBERS = 50, 20
# Percentages on the colour bar, and the one from which a number is white.
_SHARES, _DARK = (0, 1, 5, 10, 25, 50, 100), 30


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

    Colours follow the square root of the share, so that rare confusions can be seen. Up to 20
    classes, cells have the number of images.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    n = len(class_names)
    side = 4 + 0.25 * min(n, _MOST_NAMES)
    figure = import_matplotlib().Figure(figsize=(side, side), layout="constrained")
    size = {"fontsize": max(9.0, side)}
    axes = figure.add_subplot()
    axes.set_title(title, **size)
    axes.set_xlabel("predicted", **size)
    axes.set_ylabel("true", **size)
    shares = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=10, interpolation="nearest")
    bar = figure.colorbar(image, ax=axes, shrink=0.7, ticks=np.sqrt(_SHARES))
    bar.ax.set_yticklabels([f"{share:g}" for share in _SHARES], **size)
    bar.set_label("% of the true class", **size)
    axes.tick_params(labelsize=size["fontsize"])
    if n <= _MOST_NAMES:
        axes.set_xticks(range(n), class_names, rotation=90)
        axes.set_yticks(range(n), class_names)
    if n <= _MOST_NUMBERS:
        for (row, column), count in np.ndenumerate(matrix):
            color = "white" if shares[row, column] > _DARK else "black"
            axes.text(column, row, f"{count:,}" if count else "", color=color, fontsize=8,
                      ha="center", va="center")  # fmt: skip
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()
