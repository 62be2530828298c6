"""Rows of the metrics in the JSON values of a report, for tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["class_table", "metric_rows"]

# Key in a report -> its name in tables.
_METRICS = {
    "top1": "top-1",
    "top5": "top-5",
    "mean_iou": "mean IoU",
    "pixel_accuracy": "pixel accuracy",
}
_COLUMNS = {
    "index": "class",
    "name": "name",
    "n": "n",
    "top1": "top-1 %",
    "pixels": "pixels",
    "iou": "IoU %",
}


def metric_rows(report: Mapping[str, Any]) -> dict[str, str | None]:
    """Returns the metrics and their intervals by name; None for those that do not apply."""
    rows = {
        name: _percent(report[key], report[f"{key}_interval"])
        for key, name in _METRICS.items()
        if key in report
    }
    return {**rows, "loss": None if report["loss"] is None else f"{report['loss']:.4f}"}


def _percent(value: float | None, interval: Sequence[float] | None) -> str | None:
    if value is None:
        return None
    if interval is None:
        return f"{value:.2f} %"
    return f"{value:.2f} % ({interval[0]:.2f} to {interval[1]:.2f}, 95 %)"


def class_table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Returns the head and the rows of a table with a line per class."""
    head = [_COLUMNS[key] for key in rows[0]] if rows else []
    return head, [tuple(row.values()) for row in rows]
