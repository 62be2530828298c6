"""Describes a Keras model for the packed file: name, weights, classes, and how to build it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from bnnzoo import manifest, registry
from bnnzoo.data import labels
from bnnzoo.data import preprocessing as preprocessings
from bnnzoo.data.preprocessing import Preprocessing
from bnnzoo.errors import ArgumentError, UnknownModelError
from bnnzoo.formats.network_info import NetworkInfo, names_fit
from bnnzoo.keras_bridge.from_keras.walking import output_names
from bnnzoo.keras_bridge.to_keras.config import to_config
from bnnzoo.manifest import WeightsRecord
from bnnzoo.model_source import ModelSource
from bnnzoo.model_spec import ModelSpec
from bnnzoo.provenance import has_loaded_weights
from bnnzoo.version import __version__

__all__ = ["describe"]


def describe(
    model: keras.Model,
    source: ModelSource,
    preprocessing: str | Preprocessing | None = None,
    record: WeightsRecord | None = None,
    outputs: tuple[str, ...] = (),
) -> NetworkInfo:
    """Returns the metadata to store in the file.

    Args:
        model: The model.
        source: The resolved model argument. The weights of a model in memory are those of its spec
            if they have not changed since they were loaded.
        preprocessing: A `Preprocessing` or its id. Defaults to the model's own.
        record: Record of weights that are not in the manifest yet.
        outputs: Names of the outputs in the graph.

    Raises:
        ArgumentError: The preprocessing does not exist.
    """
    spec: ModelSpec | None = getattr(model, "model_spec", None)
    named = record is not None or source.kind == "name" or has_loaded_weights(model)
    tag = spec.tag if spec and named else None
    known = [] if record is None else [record]
    architecture, names = _architecture(model, spec, known), output_names(model)
    class_names, class_ids = _class_names(model, spec), spec and spec.labels
    return NetworkInfo(
        name=spec.name if spec else model.name,
        tag=tag,
        preprocessing=_preprocessing(preprocessing, spec),
        labels=class_names,
        label_set=class_ids if class_names and isinstance(class_ids, str) else None,
        task=_task(spec, architecture),
        output_names=None if names == outputs else names,
        licence=_licence(spec.name, tag, known) if spec and tag else None,
        weights_sha256=_digest(source, spec, named),
        architecture=architecture,
        keras_config=None if architecture else to_config(model),
        versions={
            "bnnzoo": __version__,
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
            "numpy": np.__version__,
        },
    )


def _task(spec: ModelSpec | None, architecture: dict[str, Any] | None) -> str | None:
    """Returns the task of a network with classes per pixel; None for anything else."""
    task = None if spec is None else spec.task
    if spec is None and architecture and architecture["arguments"].get("include_top", True):
        task = registry.info(architecture["name"]).task
    return None if task == "classification" else task


def _preprocessing(chosen: str | Preprocessing | None, spec: ModelSpec | None) -> str | None:
    if chosen is None:
        return spec.preprocessing if spec else None
    return preprocessings.known_id(chosen)


def _digest(source: ModelSource, spec: ModelSpec | None, named: bool) -> str | None:
    if named:
        return spec.weights_sha256 if spec else None
    return source.path.sha256 if source.path else None


def _class_names(model: keras.Model, spec: ModelSpec | None) -> tuple[str, ...] | None:
    """Returns the class names if they are known and match the number of classes."""
    if spec is None or spec.labels is None or len(model.outputs) != 1:
        return None
    names = labels.names(spec.labels)
    return names if names_fit(len(names), model.outputs[0].shape[-1]) else None


def _licence(architecture: str, tag: str, known: list[WeightsRecord]) -> str | None:
    records = [*known, *manifest.load().tags(architecture)]
    return next((record.licence for record in records if record.tag == tag), None)


def _architecture(
    model: keras.Model, spec: ModelSpec | None, known: list[WeightsRecord]
) -> dict[str, Any] | None:
    """Returns a builder call that builds this exact structure; None if there is none.

    A name and a few numbers replace a hundred kilobytes of config.
    """
    name = spec.name if spec else model.name
    try:
        builder = registry.builder(name)
    except UnknownModelError:
        return None
    structure = _structure(model)
    for arguments in _candidates(model, [*known, *manifest.load().tags(name)]):
        try:
            built = builder(**arguments)
        except (ArgumentError, TypeError, ValueError):
            continue
        if _structure(built) == structure:
            shape = list(arguments["input_shape"])
            return {"name": name, "arguments": {**arguments, "input_shape": shape}}
    return None


def _candidates(model: keras.Model, records: list[WeightsRecord]) -> Iterator[dict[str, Any]]:
    """Yields arguments that may have built a model: the defaults, then those of known weights."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        return
    shape = {"input_shape": tuple(model.inputs[0].shape[1:])}
    head = {"num_classes": model.outputs[0].shape[-1]}
    for arguments in [{}, *(dict(record.arguments) for record in records)]:
        arguments.pop("input_shape", None)
        yield {**arguments, **shape, **head}
        yield {**arguments, **shape, "include_top": False}


def _structure(model: keras.Model) -> Any:
    """Returns the layers and their connections from a config."""
    config = json.loads(to_config(model))["config"]
    return _untrained({key: config[key] for key in ("layers", "input_layers", "output_layers")})


def _untrained(value: Any) -> Any:
    """Returns a config without the `trainable` flags."""
    if isinstance(value, list):
        return [_untrained(item) for item in value]
    if isinstance(value, dict):
        return {key: _untrained(item) for key, item in value.items() if key != "trainable"}
    return value
