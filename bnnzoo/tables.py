"""The contents of tables: metrics of a report in words, and HTML for notebooks."""

from __future__ import annotations

import csv
import dataclasses
import html
import importlib
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from bnnzoo.errors import MissingDependencyError
from bnnzoo.plain_text import plain

__all__ = ["Table", "class_table", "html_table", "metric_rows"]

Row = TypeVar("Row")

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


def html_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: Sequence[int] = ()
) -> str:
    """Returns a table in HTML, for the `_repr_html_` of a result.

    Args:
        columns: Head of the table.
        rows: Its rows, with a value per column; None becomes a dash.
        numbers: Indices of the columns to align right.
    """

    def line(values: Sequence[Any], tag: str) -> str:
        cells = "".join(
            f'<{tag} style="text-align: {"right" if i in numbers else "left"}">'
            f"{html.escape(plain('–' if value is None else str(value)))}</{tag}>"
            for i, value in enumerate(values)
        )
        return f"<tr>{cells}</tr>"

    head = f"<thead>{line(columns, 'th')}</thead>" if any(columns) else ""
    return f"<table>{head}<tbody>{''.join(line(row, 'td') for row in rows)}</tbody></table>"


class Table(tuple[Row, ...]):
    """A tuple of dataclass instances of one type, which a notebook shows as a table."""

    def to_dicts(self) -> list[dict[str, Any]]:
        """Returns the rows as dictionaries."""
        return [dataclasses.asdict(row) for row in self]  # type: ignore[call-overload]

    def to_csv(self) -> str:
        """Returns the rows as comma-separated values, under a row with the names of the fields."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        rows = self.to_dicts()
        writer.writerows([list(rows[0]), *(list(row.values()) for row in rows)] if rows else [])
        return text.getvalue()

    def to_pandas(self) -> Any:
        """Returns the rows as a `pandas.DataFrame`.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        try:
            pandas = importlib.import_module("pandas")
        except ImportError as error:
            raise MissingDependencyError("pandas", None, "for to_pandas") from error
        return pandas.DataFrame(self.to_dicts())

    def _repr_html_(self) -> str:
        rows = self.to_dicts()
        columns = list(rows[0]) if rows else []
        return html_table(columns, [list(row.values()) for row in rows])
