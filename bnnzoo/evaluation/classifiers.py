"""Opens a classifier from a name in the zoo, a file or a Keras model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bnnzoo.data import labels as label_sets
from bnnzoo.data import preprocessing as preprocessings
from bnnzoo.data.labels import Labels
from bnnzoo.data.preprocessing import Preprocessing
from bnnzoo.errors import ArgumentError
from bnnzoo.evaluation.classifier import RUNTIMES, Classifier
from bnnzoo.model_source import ModelSource, resolve_model
from bnnzoo.version import keras_is_installed

__all__ = ["open_classifier"]


def open_classifier(
    model: Any,
    *,
    preprocessing: str | Preprocessing | None = None,
    random_weights: bool = False,
    runtime: str | None = None,
    labels: Labels | None = None,
    task: str | None = None,
) -> Classifier:
    """Returns the model with its preprocessing, labels and provenance.

    Args:
        model: `name` or `name.tag` in the zoo, path of a `.keras` or packed file, or a Keras model.
        preprocessing: A `Preprocessing` or its id. Defaults to the model's own.
        random_weights: Build a zoo model without its pretrained weights.
        runtime: `keras` or `packed`. Defaults to `packed` for packed files, and for all models if
            Keras is not installed; otherwise to `keras`.
            With `packed`, a model without a packed file is converted in memory.
        labels: Class names, or their id. Defaults to the model's own.
        task: `classification` or `segmentation`, for a model that does not say it.

    Raises:
        UnknownModelError: The model or tag does not exist, or has no pretrained weights.
        ArgumentError: The model is not an image classifier, its preprocessing is unknown, the
            number of labels is wrong, or the runtime does not exist.
        ConversionError: The packed runtime cannot run a layer.
        WeightsError: The weights cannot be fetched, or the file is broken.
        MissingDependencyError: The runtime is not installed.
    """
    if isinstance(preprocessing, str):
        preprocessings.get(preprocessing)  # reports a wrong id before anything is downloaded
    count = None if labels is None else len(label_sets.names(labels))
    source = resolve_model(model)
    if random_weights:
        source.check_random()
    classifier = _open(source, preprocessing, random_weights, runtime, task)
    if labels is None:
        return classifier
    if count != classifier.num_classes:
        raise ArgumentError(
            f"labels must name the {classifier.num_classes} classes of {classifier.name}, got "
            f"{count} names. Choose other labels."
        )
    return replace(classifier, labels=labels)


def _open(
    source: ModelSource,
    preprocessing: str | Preprocessing | None,
    random_weights: bool,
    runtime: str | None,
    task: str | None,
) -> Classifier:
    if runtime is None:
        runtime = "keras" if source.kind != "packed" and keras_is_installed() else "packed"
    if runtime not in RUNTIMES:
        raise ArgumentError(f"runtime must be one of {RUNTIMES}, got {runtime!r}. Choose one.")
    if runtime == "packed" and not random_weights:
        from bnnzoo.evaluation.packed_classifier import open_packed_classifier

        classifier = open_packed_classifier(source, preprocessing, task)
        if classifier is not None:
            return classifier
    from bnnzoo.evaluation.keras_classifier import open_keras_classifier

    return open_keras_classifier(source, preprocessing, random_weights, runtime, task)
