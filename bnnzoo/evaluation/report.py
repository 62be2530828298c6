"""The result of an evaluation, and the metrics computed from it."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bnnzoo.data.source import Skipped
from bnnzoo.tables import html_table, metric_rows

__all__ = [
    "Z95",
    "EvaluationReport",
    "Predictions",
    "Report",
    "rounded",
    "rounded_interval",
    "same_accuracy",
    "wilson_interval",
]

# Quantile of the normal distribution for 95 %, two-sided.
Z95 = 1.959963984540054


def wilson_interval(hits: int, n: int) -> tuple[float, float]:
    """Returns the 95 % confidence interval of a proportion, in percent (Wilson 1927).

    centre +- half, with p = hits / n, centre = (p + z^2 / 2n) / (1 + z^2 / n) and
    half = z sqrt(p (1 - p) / n + z^2 / 4n^2) / (1 + z^2 / n).
    """
    p, z2 = hits / n, Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return 100 * max(centre - half, 0.0), 100 * min(centre + half, 1.0)


@dataclass(frozen=True)
class Predictions:
    """The predictions of a model for each image.

    Attributes:
        ids: n names of images.
        labels: True class, int `(n,)`.
        top_indices: Classes with the highest scores, highest first, int `(n, k)`. For ties, the
            lower index is first.
        top_scores: Their scores, as the model outputs them, float `(n, k)`.
        losses: Cross-entropy of each image, float `(n,)`; None if the outputs are neither logits
            nor probabilities.
    """

    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    top_indices: NDArray[np.int64]
    top_scores: NDArray[np.float32]
    losses: NDArray[np.float64] | None

    def __len__(self) -> int:
        return len(self.ids)

    def hits(self, k: int) -> int:
        """Returns the number of images whose label is among the first k classes."""
        return int((self.top_indices[:, :k] == self.labels[:, None]).any(axis=1).sum())


@dataclass(frozen=True, kw_only=True, repr=False)
class Report(ABC):
    """What the reports of all tasks have. Accuracies are percentages. `print` shows the results.

    Attributes:
        model: Canonical name, or name of the file.
        tag: Tag of the pretrained weights.
        weights_sha256: Digest of the weight file.
        dataset: Name of the data set.
        data: The data set as it was given: a path, or a name such as `keras:mnist`. None for
            arrays and sources.
        num_classes: Number of classes of the model.
        class_names: Name of each class.
        images_per_second: Throughput of decoding, preprocessing and inference, after a warm-up.
        partial: Whether the data set has more images than were evaluated.
        shard: `(i, n)` if these are every n-th image, from the one at i.
        random_weights: Whether the weights are untrained. Then only the throughput is meaningful.
        preprocessing: Id of the preprocessing.
        batch_size: Images per call of the model.
        skipped: Images that `skip_bad` skipped.
        runtime: The runtime of the model.
        versions: Versions of the packages that can change the result, and the kind of machine.
        command: The command line; None for a call from Python.
        date: Date and time in UTC.
    """

    METRIC: ClassVar[str]  # name of the score

    model: str
    tag: str | None
    weights_sha256: str | None
    dataset: str
    data: str | None
    num_classes: int
    class_names: tuple[str, ...]
    images_per_second: float
    partial: bool
    shard: tuple[int, int] | None
    random_weights: bool
    preprocessing: str
    batch_size: int
    skipped: tuple[Skipped, ...]
    runtime: str
    versions: dict[str, str]
    command: str | None
    date: str

    @property
    def full_name(self) -> str:
        """`name.tag`, or the name without a tag."""
        return self.model if self.tag is None else f"{self.model}.{self.tag}"

    @property
    @abstractmethod
    def n(self) -> int:
        """Number of evaluated images."""

    @property
    @abstractmethod
    def score(self) -> float:
        """The metric `METRIC`, in percent."""

    @property
    @abstractmethod
    def correct(self) -> tuple[int, int]:
        """Number of correctly classified images or pixels, and of all of them."""

    @abstractmethod
    def metrics(self) -> dict[str, Any]:
        """Returns the metrics as JSON values."""

    @abstractmethod
    def confusion_matrix(self) -> NDArray[np.int64]:
        """Returns the number of images or pixels by true class (rows) and predicted class."""

    @abstractmethod
    def per_class(self) -> list[dict[str, Any]]:
        """Returns the metrics of every class that occurs."""

    @abstractmethod
    def samples(self) -> Iterator[str]:
        """Yields a line of JSON per image."""

    def facts(self) -> dict[str, str | None]:
        """Returns the results in words, by name."""
        facts = {
            "model": self.full_name + (" (random weights)" if self.random_weights else ""),
            "data set": f"{self.dataset} (n = {self.n:,}{', partial' if self.partial else ''})",
            "preprocessing": self.preprocessing,
            **metric_rows(self.metrics()),
            "images/s": f"{self.images_per_second:,.1f} ({self.runtime})",
        }
        return {**facts, "skipped": f"{len(self.skipped):,}"} if self.skipped else facts

    def __str__(self) -> str:
        facts = {name: value for name, value in self.facts().items() if value is not None}
        width = max(map(len, facts))
        return "\n".join(f"{name:<{width}}  {value}" for name, value in facts.items())

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__}: {self.full_name} on {self.dataset}, n = {self.n:,}, "
            f"{self.METRIC} {self.score:.2f} %>"
        )

    def _repr_html_(self) -> str:
        return html_table(("", ""), self.facts().items())

    def to_dict(self, per_class: bool = False) -> dict[str, Any]:
        """Returns the report as JSON values.

        Args:
            per_class: Add the metrics of each class.
        """
        report: dict[str, Any] = {
            "model": self.model,
            "tag": self.tag,
            "weights_sha256": self.weights_sha256,
            "random_weights": self.random_weights,
            "dataset": self.dataset,
            "data": self.data,
            "n": self.n,
            "partial": self.partial,
            "shard": None if self.shard is None else list(self.shard),
            **self.metrics(),
            "images_per_second": rounded(self.images_per_second, 1),
            "batch_size": self.batch_size,
            "runtime": self.runtime,
            "preprocessing": self.preprocessing,
            "skipped": [{"id": s.id, "reason": s.reason} for s in self.skipped],
            "versions": dict(self.versions),
            "command": self.command,
            "date": self.date,
        }
        return {**report, "per_class": self.per_class()} if per_class else report


@dataclass(frozen=True, kw_only=True, repr=False)
class EvaluationReport(Report):
    """The accuracy of a classifier on a data set. Accuracies are percentages.

    Attributes:
        predictions: Predictions for each image.
    """

    METRIC: ClassVar[str] = "top-1"

    predictions: Predictions

    @property
    def n(self) -> int:
        """Number of evaluated images."""
        return len(self.predictions)

    @property
    def score(self) -> float:
        """The same as `top1`."""
        return self.top1

    @property
    def correct(self) -> tuple[int, int]:
        """Number of images whose label is the first class, and of all images."""
        return self.predictions.hits(1), self.n

    @property
    def top1(self) -> float:
        """Percentage of images whose label is the first class."""
        return 100 * self.predictions.hits(1) / self.n

    @property
    def top5(self) -> float | None:
        """Percentage of images whose label is among the first five; None for up to five classes."""
        return 100 * self.predictions.hits(5) / self.n if self.num_classes > 5 else None

    @property
    def top1_interval(self) -> tuple[float, float]:
        """95 % confidence interval of `top1`."""
        return wilson_interval(self.predictions.hits(1), self.n)

    @property
    def top5_interval(self) -> tuple[float, float] | None:
        """95 % confidence interval of `top5`."""
        if self.num_classes <= 5:
            return None
        return wilson_interval(self.predictions.hits(5), self.n)

    @property
    def loss(self) -> float | None:
        """Mean cross-entropy; None if the outputs are neither logits nor probabilities."""
        losses = self.predictions.losses
        return None if losses is None else float(losses.mean())

    def confusion_matrix(self) -> NDArray[np.int64]:
        """Returns the number of images by true class (rows) and predicted class (columns)."""
        matrix = np.zeros((self.num_classes, self.num_classes), dtype=np.int64)
        np.add.at(matrix, (self.predictions.labels, self.predictions.top_indices[:, 0]), 1)
        return matrix

    def per_class(self) -> list[dict[str, Any]]:
        """Returns the index, name, n and top1 of every class that has images."""
        matrix = self.confusion_matrix()
        return [
            {
                "index": i,
                "name": self.class_names[i],
                "n": int(n),
                "top1": round(100 * int(matrix[i, i]) / int(n), 4),
            }
            for i, n in enumerate(matrix.sum(axis=1))
            if n
        ]

    def samples(self) -> Iterator[str]:
        """Yields a line of JSON per image: id, label, top5 and scores."""
        p = self.predictions
        for i, name in enumerate(p.ids):
            line = {
                "id": name,
                "label": int(p.labels[i]),
                "top5": p.top_indices[i].tolist(),
                "scores": p.top_scores[i].tolist(),
            }
            yield json.dumps(line, ensure_ascii=False) + "\n"

    def metrics(self) -> dict[str, Any]:
        """Returns the accuracies and the loss as JSON values."""
        return {
            "top1": rounded(self.top1, 4),
            "top1_interval": rounded_interval(self.top1_interval),
            "top5": rounded(self.top5, 4),
            "top5_interval": rounded_interval(self.top5_interval),
            "loss": rounded(self.loss, 6),
        }


def same_accuracy(*reports: Report) -> bool:
    """Returns whether accuracies on the same images differ by at most 0.1 points or one image.

    For segmentation, it is the accuracy of the pixels.
    """
    counts, totals = zip(*(report.correct for report in reports), strict=True)
    same: bool = max(counts) - min(counts) <= max(1, totals[0] // 1000)
    return same


def rounded(value: float | None, digits: int) -> float | None:
    """Returns a metric for JSON."""
    return None if value is None else round(value, digits)


def rounded_interval(value: tuple[float, float] | None) -> list[float] | None:
    """Returns an interval for JSON."""
    return None if value is None else [round(bound, 4) for bound in value]
