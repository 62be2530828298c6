"""Opens a classifier that runs without Keras: a packed file, by name or path."""

from __future__ import annotations

from bnnzoo import runtime, weights
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
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.graph.ir import Graph
from bnnzoo.model_source import ModelSource
from bnnzoo.snapshot import Snapshot

__all__ = ["find_packed", "open_packed_classifier"]

_ACTIVATIONS = ("clip", "prelu", "tanh")


def open_packed_classifier(
    source: ModelSource, preprocessing: str | Preprocessing | None, task: str | None
) -> Classifier | None:
    """Opens a packed network and describes it as a classifier; None if there is no packed file.

    Args:
        source: The resolved model argument.
        preprocessing: See `open_classifier`.
        task: See `open_classifier`.
    """
    found = find_packed(source)
    if found is None:
        return None
    path, name, tag = found
    model = runtime.load(path)
    info = model.info
    task = task or info.task or "classification"
    _check_classifier(model, task, str(source.value))
    run, shape = of_images(model, model.input_shape, name)
    run, classes, outputs = as_classifier(
        run, model.output_shapes[0][-1], _output_kind(model.graph), name
    )
    return Classifier(
        run=run,
        input_shape=None if shape is None else model.input_shape,
        num_classes=classes,
        name=name,
        tag=tag,
        weights_sha256=path.sha256,
        preprocessing=choose_preprocessing(preprocessing, info.preprocessing, shape, name),
        labels=_labels(info, classes),
        random_weights=bool(info.random_weights),
        outputs=outputs,
        runtime="packed",
        versions={"isa": model.isa},
        task=task,
    )


def _labels(info: NetworkInfo, classes: int) -> Labels | None:
    """Returns the id of the class names, which also has WordNet ids, or the names in the file."""
    id = info.label_set if info.label_set in labels.list_labels() else None
    known: tuple[Labels | None, ...] = (id, info.labels)
    return next((k for k in known if k is not None and len(labels.names(k)) == classes), None)


def find_packed(source: ModelSource) -> tuple[Snapshot, str, str | None] | None:
    """Returns the packed file of a model, and the name and tag of its network; None without one."""
    if source.kind == "packed" and source.path is not None:
        return source.path, source.path.name, None
    if source.kind != "name":
        return None
    record = source.record
    file = record.file("packed")
    if file is None:
        return None
    return weights.fetch(file, name=record.name), record.architecture, record.tag


def _check_classifier(model: runtime.Model, task: str, name: str) -> None:
    taken, given = model.input_shapes, model.output_shapes
    if len(taken) != 1 or len(given) != 1:
        raise ArgumentError(
            f"{name} must map one input to one output, got {', '.join(map(str, taken))} to "
            f"{', '.join(map(str, given))}. Use a classifier with one input and one output."
        )
    check_shapes(task, taken[0], given[0], name)


def _output_kind(graph: Graph) -> str | None:
    """Returns the kind of outputs, by the last node that changes values."""
    nodes = {node.name: node for node in graph.nodes}
    node = nodes.get(graph.outputs[0])
    while node is not None and node.op == "reshape":
        node = nodes.get(node.inputs[0])
    if node is None or node.op in _ACTIVATIONS:
        return None
    return {"softmax": "probabilities", "sigmoid": "sigmoid"}.get(node.op, "logits")
