"""What is evaluated: a classifier with what must be known to use and to name it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.data import labels as label_sets
from bnnzoo.data import preprocessing as preprocessings
from bnnzoo.data.labels import Labels
from bnnzoo.data.preprocessing import Preprocessing
from bnnzoo.errors import ArgumentError, BnnZooError, DataError
from bnnzoo.opening import names_file

__all__ = [
    "RUNTIMES",
    "Subject",
    "as_classifier",
    "check_random",
    "choose_preprocessing",
    "of_images",
    "open_subject",
]

RUNTIMES = ("keras", "packed")

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Subject:
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


def open_subject(
    model: Any,
    *,
    preprocessing: str | Preprocessing | None = None,
    random_weights: bool = False,
    runtime: str | None = None,
    labels: Labels | None = None,
) -> Subject:
    """Returns the model with its preprocessing, labels and provenance.

    Args:
        model: Name or `name.tag` of the zoo, path of a `.keras` file or of a packed network, or a
            Keras model.
        preprocessing: Id, or the thing itself. None takes the model's own.
        random_weights: Build a zoo model without its pretrained weights.
        runtime: `keras` or `packed`. None runs packed networks packed and all else on Keras.
        labels: Names of the classes, or their id. None takes the model's own.

    Raises:
        UnknownModelError: There is no such model or tag, or it has no pretrained weights.
        ArgumentError: It is no classifier of images, its preprocessing is not known, it has
            another number of classes than there are labels, or does not run on this runtime.
        WeightsError: The weights cannot be had, or the file is broken.
        MissingDependencyError: What runs it is not installed.
    """
    if isinstance(preprocessing, str):
        preprocessings.get(preprocessing)  # a wrong id is told before anything is downloaded
    count = None if labels is None else len(label_sets.names(labels))
    if random_weights:
        check_random(model)
    subject = _open(model, preprocessing, random_weights, runtime)
    if labels is None:
        return subject
    if count != subject.num_classes:
        raise ArgumentError(
            f"labels must name the {subject.num_classes} classes of {subject.name}, got {count}. "
            "Choose others."
        )
    return replace(subject, labels=labels)


def _open(
    model: Any, preprocessing: str | Preprocessing | None, random_weights: bool, runtime: str | None
) -> Subject:
    is_text = isinstance(model, (str, PathLike))
    if runtime is None:
        runtime = "packed" if is_text and Path(model).suffix == ".safetensors" else "keras"
    if runtime not in RUNTIMES:
        raise ArgumentError(f"runtime must be one of {RUNTIMES}, got {runtime!r}. Choose one.")
    if runtime == "keras":
        from bnnzoo.evaluation.keras_subject import open_keras_subject

        return open_keras_subject(model, preprocessing, random_weights)
    if not is_text or random_weights:
        raise ArgumentError(
            "The packed runtime takes a name or a packed file with trained weights, got "
            f"{'random weights' if is_text else type(model).__name__}. Convert the model first."
        )
    from bnnzoo.evaluation.packed_subject import open_packed_subject

    return open_packed_subject(model, preprocessing)


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


def check_random(model: Any, is_file: bool = False) -> None:
    """Refuses random weights for what has its own.

    Args:
        model: What was given.
        is_file: It is known to be a file.

    Raises:
        ArgumentError: It is no name of the zoo.
    """
    if is_file or not isinstance(model, (str, PathLike)) or names_file(model):
        shown = model if isinstance(model, (str, PathLike)) else type(model).__name__
        raise ArgumentError(
            f"Random weights must be for a name of the zoo, got {shown}, which has its own. Leave "
            "--random-weights (random_weights=True) out."
        )


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
