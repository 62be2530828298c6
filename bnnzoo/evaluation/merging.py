"""Merges the reports of several evaluations, as of the parts of a data set on several machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bnnzoo.errors import DataError
from bnnzoo.evaluation.report import rounded, rounded_interval, wilson_interval

__all__ = ["merge_reports"]

Report = Mapping[str, Any]

_SAME = ("model", "tag", "weights_sha256", "random_weights", "preprocessing", "runtime")
_NEEDED = (*_SAME, "dataset", "n", "top1", "top5", "loss", "partial", "versions", "date")
_PARTS = ("dataset", "data", "shard", "n", "top1", "versions", "command", "date")
# What rounding to 4 digits changes, with the rounding of float64.
_ROUNDING = 5.1e-5


def merge_reports(reports: Sequence[Report]) -> dict[str, Any]:
    """Returns the report on all images of several reports, as JSON values.

        merge_reports([json.loads(path.read_text()) for path in paths])

    Numbers of images and of correct predictions are exact, and so are intervals. The loss is the
    mean over all images. The report is partial, unless it has all shards of every data set and no
    image was skipped.

    Args:
        reports: Results of `EvaluationReport.to_dict`, or of `bnnzoo evaluate --json`.

    Raises:
        DataError: There is none; one is not the report of a classifier; they are of different
            models; or two are of the same images.
    """
    if not reports:
        raise DataError("Reports to merge must be one or more, got none. Pass some.")
    for report in reports:
        _check(report)
    first = reports[0]
    for field in _SAME:
        values = {str(report[field]) for report in reports}
        if len(values) > 1:
            raise DataError(
                f"Reports to merge must have the same {field}, got {', '.join(sorted(values))}. "
                "Merge those of one model."
            )
    shards = _shards(reports)
    n = sum(report["n"] for report in reports)
    top1 = sum(_hits(report, "top1") for report in reports)
    has_top5 = first["top5"] is not None
    top5 = sum(_hits(report, "top5") for report in reports) if has_top5 else None
    has_loss = all(report["loss"] is not None for report in reports)
    loss = sum(report["n"] * report["loss"] for report in reports) / n if has_loss else None
    skipped = {each["id"]: each for report in reports for each in report.get("skipped", ())}
    classes = [report["per_class"] for report in reports if "per_class" in report]
    return {
        **{field: first[field] for field in _SAME},
        "dataset": " + ".join(shards),
        "n": n,
        "partial": bool(skipped)
        or not all(found == set(range(count)) and count for found, count in shards.values()),
        "top1": rounded(100 * top1 / n, 4),
        "top1_interval": rounded_interval(wilson_interval(top1, n)),
        "top5": None if top5 is None else rounded(100 * top5 / n, 4),
        "top5_interval": None if top5 is None else rounded_interval(wilson_interval(top5, n)),
        "loss": rounded(loss, 6),
        "skipped": list(skipped.values()),
        **({"per_class": _classes(classes)} if len(classes) == len(reports) else {}),
        "merged": [{key: report.get(key) for key in _PARTS} for report in reports],
    }


def _check(report: Any) -> None:
    if not isinstance(report, Mapping) or "mean_iou" in report:
        what = "one for segmentation" if isinstance(report, Mapping) else f"{report!r:.40}"
        raise DataError(
            f"Reports to merge must be those of classifiers, got {what}. Evaluate the whole data "
            "set in one run."
        )
    missing = [field for field in _NEEDED if field not in report]
    if missing:
        raise DataError(
            f"Reports to merge must have {missing[0]}, as `bnnzoo evaluate -o FILE` writes it, got "
            f"{', '.join(report) or 'nothing'}. Check the files."
        )
    for field in ("top1", "top5"):
        if report[field] is not None:
            _hits(report, field)


def _hits(report: Report, field: str) -> int:
    """Returns the number of images from a percentage that was rounded to four digits."""
    share, n = report[field], report["n"]
    if isinstance(n, int) and isinstance(share, (int, float)) and 0 < n < 10**6:
        hits = round(share * n / 100)
        if 0 <= hits <= n and abs(100 * hits / n - share) <= _ROUNDING:
            return hits
    raise DataError(
        f"{field} of a report must be the percentage of a number of its images, got {share!r} of "
        f"{n!r}. Check the files."
    )


def _shards(reports: Sequence[Report]) -> dict[str, tuple[set[int], int]]:
    """Returns the indices of the shards of each data set, and how many there are."""
    found: dict[str, tuple[set[int], int]] = {}
    for report in reports:
        name = report["dataset"]
        # The first images of a data set, as of --limit, are not a shard: never complete.
        index, count = report.get("shard") or ((0, 1) if not report["partial"] else (0, 0))
        indices, before = found.setdefault(name, (set(), count))
        if index in indices or before != count:
            raise DataError(
                f"Reports to merge must be of different images, got {name} twice. Evaluate parts "
                "with --shard I/N, and merge each of them once."
            )
        indices.add(index)
    return found


def _classes(reports: Sequence[Sequence[Report]]) -> list[dict[str, Any]]:
    """Returns the rows of all classes, with the images of all reports."""
    rows: dict[int, dict[str, Any]] = {}
    for report in reports:
        for row in report:
            known = rows.setdefault(row["index"], {**row, "n": 0, "hits": 0})
            known["n"] += row["n"]
            known["hits"] += _hits(row, "top1")
    for row in rows.values():
        row["top1"] = round(100 * row.pop("hits") / row["n"], 4)
    return [rows[index] for index in sorted(rows)]
