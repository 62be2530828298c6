"""Computes predicted classes, probabilities and losses from a model's outputs, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bnnzoo.evaluation.report import Predictions

__all__ = ["cross_entropy", "join", "predictions", "probabilities"]

TOP = 5
# Keras clips probabilities here before it takes the logarithm.
_EPSILON = 1e-7


def probabilities(scores: NDArray[np.float32], outputs: str | None) -> NDArray[np.float64]:
    """Returns probabilities `(..., classes)` for logits; other scores are returned unchanged.

    Args:
        scores: Outputs of the model, `(..., classes)`.
        outputs: `probabilities`, `logits` or None.
    """
    values = scores.astype(np.float64)
    if outputs != "logits":
        return values
    powers: NDArray[np.float64] = np.exp(values - values.max(axis=-1, keepdims=True))
    powers /= powers.sum(axis=-1, keepdims=True)
    return powers


def cross_entropy(
    scores: NDArray[np.float32], labels: NDArray[np.int64], outputs: str | None
) -> NDArray[np.float64] | None:
    """Returns the loss of each image in nats; None if `outputs` is None.

    Probabilities: -log(max(p, 1e-7)). Logits: log(sum(exp(s))) - s, after the largest score is
    subtracted from all scores.
    """
    if outputs is None:
        return None
    values = scores.astype(np.float64)
    picked = values[np.arange(len(labels)), labels]
    if outputs == "probabilities":
        return np.asarray(-np.log(np.maximum(picked, _EPSILON)))
    largest = values.max(axis=1)
    losses: NDArray[np.float64] = np.log(np.exp(values - largest[:, None]).sum(axis=1))
    losses += largest - picked
    return losses


def predictions(
    ids: tuple[str, ...],
    labels: NDArray[np.int64],
    scores: NDArray[np.float32],
    outputs: str | None,
) -> Predictions:
    """Returns the predictions of a batch."""
    top = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]
    best = np.take_along_axis(scores, top, axis=1)
    return Predictions(ids, labels, top, best, cross_entropy(scores, labels, outputs))


def join(parts: Sequence[Predictions]) -> Predictions:
    """Concatenates the predictions of several batches. Either all have losses, or none has."""
    losses = [part.losses for part in parts if part.losses is not None]
    return Predictions(
        ids=tuple(name for part in parts for name in part.ids),
        labels=np.concatenate([part.labels for part in parts]),
        top_indices=np.concatenate([part.top_indices for part in parts]),
        top_scores=np.concatenate([part.top_scores for part in parts]),
        losses=np.concatenate(losses) if losses else None,
    )
