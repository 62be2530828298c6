"""Replaces a network's classifier, and finds the layers before it."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

from bnnzoo.errors import ArgumentError

__all__ = ["backbone_layers", "with_new_head"]


def with_new_head(
    network: Any, num_classes: int, labels: str | tuple[str, ...] | None = None
) -> Any:
    """Returns a copy of a network with a new, random classifier; everything else keeps its weights.

    The classifier is the last layer that has units or filters, with the batch norms after it.

    Args:
        network: A network of the zoo.
        num_classes: Number of classes of the new classifier.
        labels: Names of the classes, or the id of a label set.

    Raises:
        ArgumentError: The network has no such layer.
    """
    index = _classifier_index(network)
    config = copy.deepcopy(network.get_config())
    settings = config["layers"][index]["config"]
    settings["units" if "units" in settings else "filters"] = num_classes
    for entry in config["layers"][index:]:
        entry.pop("build_config", None)  # has the shape of the old classifier
    made = type(network).from_config(config)
    for old, new in zip(network.layers[:index], made.layers[:index], strict=True):
        new.set_weights(old.get_weights())
    spec = network.model_spec
    made.model_spec = dataclasses.replace(
        spec, num_classes=num_classes, labels=labels, tag=None, weights_sha256=None
    )
    return made


def backbone_layers(network: Any) -> list[Any]:
    """Returns the layers up to the last stage, or up to the classifier if it has no stages."""
    if network.stages:
        end = network.layers.index(network.get_layer(network.stages[-1])) + 1
    else:
        end = _classifier_index(network)
    layers: list[Any] = network.layers[:end]
    return layers


def _classifier_index(network: Any) -> int:
    for index in reversed(range(len(network.layers))):
        config = network.layers[index].get_config()
        if "units" in config or "filters" in config:
            return index
    raise ArgumentError(f"{network.name} must have a classifier to be replaced, got none.")
