"""Reads frozen dataclasses from parsed JSON by the annotations of their fields.

    @dataclass(frozen=True)
    class Metric:
        n: Annotated[int, Rule("a positive integer", lambda n: n > 0)]
        date: str | None = None

A field is a string, a number, true or false, another record, a tuple or a mapping of these, `Any`,
or one of them or None.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

__all__ = ["RecordError", "Rule", "read_record"]

R = TypeVar("R")

_MEANINGS = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}


class RecordError(ValueError):
    """A value is invalid; the message has the field, the rule and the value."""


@dataclass(frozen=True)
class Rule:
    """An annotation that restricts the values of a field.

    Attributes:
        meaning: What the value must be, for messages.
        holds: Returns whether a value of the type is valid.
    """

    meaning: str
    holds: Callable[[Any], bool]


def read_record(kind: type[R], value: Any, where: str = "") -> R:
    """Returns a JSON object as a frozen dataclass.

    Args:
        kind: The dataclass.
        value: Parsed JSON.
        where: Prefix of messages, such as `file.json: `.

    Raises:
        RecordError: A field is missing, unknown, or not what its annotation says.
    """
    subject = where.rstrip(" .:") or "it"
    if not isinstance(value, dict):
        raise _wrong(subject, "an object", value)
    fields, hints = dataclasses.fields(kind), _hints(kind)  # type: ignore[arg-type]
    if unknown := sorted(value.keys() - {field.name for field in fields}):
        raise RecordError(f"{subject} has unknown fields {unknown}. Remove them.")
    read = {}
    for field in fields:
        if field.name in value:
            read[field.name] = _read(hints[field.name], value[field.name], where + field.name)
        elif field.default is field.default_factory is dataclasses.MISSING:
            meaning = _meaning(hints[field.name])
            raise RecordError(f"{where}{field.name} is missing. It must be {meaning}.")
    return kind(**read)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


@functools.cache
def _parts(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    return typing.get_origin(hint), typing.get_args(hint)


def _read(hint: Any, value: Any, path: str) -> Any:
    """Returns a value as its annotation has it; `path` names it."""
    origin, inner = _parts(hint)
    if origin is Annotated:
        if _is_of(inner[0], value):
            read = _read(inner[0], value, path)
            if inner[1].holds(read):
                return read
    elif origin in (types.UnionType, typing.Union):
        return None if value is None else _read(inner[0], value, path)
    elif dataclasses.is_dataclass(hint):
        return read_record(typing.cast(type, hint), value, f"{path}.")
    elif _is_of(hint, value):
        if origin is tuple:
            kinds = inner[:1] * len(value) if inner[1] is ... else inner
            items = zip(kinds, value, strict=True)
            return tuple(_read(kind, item, f"{path}[{i}]") for i, (kind, item) in enumerate(items))
        if origin in (dict, Mapping):
            return {key: _read(inner[1], item, f"{path}.{key}") for key, item in value.items()}
        return value
    raise _wrong(path, _meaning(hint), value)


def _is_of(hint: Any, value: Any) -> bool:
    """Returns whether a JSON value is of a type, without checking its items."""
    origin, inner = _parts(hint)
    if origin is tuple:
        return isinstance(value, list) and (inner[1] is ... or len(value) == len(inner))
    if origin in (dict, Mapping):
        return isinstance(value, dict)
    return hint is Any or type(value) is hint or (hint is float and type(value) is int)


def _meaning(hint: Any) -> str:
    origin, inner = _parts(hint)
    if origin is Annotated:
        return str(inner[1].meaning)
    if origin in (types.UnionType, typing.Union):
        return _meaning(inner[0])
    if origin is tuple:
        return "a list" if inner[1] is ... else f"a list of {len(inner)} values"
    return _MEANINGS.get(hint, "an object")


def _wrong(path: str, meaning: str, value: Any) -> RecordError:
    return RecordError(f"{path} must be {meaning}, got {value!r:.80}. Correct it.")
