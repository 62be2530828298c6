"""The training objective: cross-entropy, distillation and attention transfer."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from bnnzoo.data.source import IGNORED
from bnnzoo.errors import ArgumentError
from bnnzoo.training.recipes.schema import Phase

__all__ = [
    "attention_loss",
    "cross_entropy",
    "distillation_loss",
    "labels_and_shares",
    "logits_and_stages",
    "objective",
]


def logits_and_stages(network: Any) -> Any:
    """Returns a model of the same layers with the outputs `{"logits": ..., "stages": [...]}`.

    The logits are the input of the last softmax; `stages` are the outputs of the network's stages.

    Raises:
        ArgumentError: The network does not end in a softmax.
    """
    last = network.layers[-1]
    if getattr(last, "activation", None) is not keras.activations.softmax or last.weights:
        raise ArgumentError(
            f"{network.name} must end in an Activation('softmax') to be trained or taught from, "
            f"got {type(last).__name__} '{last.name}'."
        )
    stages = [network.get_layer(name).output for name in getattr(network, "stages", ())]
    return keras.Model(network.inputs[0], {"logits": last.input, "stages": stages})


def objective(phase: Phase, labels: Any, student: Any, teacher: Any | None) -> Any:
    """Returns the mean loss of a batch: the weighted sum of the phase's losses."""
    loss = cross_entropy(labels, student["logits"], phase.label_smoothing)
    if teacher is None:
        return loss
    if phase.distillation:
        soft = distillation_loss(teacher["logits"], student["logits"], phase.temperature)
        loss = (1.0 - phase.distillation) * loss + phase.distillation * soft
    if phase.attention:
        matched = attention_loss(teacher["stages"], student["stages"])
        loss = loss + phase.attention * matched
    return loss


def cross_entropy(
    labels: Any, logits: Any, smoothing: float = 0.0, weights: Any | None = None
) -> Any:
    """Returns the mean cross-entropy, in nats.

    With masks, it is the mean over images of the mean over their pixels that have a class.

    Args:
        labels: Class indices `(n,)`, or masks `(n, h, w)`, with `IGNORED` for no class.
        logits: `(n, classes)`, or `(n, h, w, classes)`.
        smoothing: Share of each target that is spread evenly over all classes.
        weights: Weight of each image, `(n,)`.
    """
    logits = ops.cast(logits, "float32")
    classes = logits.shape[-1]
    labels, shares = labels_and_shares(labels)
    targets = ops.one_hot(labels, classes) * (1.0 - smoothing) + smoothing / classes
    losses = -ops.sum(targets * ops.log_softmax(logits), axis=-1)
    if shares is not None:
        losses = ops.sum(losses * shares, axis=(1, 2))
    return ops.mean(losses if weights is None else losses * weights)


def labels_and_shares(labels: Any) -> tuple[Any, Any | None]:
    """Returns labels without `IGNORED`, and the share of each pixel in its image's mean.

    Args:
        labels: Class indices `(n,)`, whose shares are None, or masks `(n, h, w)`.
    """
    if len(labels.shape) == 1:
        return labels, None
    inside = ops.not_equal(labels, IGNORED)
    counted = ops.cast(inside, "float32")
    pixels = ops.maximum(ops.sum(counted, axis=(1, 2), keepdims=True), 1.0)
    return ops.where(inside, labels, ops.zeros_like(labels)), counted / pixels


def distillation_loss(teacher: Any, student: Any, temperature: float) -> Any:
    """Returns T^2 times the mean cross-entropy between softened answers.

    Reference:
        Hinton et al. 2015, https://arxiv.org/abs/1503.02531
    """
    soft = ops.softmax(ops.cast(teacher, "float32") / temperature)
    log = ops.log_softmax(ops.cast(student, "float32") / temperature)
    return -(temperature**2) * ops.mean(ops.sum(soft * log, axis=-1))


def attention_loss(teacher: list[Any], student: list[Any]) -> Any:
    """Returns the distance of the attention maps: sum over stages of |Q_s - Q_t|, batch mean.

    Q = sum over channels of the squared activations, normalized to length 1 over all positions.

    Reference:
        Martinez et al. 2020 (Real-to-Binary), section 4.1, https://arxiv.org/abs/2003.11535
    """
    distances = []
    for theirs, ours in zip(teacher, student, strict=True):
        difference = _attention(ours) - _attention(theirs)
        # The gradient of a square root is infinite at 0, where the maps agree.
        squared = ops.sum(ops.square(difference), axis=-1)
        distances.append(ops.mean(ops.sqrt(squared + 1e-12)))
    return sum(distances)


def _attention(x: Any) -> Any:
    x = ops.square(ops.cast(x, "float32"))
    maps = ops.sum(x, axis=-1)
    maps = ops.reshape(maps, (ops.shape(maps)[0], -1))
    norm = ops.sqrt(ops.sum(ops.square(maps), axis=-1, keepdims=True) + 1e-12)
    return maps / norm
