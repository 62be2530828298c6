"""What is evaluated: a model by name, a `.keras` file or a model object, ready to score images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.data import labels
from bnnzoo.data import preprocessing as preprocessings
from bnnzoo.data.preprocessing import Preprocessing
from bnnzoo.errors import ArgumentError, BnnZooError
from bnnzoo.loading import open_model
from bnnzoo.model_spec import ModelSpec

__all__ = ["Subject", "open_subject"]

# Layers between a softmax and the output that leave its values as they are.
_TRANSPARENT = ("Dropout", "Flatten", "Identity", "Reshape")


@dataclass(frozen=True)
class Subject:
    """A classifier with what must be known to use and to name it.

    Attributes:
        model: A built `keras.Model` with one input `(n, h, w, c)` and one output `(n, classes)`.
        name: Canonical name, or the file's.
        tag: Tag of its pretrained weights.
        weights_sha256: Digest of its weight file, or of the `.keras` file.
        preprocessing: What brings images to its input.
        label_set: Id of its class names.
        random_weights: Its weights were not trained.
        outputs: `probabilities`, `logits`, or None for anything else.
    """

    model: Any
    name: str
    tag: str | None
    weights_sha256: str | None
    preprocessing: Preprocessing
    label_set: str | None
    random_weights: bool
    outputs: str | None

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return int(self.model.output_shape[-1])

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Name of each class, where they are known."""
        return None if self.label_set is None else labels.names(self.label_set)

    def warm_up(self, batch_size: int) -> None:
        """Runs the model once, so that its compilation is no part of what is timed after."""
        height, width, channels = self.model.input_shape[1:]
        if height is None or width is None:
            height, width = self.preprocessing.size or (None, None)
        if height is not None:
            zeros = np.zeros((batch_size, height, width, channels), dtype=np.float32)
            self.model.predict_on_batch(zeros)

    def scorer(self, batch_size: int) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        """Returns a function from images `(n, h, w, c)` to scores, n up to `batch_size`.

        Every call of the model has `batch_size` images, the last ones repeated where there are
        fewer, so that a compiling backend compiles once.
        """

        def score(images: NDArray[np.float32]) -> NDArray[np.float32]:
            missing = batch_size - len(images)
            padded = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])
            scores = np.asarray(self.model.predict_on_batch(padded), dtype=np.float32)
            if not np.isfinite(scores[: len(images)]).all():
                raise BnnZooError(
                    f"{self.name} gives scores that are not finite. Its weights are broken, or "
                    f"preprocessing '{self.preprocessing.id}' is not the one it was trained with."
                )
            return scores[: len(images)]

        return score


def open_subject(
    model: Any,
    *,
    preprocessing: str | Preprocessing | None = None,
    random_weights: bool = False,
) -> Subject:
    """Returns the model with its preprocessing, labels and provenance.

    Args:
        model: Name or `name.tag` of the zoo, path of a `.keras` file, or a Keras model.
        preprocessing: Id, or the thing itself. None takes the model's own.
        random_weights: Build a zoo model without its pretrained weights.

    Raises:
        UnknownModelError: There is no such model or tag, or it has no pretrained weights.
        ArgumentError: It is no classifier of images, or its preprocessing is not known.
        WeightsError: The weights cannot be had, or the file does not open in safe mode.
        MissingDependencyError: Keras or its backend is not installed.
    """
    if isinstance(preprocessing, str):
        preprocessings.get(preprocessing)  # a wrong id is told before anything is downloaded
    path = Path(model) if isinstance(model, (str, PathLike)) else None
    if path is not None:
        model = open_model(model, pretrained=not random_weights)
    spec = getattr(model, "model_spec", None)
    name, tag, digest = _provenance(model, spec, path)
    _check_classifier(model, name)
    return Subject(
        model=model,
        name=name,
        tag=tag,
        weights_sha256=digest,
        preprocessing=_preprocessing(preprocessing, spec, model, name),
        label_set=_label_set(spec, model),
        random_weights=random_weights,
        outputs=_output_kind(model),
    )


def _provenance(
    model: Any, spec: ModelSpec | None, path: Path | None
) -> tuple[str, str | None, str | None]:
    """Returns name, tag and digest of the weights, where they are certain.

    A file may hold other weights than its spec remembers, and a model in memory may have been
    trained since it was loaded.
    """
    if path is not None and path.suffix == ".keras":
        return path.name, None, hashlib.sha256(path.read_bytes()).hexdigest()
    if path is not None and spec is not None:
        return spec.name, spec.tag, spec.weights_sha256
    name = spec.name if spec is not None else getattr(model, "name", type(model).__name__)
    return str(name), None, None


def _check_classifier(model: Any, name: str) -> None:
    shapes = []
    for attribute in ("input_shape", "output_shape"):
        shape = getattr(model, attribute, None)
        shapes.append(tuple(shape) if isinstance(shape, tuple) else None)
    taken, given = shapes
    if taken is None or len(taken) != 4 or given is None or len(given) != 2 or not given[1]:
        raise ArgumentError(
            f"{name} must be a model from (n, h, w, c) to (n, classes), got {taken} to {given}. "
            "Evaluate a built classifier with one input and one output."
        )


def _preprocessing(
    chosen: str | Preprocessing | None, spec: ModelSpec | None, model: Any, name: str
) -> Preprocessing:
    if isinstance(chosen, Preprocessing):
        return chosen
    chosen = chosen or (spec.preprocessing if spec else None)
    if chosen is None:
        raise ArgumentError(
            f"{name} does not say how its images are preprocessed. Choose one with "
            f"--preprocessing: {', '.join(preprocessings.PREPROCESSINGS)}."
        )
    return preprocessings.get(chosen, model.input_shape[1:])


def _label_set(spec: ModelSpec | None, model: Any) -> str | None:
    """Returns the spec's class names, unless the model has another number of classes."""
    if spec is None or spec.labels is None:
        return None
    return spec.labels if len(labels.names(spec.labels)) == model.output_shape[-1] else None


def _output_kind(model: Any) -> str | None:
    """Tells logits from probabilities by the last layer that changes values.

    A softmax gives probabilities; another activation gives neither; the rest are logits.
    """
    operation = model.outputs[0]._keras_history.operation
    while True:
        if hasattr(operation, "outputs") and hasattr(operation, "layers"):
            return _output_kind(operation)
        activation = getattr(operation, "activation", None)
        linear = activation is None or getattr(activation, "__name__", "") == "linear"
        kind = type(operation).__name__
        if kind == "Softmax" or getattr(activation, "__name__", "") == "softmax":
            return "probabilities"
        if kind in _TRANSPARENT or (kind == "Activation" and linear):
            operation = operation.input._keras_history.operation
            continue
        return "logits" if linear else None
