"""Opens a classifier from a Keras model: a name, a file or a model object."""

from __future__ import annotations

from typing import Any

from bnnzoo.data import labels
from bnnzoo.data.labels import Labels
from bnnzoo.data.preprocessing import Preprocessing
from bnnzoo.errors import ArgumentError
from bnnzoo.evaluation.classifier import (
    Classifier,
    as_classifier,
    check_shapes,
    choose_preprocessing,
    of_images,
)
from bnnzoo.keras_bridge.packed_graph import packed_graph
from bnnzoo.model_source import ModelSource
from bnnzoo.model_spec import ModelSpec
from bnnzoo.opening import open_model
from bnnzoo.provenance import has_loaded_weights
from bnnzoo.runtime import Model
from bnnzoo.version import keras_versions

__all__ = ["open_keras_classifier"]

# Layers that do not change the values of a preceding softmax.
_TRANSPARENT = ("Dropout", "Flatten", "Identity", "Reshape")


def open_keras_classifier(
    source: ModelSource,
    preprocessing: str | Preprocessing | None,
    random_weights: bool,
    runtime: str,
    task: str | None,
) -> Classifier:
    """Opens the model and describes it as a classifier.

    Args:
        source: The resolved model argument.
        preprocessing: See `open_classifier`.
        random_weights: See `open_classifier`.
        runtime: `keras`, or `packed` to convert the model in memory.
        task: See `open_classifier`.
    """
    model = source.value
    if source.kind != "model":
        model = open_model(source.path or model, pretrained=not random_weights)
    spec = getattr(model, "model_spec", None)
    name, tag, digest = _provenance(model, spec, source)
    task = task or (spec.task if spec else "classification")
    _check_classifier(model, task, name)
    keras = runtime == "keras"
    compute = model.predict_on_batch if keras else Model(packed_graph(model))
    run, shape = of_images(compute, model.input_shape[1:], name)
    run, classes, outputs = as_classifier(
        run, int(model.output_shape[-1]), _output_kind(model), name
    )
    chosen = choose_preprocessing(preprocessing, spec.preprocessing if spec else None, shape, name)
    return Classifier(
        run=run,
        input_shape=_image_shape(shape, chosen),
        num_classes=classes,
        name=name,
        tag=tag,
        weights_sha256=digest,
        preprocessing=chosen,
        labels=_labels(spec, classes),
        random_weights=random_weights,
        outputs=outputs,
        runtime=runtime,
        versions=keras_versions() if keras else {"isa": compute.isa},
        constant_batch=keras,
        task=task,
    )


def _image_shape(shape: Any, preprocessing: Preprocessing) -> tuple[int, ...] | None:
    """Returns `(h, w, c)`; None if neither the model nor the preprocessing fixes the size."""
    if shape is None:
        return None
    height, width, channels = shape
    if height is None or width is None:
        height, width = preprocessing.size or (None, None)
    return None if height is None else (height, width, channels)


def _provenance(
    model: Any, spec: ModelSpec | None, source: ModelSource
) -> tuple[str, str | None, str | None]:
    """Returns the name, tag and digest of the weights. Tag and digest are None if uncertain.

    A file may contain other weights than its spec records, and a model in memory may have been
    trained after loading: then its weights have changed.
    """
    if source.path is not None:
        return source.path.name, None, source.path.sha256
    if spec is not None and (source.kind == "name" or has_loaded_weights(model)):
        return spec.name, spec.tag, spec.weights_sha256
    name = spec.name if spec is not None else getattr(model, "name", type(model).__name__)
    return str(name), None, None


def _check_classifier(model: Any, task: str, name: str) -> None:
    taken: Any = getattr(model, "input_shape", None)
    given: Any = getattr(model, "output_shape", None)
    if not (isinstance(taken, tuple) and isinstance(given, tuple)):
        raise ArgumentError(
            f"{name} must map one input to one output, got {taken} to {given}. Use a built "
            "classifier with one input and one output."
        )
    check_shapes(task, taken[1:], given[1:], name)


def _labels(spec: ModelSpec | None, classes: int) -> Labels | None:
    """Returns the class names of the spec, unless the model has a different number of classes."""
    if spec is None or spec.labels is None:
        return None
    return spec.labels if len(labels.names(spec.labels)) == classes else None


def _output_kind(model: Any) -> str | None:
    """Returns the kind of outputs, by the last layer that changes values.

    A softmax makes probabilities and a sigmoid makes `sigmoid`. Without an activation the outputs
    are logits; with any other activation the kind is None.
    """
    operation = model.outputs[0]._keras_history.operation
    while True:
        if hasattr(operation, "outputs") and hasattr(operation, "layers"):
            return _output_kind(operation)
        activation = getattr(operation, "activation", None)
        function = "linear" if activation is None else getattr(activation, "__name__", "")
        linear = function == "linear"
        kind = type(operation).__name__
        if kind == "Softmax" or function == "softmax":
            return "probabilities"
        if kind == "Sigmoid" or function == "sigmoid":
            return "sigmoid"
        if kind in _TRANSPARENT or (kind == "Activation" and linear):
            operation = operation.input._keras_history.operation
            continue
        return "logits" if linear else None
