"""What is evaluated: a classifier with what must be known to use and to name it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.data import labels as label_sets
from bnnzoo.data import preprocessing as preprocessings
from bnnzoo.data.labels import Labels
from bnnzoo.data.preprocessing import Preprocessing
from bnnzoo.errors import ArgumentError, BnnZooError, DataError

__all__ = [
    "RUNTIMES",
    "Classifier",
    "as_classifier",
    "choose_preprocessing",
    "of_images",
]

RUNTIMES = ("keras", "packed")

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Classifier:
    """A classifier, ready to score images.

    Attributes:
        run: From images `(n, h, w, c)` to scores `(n, classes)`.
        input_shape: `(h, w, c)`; None where any size will do.
        num_classes: Number of classes.
        name: Canonical name, or the file's.
        tag: Tag of its pretrained weights.
        weights_sha256: Digest of its weight file, or of its own file.
        preprocessing: What brings images to its input.
        labels: Name of each class, or their id, where they are known.
        random_weights: Its weights were not trained.
        outputs: `probabilities`, `logits`, or None for anything else.
        runtime: What runs it, one of `RUNTIMES`.
        versions: Version of what runs it.
        constant_batch: Every call must have as many images, so that a backend compiles once.
    """

    run: Callable[[Floats], Any]
    input_shape: tuple[int, ...] | None
    num_classes: int
    name: str
    tag: str | None
    weights_sha256: str | None
    preprocessing: Preprocessing
    labels: Labels | None
    random_weights: bool
    outputs: str | None
    runtime: str
    versions: Mapping[str, str] = field(default_factory=dict)
    constant_batch: bool = False

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Name of each class, where they are known."""
        return None if self.labels is None else label_sets.names(self.labels)

    def warm_up(self, batch_size: int) -> None:
        """Runs the model once, so that its compilation is no part of what is timed after."""
        if self.input_shape is not None:
            self.run(np.zeros((batch_size, *self.input_shape), dtype=np.float32))

    def scorer(self, batch_size: int) -> Callable[[Floats], Floats]:
        """Returns a function from images `(n, h, w, c)` to scores, n up to `batch_size`.

        With `constant_batch` the last images are repeated where there are fewer.
        """

        def score(images: Floats) -> Floats:
            count = len(images)
            if self.constant_batch:
                last = np.repeat(images[-1:], batch_size - count, axis=0)
                images = np.concatenate([images, last])
            scores = np.asarray(self.run(images), dtype=np.float32)[:count]
            if not np.isfinite(scores).all():
                raise BnnZooError(
                    f"{self.name} gives scores that are not finite. Its weights are broken, or "
                    f"preprocessing '{self.preprocessing.id}' is not the one it was trained with."
                )
            return scores

        return score


def as_classifier(
    run: Callable[[Floats], Any], classes: int, kind: str | None, name: str
) -> tuple[Callable[[Floats], Any], int, str | None]:
    """Returns what gives a score for each class, their number, and what the scores are.

    One sigmoid output p is the probability of class 1: its scores are (1 - p, p).

    Args:
        run: From images to the network's outputs.
        classes: Number of its outputs.
        kind: `probabilities`, `logits`, `sigmoid`, or None for anything else.
        name: What an error calls the network.

    Raises:
        ArgumentError: It has one output that is not a sigmoid.
    """
    if classes > 1:
        return run, classes, None if kind == "sigmoid" else kind
    if kind != "sigmoid":
        raise ArgumentError(
            f"{name} must have an output for each class, or one output that ends in a sigmoid, got "
            "one output of another kind. Add the sigmoid."
        )

    def both(images: Floats) -> Floats:
        second = np.asarray(run(images), dtype=np.float32)
        return np.concatenate([1 - second, second], axis=1)

    return both, 2, "probabilities"


def of_images(
    run: Callable[[Floats], Any], input_shape: tuple[int | None, ...], name: str
) -> tuple[Callable[[Floats], Any], tuple[int | None, ...] | None]:
    """Returns what runs on images `(n, h, w, c)`, and their shape.

    A network of vectors `(k,)` takes images of any shape with k values, row by row as
    `keras.layers.Flatten` does; then the shape is None.

    Args:
        run: From the network's input.
        input_shape: Of one input: `(h, w, c)` or `(k,)`.
        name: What an error calls the network.
    """
    if len(input_shape) != 1:
        return run, input_shape

    def flat(images: Floats) -> Any:
        vectors = images.reshape(len(images), -1)
        if vectors.shape[1:] != input_shape:
            raise DataError(
                f"Images for {name} must have {input_shape[0]} values, got {vectors.shape[1]} in "
                f"{images.shape[1:]}. Choose other images, or bring them to a size with "
                "--preprocessing mean=M:std=S:size=HxW."
            )
        return run(vectors)

    return flat, None


def choose_preprocessing(
    chosen: str | Preprocessing | None,
    own: str | None,
    shape: tuple[int | None, ...] | None,
    name: str,
) -> Preprocessing:
    """Returns the preprocessing that was chosen, or the model's own, for images of `shape`."""
    if isinstance(chosen, Preprocessing):
        return chosen
    chosen = chosen or own
    if chosen is None:
        raise ArgumentError(
            f"{name} does not say how its images are preprocessed. Choose one with "
            f"--preprocessing: {', '.join(preprocessings.PREPROCESSINGS)}, or mean=M:std=S."
        )
    return preprocessings.get(chosen, shape)
