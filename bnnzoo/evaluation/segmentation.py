"""Counts the pixels of masks, and reports the intersection over union of the classes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bnnzoo.data.source import IGNORED
from bnnzoo.evaluation.report import Z95, Report, rounded, rounded_interval
from bnnzoo.evaluation.scores import cross_entropy

__all__ = ["PixelCounts", "SegmentationReport", "join", "pixel_counts", "ratio_interval"]

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class PixelCounts:
    """Numbers of pixels of each image. Pixels without a class are left out.

    Attributes:
        ids: n names of images.
        hits: Pixels of each class that are predicted as such, `(n, classes)`.
        labelled: Pixels of each class, `(n, classes)`.
        predicted: Pixels that are predicted as each class, `(n, classes)`.
        matrix: Pixels of all images by true class (rows) and predicted class, `(classes, classes)`.
        losses: Mean cross-entropy of the pixels of each image, float `(n,)`; None if the outputs
            are neither logits nor probabilities.
    """

    ids: tuple[str, ...]
    hits: Counts
    labelled: Counts
    predicted: Counts
    matrix: Counts
    losses: NDArray[np.float64] | None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def unions(self) -> Counts:
        """Pixels of each class or predicted as it, `(n, classes)`."""
        return self.labelled + self.predicted - self.hits


def pixel_counts(
    ids: tuple[str, ...], masks: Counts, scores: NDArray[np.float32], outputs: str | None
) -> PixelCounts:
    """Returns the counts of a batch.

    Args:
        ids: Names of the images.
        masks: Class index of each pixel, or `IGNORED`, `(n, h, w)`.
        scores: Outputs of the model, `(n, h, w, classes)`.
        outputs: `probabilities`, `logits` or None.
    """
    classes = scores.shape[-1]
    found = scores.argmax(axis=-1)
    matrices, losses = [], []
    for mask, best, score in zip(masks, found, scores, strict=True):
        inside = mask != IGNORED
        labels = mask[inside]
        pairs = np.bincount(classes * labels + best[inside], minlength=classes**2)
        matrices.append(pairs.reshape(classes, classes))
        loss = cross_entropy(score[inside], labels, outputs)
        losses.append(None if loss is None else float(loss.mean()) if loss.size else 0.0)
    each = np.stack(matrices).astype(np.int64)
    return PixelCounts(
        ids=ids,
        hits=np.diagonal(each, axis1=1, axis2=2).copy(),
        labelled=each.sum(axis=2),
        predicted=each.sum(axis=1),
        matrix=each.sum(axis=0),
        losses=None if outputs is None else np.array(losses, np.float64),
    )


def join(parts: Sequence[PixelCounts]) -> PixelCounts:
    """Concatenates the counts of several batches. Either all have losses, or none has."""
    losses = [part.losses for part in parts if part.losses is not None]
    return PixelCounts(
        ids=tuple(name for part in parts for name in part.ids),
        hits=np.concatenate([part.hits for part in parts]),
        labelled=np.concatenate([part.labelled for part in parts]),
        predicted=np.concatenate([part.predicted for part in parts]),
        matrix=np.sum([part.matrix for part in parts], axis=0),
        losses=np.concatenate(losses) if losses else None,
    )


def ratio_interval(parts: Counts, wholes: Counts) -> tuple[float, float] | None:
    """Returns the 95 % confidence interval of a mean of ratios of sums over images, in percent.

    The ratios are R_c = sum over i of a_ic / sum over i of b_ic, and their mean over the classes c
    is linear in small changes of the sums (the delta method). Image i contributes

        z_i = mean over c of (a_ic - R_c b_ic) / (mean over i of b_ic),

    and the interval is mean R +- 1.96 s / sqrt(n), s the standard deviation of z, limited to 0 to
    100. The images are the sample, since pixels of one image are alike. None for a single image.

    Args:
        parts: a, `(n, classes)`.
        wholes: b, `(n, classes)`; no column is 0.

    Reference:
        Cochran 1977, Sampling Techniques, chapter 6
    """
    n = len(parts)
    if n < 2:
        return None
    ratios = parts.sum(axis=0) / wholes.sum(axis=0)
    z = ((parts - ratios * wholes) / wholes.mean(axis=0)).mean(axis=1)
    half = Z95 * float(z.std(ddof=1)) / math.sqrt(n)
    middle = float(ratios.mean())
    return 100 * max(middle - half, 0.0), 100 * min(middle + half, 1.0)


@dataclass(frozen=True, kw_only=True, repr=False)
class SegmentationReport(Report):
    """The accuracy of a network for segmentation on a data set. Accuracies are percentages.

    The intersection over union (IoU) of a class is hits / (labelled + predicted - hits), each a
    number of pixels in all images together, in the size of the network's input.

    Attributes:
        predictions: Numbers of pixels of each image.
    """

    METRIC: ClassVar[str] = "mean IoU"

    predictions: PixelCounts

    @property
    def n(self) -> int:
        """Number of evaluated images."""
        return len(self.predictions)

    @property
    def score(self) -> float:
        """The same as `mean_iou`."""
        return self.mean_iou

    @property
    def correct(self) -> tuple[int, int]:
        """Number of pixels that are predicted as their class, and of all pixels with a class."""
        return int(self.predictions.hits.sum()), int(self.predictions.labelled.sum())

    @property
    def iou(self) -> tuple[float | None, ...]:
        """IoU of each class; None for classes that no mask has and that are never predicted."""
        hits, unions = self.predictions.hits.sum(axis=0), self.predictions.unions.sum(axis=0)
        return tuple(
            100 * int(hit) / int(union) if union else None
            for hit, union in zip(hits, unions, strict=True)
        )

    @property
    def mean_iou(self) -> float:
        """Mean IoU of the classes that have one."""
        known = [value for value in self.iou if value is not None]
        return sum(known) / len(known) if known else 0.0

    @property
    def mean_iou_interval(self) -> tuple[float, float] | None:
        """95 % confidence interval of `mean_iou`, by image; see `ratio_interval`."""
        there = self.predictions.unions.any(axis=0)
        if not there.any():
            return None
        return ratio_interval(self.predictions.hits[:, there], self.predictions.unions[:, there])

    @property
    def pixel_accuracy(self) -> float:
        """Percentage of pixels that are predicted as their class."""
        hits, total = self.correct
        return 100 * hits / total if total else 0.0

    @property
    def pixel_accuracy_interval(self) -> tuple[float, float] | None:
        """95 % confidence interval of `pixel_accuracy`, by image; see `ratio_interval`."""
        if not self.correct[1]:
            return None
        hits, labelled = self.predictions.hits, self.predictions.labelled
        return ratio_interval(hits.sum(axis=1)[:, None], labelled.sum(axis=1)[:, None])

    @property
    def loss(self) -> float | None:
        """Mean over images of the mean cross-entropy of their pixels; None for other outputs."""
        losses = self.predictions.losses
        return None if losses is None else float(losses.mean())

    def metrics(self) -> dict[str, Any]:
        """Returns the accuracies and the loss as JSON values."""
        return {
            "mean_iou": rounded(self.mean_iou, 4),
            "mean_iou_interval": rounded_interval(self.mean_iou_interval),
            "pixel_accuracy": rounded(self.pixel_accuracy, 4),
            "pixel_accuracy_interval": rounded_interval(self.pixel_accuracy_interval),
            "loss": rounded(self.loss, 6),
        }

    def confusion_matrix(self) -> Counts:
        """Returns the number of pixels by true class (rows) and predicted class (columns)."""
        return self.predictions.matrix

    def per_class(self) -> list[dict[str, Any]]:
        """Returns the index, name, pixels and IoU of every class that has an IoU."""
        pixels = self.predictions.labelled.sum(axis=0)
        return [
            {
                "index": i,
                "name": self.class_names[i],
                "pixels": int(pixels[i]),
                "iou": round(value, 4),
            }
            for i, value in enumerate(self.iou)
            if value is not None
        ]

    def samples(self) -> Iterator[str]:
        """Yields a line of JSON per image: id, pixels with a class, and accuracy of the pixels."""
        hits = self.predictions.hits.sum(axis=1).tolist()
        pixels = self.predictions.labelled.sum(axis=1).tolist()
        for name, hit, total in zip(self.predictions.ids, hits, pixels, strict=True):
            accuracy = round(100 * hit / total, 4) if total else None
            line = {"id": name, "pixels": total, "pixel_accuracy": accuracy}
            yield json.dumps(line, ensure_ascii=False) + "\n"
