"""A network's metadata: its origin, its preprocessing, its labels."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from bnnzoo.errors import ModelFormatError
from bnnzoo.records import RecordError, Rule, read_record

__all__ = ["NetworkInfo", "names_fit"]


def names_fit(count: int, classes: int) -> bool:
    """Returns whether an output can have `count` names; one sigmoid has two classes."""
    return count == classes or (count, classes) == (2, 1)


# Labels and licences are printed, and a terminal would interpret control characters.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_MAX_NESTING = 16


def _is_line(text: str) -> bool:
    return not _CONTROL.search(text)


def _is_architecture(value: Mapping[str, Any]) -> bool:
    return (
        set(value) == {"name", "arguments"}
        and isinstance(value["name"], str)
        and _is_line(value["name"])
        and isinstance(value["arguments"], dict)
        and _is_shallow(value["arguments"], _MAX_NESTING)
    )


def _is_shallow(value: Any, levels: int) -> bool:
    if not isinstance(value, (dict, list)):
        return True
    items = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(item, levels - 1) for item in items)


Line = Annotated[str, Rule("one line of text", _is_line)]
Names = Annotated[
    tuple[Line, ...],
    Rule("a list of different lines of text", lambda names: len(set(names)) == len(names)),
]
Versions = Annotated[
    Mapping[str, Line],
    Rule("an object of lines of text", lambda versions: all(map(_is_line, versions))),
]
Architecture = Annotated[
    Mapping[str, Any], Rule("an object of a name and arguments", _is_architecture)
]


@dataclass(frozen=True)
class NetworkInfo:
    """Metadata of a network.

    Attributes:
        name: Canonical name of the architecture, or the Keras model's name.
        tag: Name of the pretrained weights.
        preprocessing: Id of the preprocessing.
        labels: A name per class, in the order of the network's last axis; two names if that has one
            element, the probability of the second class.
        label_set: Id of the label set, such as `imagenet1k`.
        task: `segmentation`, if the last axis of the network's output has a score per class for
            each pixel; None for anything else.
        random_weights: True if the network was never trained; None otherwise.
        output_names: The user's names of the outputs, if the graph's values have other names.
        licence: Licence of the weights, as an SPDX id.
        weights_sha256: Digest of the file that the weights came from.
        architecture: For a zoo model: `{"name": ..., "arguments": {...}}`, JSON values.
        keras_config: For any other model: what `model.to_json()` returns.
        versions: Versions of the tools that made the file.
    """

    name: Line
    tag: Line | None = None
    preprocessing: Line | None = None
    labels: tuple[Line, ...] | None = None
    label_set: Line | None = None
    task: Line | None = None
    random_weights: bool | None = None
    output_names: Names | None = None
    licence: Line | None = None
    weights_sha256: Line | None = None
    architecture: Architecture | None = None
    keras_config: str | None = None
    versions: Versions = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Returns the known facts as JSON values."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for name in ("labels", "output_names"):
            values[name] = None if values[name] is None else list(values[name])
        for name in ("architecture", "versions"):
            values[name] = dict(values[name]) if values[name] else None
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_dict(cls, value: Any) -> NetworkInfo:
        """Reads what `to_dict` wrote; unknown fields are ignored.

        Raises:
            ModelFormatError: A field is missing or has another type.
        """
        if isinstance(value, dict):
            names = [f.name for f in dataclasses.fields(cls)]
            value = {name: value[name] for name in names if name in value}
            for name in names:
                if value.get(name, "") is None:
                    raise ModelFormatError(f"info {name} must be omitted, got null.")
        try:
            return read_record(cls, value, "info ")
        except RecordError as error:
            raise ModelFormatError(str(error)) from error
