"""The table of all models and weights, with sizes and accuracies."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bnnzoo import registry
from bnnzoo.manifest import WeightsRecord
from bnnzoo.registry import ModelInfo
from bnnzoo.tables import Table

__all__ = ["Result", "result", "results"]

# Fields of a metric.
ACCURACY = ("dataset", "n", "top1", "top5", "origin", "by", "date")


@dataclass(frozen=True)
class Result:
    """A model with one set of weights, or without any.

    Sizes and operations are those with the arguments of the weights.

    Attributes:
        name: `architecture.tag`, or the architecture if it has no weights.
        architecture: Canonical name of the model.
        tag: Tag of the weights.
        task: `classification` or `segmentation`.
        input_shape: `(h, w, c)` of an image.
        num_classes: Number of classes.
        arguments: Arguments of the builder beyond its defaults.
        params: Number of parameters.
        packed_bytes: Bytes of the packed file, or of the packed parameters.
        binary_macs: Multiply-accumulates of two binary factors, for one image.
        other_macs: All other multiply-accumulates.
        dataset: Data set of the accuracy.
        n: Number of its images.
        top1: Percentage of images whose label is the first class.
        top5: Percentage of images whose label is among the first five classes.
        origin: `published` by the makers of the weights, or `measured` by this project.
        by: Who published or measured the accuracy.
        date: ISO date of the measurement.
        licence: SPDX id of the weights' licence.
        paper: URL of the paper.
    """

    name: str
    architecture: str
    tag: str | None = None
    task: str | None = None
    input_shape: tuple[int, ...] | None = None
    num_classes: int | None = None
    arguments: str | None = None
    params: int | None = None
    packed_bytes: int | None = None
    binary_macs: int | None = None
    other_macs: int | None = None
    dataset: str | None = None
    n: int | None = None
    top1: float | None = None
    top5: float | None = None
    origin: str | None = None
    by: str | None = None
    date: str | None = None
    licence: str | None = None
    paper: str | None = None


def results(pattern: str = "*", *, pretrained: bool = False) -> Table[Result]:
    """Returns all models and weights with their sizes and accuracies, without importing Keras.

        bnnzoo.results("quick*").to_pandas()

    The accuracies are those of the weights' records. Those that are `published` have not been
    checked by this project.

    Args:
        pattern: Shell pattern of the models' names, as in `"re*"`.
        pretrained: Only models with pretrained weights.
    """
    models = map(registry.info, registry.list_models(pattern, pretrained=pretrained))
    return Table(result(model, record) for model in models for record in model.weights or (None,))


def result(model: ModelInfo, record: WeightsRecord | None) -> Result:
    """Returns the row of a model with some of its weights, or without any."""
    bare = Result(
        name=model.name,
        architecture=model.name,
        task=model.task,
        input_shape=model.input_shape,
        num_classes=model.num_classes,
        params=model.params,
        packed_bytes=model.packed_bytes,
        binary_macs=model.binary_macs,
        other_macs=model.other_macs,
        paper=model.paper,
    )
    if record is None:
        return bare
    if record.arguments:
        bare = replace(bare, params=None, packed_bytes=None, binary_macs=None, other_macs=None)
    if record.size is not None:
        bare = replace(bare, **vars(record.size))
    packed, metric = record.file("packed"), record.headline
    return replace(
        bare,
        name=record.name,
        tag=record.tag,
        input_shape=tuple(record.arguments.get("input_shape", model.input_shape or ())) or None,
        num_classes=record.num_classes,
        arguments=", ".join(f"{k}={v}" for k, v in record.arguments.items()) or None,
        packed_bytes=bare.packed_bytes if packed is None else packed.bytes,
        licence=record.licence,
        paper=record.paper,
        **{} if metric is None else {name: getattr(metric, name) for name in ACCURACY},
    )
