"""Strict JSON for untrusted files."""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from bnnzoo.errors import ModelFormatError

__all__ = ["decode", "encode", "expect_keys", "expect_list", "expect_name", "readable", "shown"]

# Integers up to here are exact in every JSON reader.
MAX_INTEGER = 2**53
MAX_NAME_CHARACTERS = 1000
_NOT_IN_NAMES = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

_short = reprlib.Repr()
_short.maxstring = 80


def shown(value: Any) -> str:
    """Formats a value for a message: on one line, truncated."""
    return _short.repr(value)


def encode(value: Any) -> str:
    """Returns the shortest JSON of a value; equal values give equal text.

    Raises:
        ValueError: A number is not finite.
    """
    return json.dumps(
        value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
    )


def decode(text: str, what: str) -> Any:
    """Returns the value of JSON text.

    Raises:
        ModelFormatError: It is not JSON, repeats a key, is nested too deeply, or has a number that
            is not finite or an integer beyond 2^53.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            twice = next(key for key, count in counts.items() if count > 1)
            raise ModelFormatError(f"{what} has the key {shown(twice)} twice.")
        return value

    def real(text: str) -> float:
        value = float(text)
        if math.isinf(value):
            raise ModelFormatError(f"{what} has the number {shown(text)}, too large for float64.")
        return value

    def integer(text: str) -> int:
        value = int(text) if len(text) < 20 else MAX_INTEGER + 1
        if abs(value) > MAX_INTEGER:
            raise ModelFormatError(f"{what} has the integer {shown(text)}, beyond 2^53.")
        return value

    def constant(text: str) -> float:
        raise ModelFormatError(f"{what} has the number {text}, which JSON does not allow.")

    try:
        value = json.loads(
            text, object_pairs_hook=unique, parse_float=real, parse_int=integer,
            parse_constant=constant,
        )  # fmt: skip
        if "\\ud" in text.lower():  # half of a surrogate pair cannot be encoded
            encode(value).encode()
        return value
    except UnicodeEncodeError as error:
        raise ModelFormatError(f"{what} has half of a surrogate pair.") from error
    except RecursionError as error:
        raise ModelFormatError(f"{what} is nested too deeply.") from error
    except ValueError as error:
        raise ModelFormatError(f"{what} is not JSON: {error}.") from error


def expect_keys(
    value: Any, what: str, required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, Any]:
    """Returns `value` if it is an object with these keys."""
    if not isinstance(value, dict):
        raise ModelFormatError(f"{what} must be an object, got {shown(value)}.")
    missing = [key for key in required if key not in value]
    extra = [key for key in value if key not in required and key not in optional]
    if missing:
        raise ModelFormatError(
            f"{what} must have the key {missing[0]!r}, got {shown(list(value))}."
        )
    if extra:
        raise ModelFormatError(f"{what} has the unknown key {shown(extra[0])}.")
    return value


def expect_list(value: Any, what: str, most: int) -> list[Any]:
    """Returns `value` if it is an array of at most `most` items."""
    if not isinstance(value, list):
        raise ModelFormatError(f"{what} must be an array, got {shown(value)}.")
    if len(value) > most:
        raise ModelFormatError(f"{what} must have at most {most} items, got {len(value)}.")
    return value


def expect_name(value: Any, what: str) -> str:
    """Returns `value` if it is a name: one line, neither empty nor too long."""
    if not isinstance(value, str):
        raise ModelFormatError(f"{what} must be a string, got {shown(value)}.")
    if not 0 < len(value) <= MAX_NAME_CHARACTERS or _NOT_IN_NAMES.search(value):
        raise ModelFormatError(
            f"{what} must be 1 to {MAX_NAME_CHARACTERS} characters, none of them a control "
            f"character, got {shown(value)}."
        )
    return value


def readable(text: str) -> str:
    """Returns text as a valid name: without control characters, truncated.

    Half of the length is left for suffixes.
    """
    return _NOT_IN_NAMES.sub("?", text)[: MAX_NAME_CHARACTERS // 2]
