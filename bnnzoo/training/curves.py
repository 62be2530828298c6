"""Training curves: the columns of the logs of runs, as a picture or as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bnnzoo.errors import ArgumentError, DataError
from bnnzoo.evaluation.confusion import import_matplotlib
from bnnzoo.training.run_folder import LOG

__all__ = ["FORMATS", "Curves", "drawn", "read_curves", "sketched"]

FORMATS = (".png", ".svg", ".pdf")
# Panel -> column on the training images, the same on the validation images, and a factor.
PANELS: dict[str, tuple[str, str | None, float]] = {
    "loss": ("loss", "val_loss", 1.0),
    "top-1 %": ("top1", "val_top1", 1.0),
    "flips %": ("flip_ratio", None, 100.0),
    "learning rate": ("learning_rate", None, 1.0),
}
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Curves:
    """The log of a run.

    Attributes:
        name: Name of the run.
        columns: Column of the log -> its value in each epoch.
    """

    name: str
    columns: dict[str, NDArray[np.float64]]

    @property
    def epochs(self) -> int:
        """Number of epochs, over all phases."""
        return len(next(iter(self.columns.values())))

    @property
    def new_phases(self) -> list[int]:
        """The first epoch of each phase but the first, counted from 1."""
        phase = self.columns.get("phase", np.zeros(self.epochs))
        return [int(epoch) + 2 for epoch in np.flatnonzero(np.diff(phase))]


def read_curves(path: str | PathLike[str]) -> Curves:
    """Returns the log of a run.

    Args:
        path: The folder of a run, or a `log.csv`.

    Raises:
        ArgumentError: There is no log, or no epoch was finished.
        DataError: The file is not a log.
    """
    path = Path(path)
    file = path / LOG if path.is_dir() else path
    try:
        rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))
    except FileNotFoundError:
        raise ArgumentError(
            f"{path} must be the folder of a run with a {LOG}, or such a file. Check the path."
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}. Check the file.") from error
    if not rows:
        raise ArgumentError(f"{file} has no finished epoch. Wait for the first one.")
    try:
        columns = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    except (TypeError, ValueError) as error:
        raise DataError(f"{file} must be a table of numbers: {error}. Check the file.") from error
    if "loss" not in columns:
        raise DataError(
            f"{file} must have a column loss, got {', '.join(columns)}. Check the file."
        )
    name = path.resolve().name if path.is_dir() else file.name.removesuffix(".log.csv")
    return Curves(name, columns)


def _panels(runs: Sequence[Curves]) -> Iterator[tuple[str, str, str | None, float]]:
    """Yields the panels for which a run has a column."""
    for label, (column, validation, factor) in PANELS.items():
        if any(column in run.columns for run in runs):
            yield label, column, validation, factor


def drawn(runs: Sequence[Curves], format: str) -> bytes:
    """Returns a picture: loss, accuracy, flip ratio and learning rate by epoch.

    Args:
        runs: The logs, each in a color of its own. A dashed line is measured on the training
            images, and a dotted vertical line is the start of a phase.
        format: One of `FORMATS`.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    panels = list(_panels(runs))
    figure = import_matplotlib().Figure(figsize=(9, 6), layout="constrained")
    for axes, (label, column, validation, factor) in zip(
        figure.subplots(2, 2, sharex=True).flat, panels, strict=False
    ):
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        for number, run in enumerate(runs):
            color = f"C{number % 10}"
            epochs = np.arange(1, run.epochs + 1)
            for name, style in ((column, "--" if validation else "-"), (validation, "-")):
                if name in run.columns:
                    marker = "." if run.epochs == 1 else ""
                    axes.plot(epochs, factor * run.columns[name], style, color=color, marker=marker)
            for epoch in run.new_phases:
                axes.axvline(epoch - 0.5, color=color, linestyle=":", linewidth=1)
    for axes in figure.axes[-2:]:
        axes.set_xlabel("epoch")
    styles = [{"color": f"C{number % 10}"} for number in range(len(runs))]
    styles.append({"color": "gray", "linestyle": "--"})
    handles = [figure.axes[0].plot([], [], **style)[0] for style in styles]
    names = [*(run.name for run in runs), "on the training images"]
    figure.legend(handles, names, loc="outside upper center", ncols=3)
    picture = io.BytesIO()
    figure.savefig(picture, format=format.lstrip("."), dpi=120)
    return picture.getvalue()


def sketched(runs: Sequence[Curves], width: int = 40) -> list[tuple[str, str, str, float, float]]:
    """Returns rows of text: run, quantity, a bar for each part of the run, first and last value.

    Args:
        runs: The logs.
        width: Most bars in a row. Where a run has more epochs, a bar is the mean of several.
    """
    rows = []
    for label, column, validation, factor in _panels(runs):
        shown = validation or column
        prefix = "val " if validation else ""
        for run in runs:
            if shown in run.columns:
                values = factor * run.columns[shown]
                rows.append((run.name, prefix + label, _bars(values, width), values[0], values[-1]))
    return rows


def _bars(values: NDArray[np.float64], width: int) -> str:
    parts = np.array_split(values, min(width, len(values)))
    means = np.array([part.mean() for part in parts])
    spread = np.ptp(means)
    heights = (means - means.min()) / spread if spread > 0 else np.zeros_like(means)
    return "".join(_BARS[int(h)] for h in np.round(heights * (len(_BARS) - 1)))
