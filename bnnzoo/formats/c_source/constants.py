"""The arrays of the source: weights, thresholds and parameters per channel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.formats.c_source.text import array, comment

__all__ = ["Constants"]

_TYPES = {
    np.dtype(np.uint32): "uint32_t",
    np.dtype(np.int32): "int32_t",
    np.dtype(np.int8): "int8_t",
    np.dtype(np.float32): "float",
}


@dataclass(frozen=True)
class _Constant:
    name: str
    values: NDArray[Any]
    about: str

    @property
    def text(self) -> str:
        """The definition in C."""
        kind = _TYPES[self.values.dtype]
        head = f"static const {kind} {self.name}[{self.values.size}]"
        return f"/* {comment(self.about)} */\n{head} = {{\n{array(self.values)}\n}};"


class Constants:
    """Arrays by content: equal arrays are stored once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, bytes], _Constant] = {}

    def add(self, values: NDArray[Any], role: str, about: str) -> str:
        """Adds an array and returns its name in C.

        Args:
            values: uint32 for bits, int32, int8, or any other type for float32.
            role: Prefix of the name.
            about: Node that uses it, for the comment.
        """
        if values.dtype not in _TYPES:
            with np.errstate(over="ignore"):  # values beyond float32 become infinite
                values = values.astype(np.float32)
        key = (values.dtype.str, values.tobytes())
        if key not in self._known:
            name = f"{role}_{len(self._known)}"
            self._known[key] = _Constant(name, values, f"{role} of {about}")
        return self._known[key].name

    def definitions(self) -> Iterator[str]:
        """Yields the definitions in C."""
        return (constant.text for constant in self._known.values())

    def bytes(self, *, bits: bool) -> int:
        """Returns the size of the arrays of bits, or of all others."""
        return sum(
            constant.values.nbytes
            for constant in self._known.values()
            if (constant.values.dtype == np.uint32) == bits
        )
