"""Draws a comparison: accuracy against size, and accuracy against time."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bnnzoo.evaluation.confusion import import_matplotlib

if TYPE_CHECKING:
    from bnnzoo.comparing import Comparison

__all__ = ["FORMATS", "drawn"]

FORMATS = (".png", ".svg", ".pdf")


def drawn(rows: Sequence[Comparison], format: str) -> bytes:
    """Returns a picture with a point for each network that has an accuracy.

    Args:
        rows: The networks. Those of one data set have one color.
        format: One of `FORMATS`.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    figure = import_matplotlib().Figure(figsize=(10, 5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, label in zip(panels, ("packed kB", "ms for one image"), strict=True):
        axes.set(xlabel=label, xscale="log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.3)
        axes.margins(x=0.3, y=0.1)  # for the names
    panels[0].set_ylabel("top-1 %")
    datasets = list(dict.fromkeys(row.dataset for row in rows if row.top1 is not None))
    for number, dataset in enumerate(datasets):
        for row in rows:
            if row.top1 is None or row.dataset != dataset:
                continue
            for axes, cost in zip(panels, (_kilobytes(row), row.ms), strict=True):
                if cost is not None:
                    axes.plot(cost, row.top1, "o", color=f"C{number % 10}")
                    axes.annotate(
                        row.name, (cost, row.top1), xytext=(4, 4), textcoords="offset points",
                        fontsize=7,
                    )  # fmt: skip
    handles = [panels[0].plot([], [], "o", color=f"C{n % 10}")[0] for n in range(len(datasets))]
    figure.legend(handles, datasets, loc="outside upper center", ncols=3)
    picture = io.BytesIO()
    figure.savefig(picture, format=format.lstrip("."), dpi=120)
    return picture.getvalue()


def _kilobytes(row: Comparison) -> float | None:
    return None if row.packed_bytes is None else row.packed_bytes / 1e3
