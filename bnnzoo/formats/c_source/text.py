"""Text of C source: names, numbers, arrays, and sanitized strings.

Names of layers, models and classes come from files. In comments they are plain words, in C names
letters and digits, and in strings everything that is special in C is escaped.
"""

from __future__ import annotations

import math
import re
import string as string_module
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["array", "comment", "identifier", "initializer", "number", "shape", "string"]

MAX_COMMENT = 200
MAX_NAME = 48
# C99 guarantees strings of 4095 bytes; a character may be four bytes, each four bytes of source.
MAX_STRING = 200
_WIDTH = 100
_PLAIN = (string_module.ascii_letters + string_module.digits + " _-.,:;()/+=").encode()


def comment(text: str) -> str:
    """Returns text that is safe inside a C comment, on one line."""
    text = text if len(text) <= MAX_COMMENT else f"{text[:MAX_COMMENT]}..."
    return re.sub(r"[^A-Za-z0-9 _.,:;()\[\]<>=+/-]", "_", text)


def identifier(text: str) -> str:
    """Returns lower-case letters, digits and underscores, with a letter first."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:MAX_NAME].rstrip("_")
    return name if re.match("[a-z]", name) else f"bnn_{name}".rstrip("_")


def string(text: str) -> str:
    """Returns a string literal in UTF-8; question marks are escaped too, because of trigraphs."""
    bytes_ = text[:MAX_STRING].encode("utf-8", "replace")
    escaped = (chr(byte) if byte in _PLAIN else f"\\{byte:03o}" for byte in bytes_)
    return f'"{"".join(escaped)}"'


def number(value: Any) -> str:
    """Returns a constant of the same value: an integer, or a float32 by its shortest digits."""
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    value = float(np.float32(value))
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    digits = str(np.float32(value))
    return f"{digits}f" if re.search("[.e]", digits) else f"{digits}.0f"


def initializer(fields: Mapping[str, Any]) -> str:
    """Returns the initializer of a struct, in lines.

    Args:
        fields: By name: numbers, sequences of numbers, fields of a nested struct, names, or None.
    """
    return "\n".join(_lines(_fields(fields, "")))


def _fields(fields: Mapping[str, Any], inside: str) -> Iterator[str]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _fields(value, f"{inside}.{name}")
        else:
            yield f"{inside}.{name} = {_value(value)}"


def _value(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return value
    if isinstance(value, (tuple, list)):
        return "{" + ", ".join(map(number, value)) + "}"
    return number(value)


def array(values: NDArray[Any]) -> str:
    """Returns the elements of an array, in lines; words in hexadecimal."""
    flat = values.reshape(-1)
    if flat.dtype == np.uint32:
        texts = [f"0x{value:08x}" for value in flat.tolist()]
    elif flat.dtype == np.float32 and np.isfinite(flat).all():
        texts = [f"{digits}f" for digits in flat.astype("U").tolist()]  # as `number`, but faster
    else:
        texts = [number(value) for value in flat]
    return "\n".join(_lines(texts))


def _lines(texts: Iterable[str]) -> Iterator[str]:
    """Yields lines of texts, each followed by a comma, wrapped at the maximal width."""
    line = "   "
    for text in texts:
        if len(line) + len(text) + 2 > _WIDTH:
            yield line
            line = "   "
        line += f" {text},"
    yield line


def shape(shape_: tuple[int, ...]) -> str:
    """Returns a shape for a comment: `28 x 28 x 24`."""
    return " x ".join(map(str, shape_))
