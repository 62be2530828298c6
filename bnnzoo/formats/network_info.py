"""What travels in a file beside the graph: a network's origin, its preprocessing, its labels."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bnnzoo.errors import ModelFormatError

__all__ = ["NetworkInfo", "names_fit"]


def names_fit(count: int, classes: int) -> bool:
    """Returns whether so many names are those of an output; one sigmoid tells two classes apart."""
    return count == classes or (count, classes) == (2, 1)


@dataclass(frozen=True)
class NetworkInfo:
    """The facts about a network that its graph does not have.

    Attributes:
        name: Canonical name of the architecture, or the Keras model's name.
        tag: Name of the pretrained weights.
        preprocessing: Id of the preprocessing.
        labels: A name per class, in the order of the network's last axis; two names where it has
            one element, the probability of the second class.
        label_set: Id of the class names, as in `imagenet1k`.
        output_names: Names of the outputs, where those of the graph's values are not the user's.
        licence: Licence of the weights, as an SPDX id.
        weights_sha256: Digest of the file that the weights came from.
        architecture: Of a zoo model: `{"name": ..., "arguments": {...}}`, JSON values.
        keras_config: Of any other model: what `model.to_json()` returns.
        versions: Tool -> version that the file was made with.
    """

    name: str
    tag: str | None = None
    preprocessing: str | None = None
    labels: tuple[str, ...] | None = None
    label_set: str | None = None
    output_names: tuple[str, ...] | None = None
    licence: str | None = None
    weights_sha256: str | None = None
    architecture: Mapping[str, Any] | None = None
    keras_config: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Returns the facts that are known, as JSON values."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for name in ("labels", "output_names"):
            values[name] = None if values[name] is None else list(values[name])
        for name in ("architecture", "versions"):
            values[name] = dict(values[name]) if values[name] else None
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_dict(cls, value: Any) -> NetworkInfo:
        """Returns what `to_dict` wrote; fields that are not known are left out.

        Raises:
            ModelFormatError: A field is missing or has another type.
        """
        if not isinstance(value, dict):
            raise ModelFormatError(f"info must be an object, got {type(value).__name__}.")
        if "name" not in value:
            raise ModelFormatError("info must have a 'name', got none.")
        fields = {}
        for name, (rule, right) in _RULES.items():
            if name in value:
                if not right(value[name]):
                    raise ModelFormatError(f"info {name} must be {rule}, got {value[name]!r:.80}.")
                fields[name] = value[name]
        for name in ("labels", "output_names"):
            if name in fields:
                fields[name] = tuple(fields[name])
        return cls(**fields)


# A terminal obeys control characters, and labels and licences are printed.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_MAX_NESTING = 16


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not _CONTROL.search(value)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_names(value: Any) -> bool:
    return _is_texts(value) and len(set(value)) == len(value)


def _is_versions(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_text(text) for text in (*value, *value.values()))


def _is_architecture(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"name", "arguments"}
        and _is_text(value["name"])
        and isinstance(value["arguments"], dict)
        and _is_shallow(value["arguments"], _MAX_NESTING)
    )


def _is_shallow(value: Any, levels: int) -> bool:
    if not isinstance(value, (dict, list)):
        return True
    items = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(item, levels - 1) for item in items)


_TEXT = ("one line of text", _is_text)
_RULES = {
    "name": _TEXT,
    "tag": _TEXT,
    "preprocessing": _TEXT,
    "labels": ("a list of lines of text", _is_texts),
    "label_set": _TEXT,
    "output_names": ("a list of different lines of text", _is_names),
    "licence": _TEXT,
    "weights_sha256": _TEXT,
    "architecture": ("an object of a name and arguments", _is_architecture),
    "keras_config": ("a string", lambda value: isinstance(value, str)),
    "versions": ("an object of lines of text", _is_versions),
}
