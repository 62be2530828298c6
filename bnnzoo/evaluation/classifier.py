"""A classifier of images or pixels, with its preprocessing, labels and provenance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.data import labels as label_sets
from bnnzoo.data import preprocessing as preprocessings
from bnnzoo.data.labels import Labels
from bnnzoo.data.preprocessing import Preprocessing
from bnnzoo.errors import ArgumentError, BnnZooError, DataError
from bnnzoo.model_spec import TASKS

__all__ = [
    "RUNTIMES",
    "Classifier",
    "as_classifier",
    "check_shapes",
    "choose_preprocessing",
    "of_images",
]

RUNTIMES = ("keras", "packed")

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Classifier:
    """A classifier, ready to score images or their pixels.

    Attributes:
        run: Maps images `(n, h, w, c)` to scores `(n, classes)`, or `(n, h, w, classes)`.
        input_shape: `(h, w, c)`; None if any size is accepted.
        num_classes: Number of classes.
        name: Canonical name, or name of the file.
        tag: Tag of the pretrained weights.
        weights_sha256: SHA-256 of the weight file, or of the model file.
        preprocessing: Preprocessing of the images.
        labels: Name of each class, or their id; None if unknown.
        random_weights: Whether the weights are untrained.
        outputs: `probabilities`, `logits`, or None for anything else.
        runtime: One of `RUNTIMES`.
        versions: Versions of the runtime.
        constant_batch: Whether every call must have the same number of images, so that a backend
            compiles once.
        task: One of `model_spec.TASKS`: `segmentation` scores pixels.
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
    task: str = "classification"

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Name of each class; None if unknown."""
        return None if self.labels is None else label_sets.names(self.labels)

    def warm_up(self, batch_size: int) -> None:
        """Runs the model once, so that compilation does not count as evaluation time."""
        if self.input_shape is not None:
            self.run(np.zeros((batch_size, *self.input_shape), dtype=np.float32))

    def scorer(self, batch_size: int) -> Callable[[Floats], Floats]:
        """Returns a function from up to `batch_size` images `(n, h, w, c)` to scores.

        With `constant_batch`, a smaller batch is padded by repeating its last image.
        """

        def score(images: Floats) -> Floats:
            count = len(images)
            if self.constant_batch:
                last = np.repeat(images[-1:], batch_size - count, axis=0)
                images = np.concatenate([images, last])
            scores = np.asarray(self.run(images), dtype=np.float32)[:count]
            if not np.isfinite(scores).all():
                raise BnnZooError(
                    f"The scores of {self.name} are not finite. Check its weights, and that it was "
                    f"trained with preprocessing '{self.preprocessing.id}'."
                )
            return scores

        return score


def as_classifier(
    run: Callable[[Floats], Any], classes: int, kind: str | None, name: str
) -> tuple[Callable[[Floats], Any], int, str | None]:
    """Returns a function with a score per class, the number of classes, and the kind of scores.

    A single sigmoid output p is the probability of class 1; its scores are (1 - p, p).

    Args:
        run: Maps images to the outputs of the network.
        classes: Number of outputs.
        kind: `probabilities`, `logits`, `sigmoid`, or None for anything else.
        name: Name of the network in messages.

    Raises:
        ArgumentError: The network has a single output that is not a sigmoid.
    """
    if classes > 1:
        return run, classes, None if kind == "sigmoid" else kind
    if kind != "sigmoid":
        raise ArgumentError(
            f"{name} must have one output per class or a single sigmoid output, got a single "
            "output without a sigmoid. Add a sigmoid."
        )

    def both(images: Floats) -> Floats:
        second = np.asarray(run(images), dtype=np.float32)
        return np.concatenate([1 - second, second], axis=-1)

    return both, 2, "probabilities"


def of_images(
    run: Callable[[Floats], Any], input_shape: tuple[int | None, ...], name: str
) -> tuple[Callable[[Floats], Any], tuple[int | None, ...] | None]:
    """Returns a function of images `(n, h, w, c)`, and their shape.

    A network with vectors `(k,)` as input accepts images of any shape with k values, which are
    flattened as in `keras.layers.Flatten`. The returned shape is then None.

    Args:
        run: A function of the network's input.
        input_shape: Shape of one input: `(h, w, c)` or `(k,)`.
        name: Name of the network in messages.
    """
    if len(input_shape) != 1:
        return run, input_shape

    def flat(images: Floats) -> Any:
        vectors = images.reshape(len(images), -1)
        if vectors.shape[1:] != input_shape:
            raise DataError(
                f"Images for {name} must have {input_shape[0]} values, got {vectors.shape[1]} in "
                f"{images.shape[1:]}. Use other images, or resize them with --preprocessing "
                "mean=M:std=S:size=HxW."
            )
        return run(vectors)

    return flat, None


def check_shapes(
    task: str, taken: Sequence[int | None], given: Sequence[int | None], name: str
) -> None:
    """Checks that the shapes of a network fit a task.

    Args:
        task: One of `model_spec.TASKS`.
        taken: Shape of one input.
        given: Shape of the scores of one image.
        name: Name of the network in messages.

    Raises:
        ArgumentError: They do not fit.
    """
    if task not in TASKS:
        raise ArgumentError(f"task must be one of {tuple(TASKS)}, got {task!r}. Choose one.")
    axes = (1, 3) if task == "classification" else (3,)
    pixels = task == "classification" or tuple(taken[:2]) == tuple(given[:2])
    if len(taken) not in axes or len(given) != TASKS[task] or not given[-1] or not pixels:
        rule = {
            "classification": "(h, w, c) or (k,) to (classes,)",
            "segmentation": "(h, w, c) to (h, w, classes)",
        }[task]
        other = next(each for each in TASKS if each != task)
        hint = f" Or is its task {other}?" if len(given) == TASKS[other] else ""
        raise ArgumentError(
            f"{name} must map {rule}, got {tuple(taken)} to {tuple(given)}. Use a network for "
            f"{task} with one input and one output.{hint}"
        )


def choose_preprocessing(
    chosen: str | Preprocessing | None,
    own: str | None,
    shape: tuple[int | None, ...] | None,
    name: str,
) -> Preprocessing:
    """Returns the chosen preprocessing, or else the model's own, for images of `shape`."""
    if isinstance(chosen, Preprocessing):
        return chosen
    chosen = chosen or own
    if chosen is None:
        raise ArgumentError(
            f"{name} has no preprocessing. Choose one with --preprocessing: "
            f"{', '.join(preprocessings.PREPROCESSINGS)}, or mean=M:std=S."
        )
    return preprocessings.get(chosen, shape)
