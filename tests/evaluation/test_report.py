"""Claim: a report counts what its predictions say, and nothing else."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from bnnzoo.data.source import Skipped
from bnnzoo.evaluation.report import (
    EvaluationReport,
    Predictions,
    same_accuracy,
    wilson_interval,
)

# 6 classes, 4 images: labels 0, 1, 2, 2; best classes 0, 2, 2, 5; image 1 has its label third and
# image 3 has it last.
TOP = np.array([[0, 1, 2, 3, 4], [2, 0, 1, 3, 4], [2, 0, 1, 3, 4], [5, 4, 3, 1, 0]])
PREDICTIONS = Predictions(
    ids=("a", "b", "c", "d"),
    labels=np.array([0, 1, 2, 2]),
    top_indices=TOP,
    top_scores=np.tile(np.float32([5, 4, 3, 2, 1]), (4, 1)),
    losses=np.array([0.1, 0.2, 0.3, 0.4]),
)


def report(**changes: object) -> EvaluationReport:
    made = EvaluationReport(
        model="net",
        tag="best",
        weights_sha256="0" * 64,
        dataset="made",
        data="folder/made.npz",
        num_classes=6,
        class_names=("zero", "one", "two", "three", "four", "five"),
        predictions=PREDICTIONS,
        images_per_second=123.456,
        partial=False,
        shard=None,
        random_weights=False,
        preprocessing="raw",
        batch_size=2,
        skipped=(Skipped("e", "e is broken."),),
        runtime="keras",
        versions={"bnnzoo": "1"},
        command="bnnzoo evaluate net",
        date="2026-01-01T00:00:00+00:00",
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def test_counts() -> None:
    made = report()
    assert (made.n, made.top1, made.top5) == (4, 50.0, 75.0)
    assert made.loss == pytest.approx(0.25)
    assert made.full_name == "net.best"


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        # scipy.stats.binomtest(hits, n).proportion_ci(method="wilson")
        (81, 263, 25.5289, 36.6210),
        (0, 20, 0.0, 16.1125),
        (20, 20, 83.8875, 100.0),
        (5747, 10000, 56.4983, 58.4359),
    ],
)
def test_wilson_interval(hits: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(hits, n) == pytest.approx((low, high), abs=1e-4)


def test_confusion_matrix_has_true_rows_and_predicted_columns() -> None:
    matrix = report().confusion_matrix()
    expected = np.zeros((6, 6), dtype=int)
    expected[[0, 1, 2, 2], [0, 2, 2, 5]] = 1
    np.testing.assert_array_equal(matrix, expected)


def test_per_class_leaves_out_classes_without_images() -> None:
    assert report().per_class() == [
        {"index": 0, "name": "zero", "n": 1, "top1": 100.0},
        {"index": 1, "name": "one", "n": 1, "top1": 0.0},
        {"index": 2, "name": "two", "n": 2, "top1": 50.0},
    ]


def test_samples_are_one_line_of_json_each() -> None:
    lines = list(report().samples())
    assert len(lines) == 4
    assert json.loads(lines[1]) == {
        "id": "b",
        "label": 1,
        "top5": [2, 0, 1, 3, 4],
        "scores": [5.0, 4.0, 3.0, 2.0, 1.0],
    }
    assert all(line.count("\n") == 1 for line in lines)


def test_to_dict_is_json_with_the_keys_that_scripts_rely_on() -> None:
    result = report().to_dict()
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    for key in (
        *(
            "model",
            "tag",
            "weights_sha256",
            "dataset",
            "data",
            "n",
            "top1",
            "top5",
            "loss",
            "runtime",
        ),
        *("images_per_second", "partial", "versions", "command", "date", "preprocessing"),
    ):
        assert key in result
    assert result["skipped"] == [{"id": "e", "reason": "e is broken."}]
    assert result["top1_interval"] == [15.0039, 84.9961]
    assert "per_class" not in result
    assert report().to_dict(per_class=True)["per_class"] == report().per_class()


@pytest.mark.parametrize(("num_classes", "given"), [(5, False), (6, True)])
def test_top5_means_nothing_with_five_classes(num_classes: int, given: bool) -> None:
    made = report(num_classes=num_classes)
    assert (made.top5 is not None) == (made.top5_interval is not None) == given
    assert (made.to_dict()["top5"] is not None) == given


def test_loss_of_outputs_that_are_no_distribution_is_none() -> None:
    made = report(predictions=dataclasses.replace(PREDICTIONS, losses=None))
    assert made.loss is None
    assert made.to_dict()["loss"] is None


def test_report_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        report().model = "other"  # type: ignore[misc]


def report_of(n: int, hits: int) -> EvaluationReport:
    """A report of n images, of which some have their label as the best class."""
    best = (np.arange(n) >= hits).astype(np.int64)[:, None]
    predictions = Predictions(("image",) * n, np.zeros(n, np.int64), best, best * 1.0, None)
    return report(predictions=predictions)


@pytest.mark.parametrize(
    ("n", "hits", "same"),
    [
        (10_000, (9890, 9890, 9890), True),
        (10_000, (9890, 9900, 9895), True),
        (10_000, (9890, 9901, 9895), False),
        (10_000, (9901, 9890, 9890), False),
        (200, (100, 101, 100), True),
        (200, (100, 102, 101), False),
    ],
)
def test_same_accuracy_allows_a_tenth_of_a_point_or_one_image(
    n: int, hits: tuple[int, ...], same: bool
) -> None:
    assert same_accuracy(*(report_of(n, each) for each in hits)) == same


def test_print_shows_the_results_and_repr_is_one_line() -> None:
    made = report(skipped=(), random_weights=True)
    lines = str(made).splitlines()
    assert lines[0] == "model          net.best (random weights)"
    assert "n = 4" in lines[1] and any(line.startswith("top-1") for line in lines)
    assert any(line.split() == ["loss", "0.2500"] for line in lines)
    assert repr(made) == "<EvaluationReport: net.best on made, n = 4, top-1 50.00 %>"
    assert made._repr_html_().count("<tr>") == len(made.facts())
