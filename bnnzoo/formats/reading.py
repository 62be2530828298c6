"""Reads a file and adds its name to every error."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from bnnzoo.errors import ModelFormatError

__all__ = ["from_file"]

T = TypeVar("T")


def from_file(path: str | os.PathLike[str], from_bytes: Callable[[bytes], T]) -> T:
    """Parses the bytes of a file.

    Args:
        path: The file.
        from_bytes: Parses its format.

    Raises:
        ModelFormatError: The file does not exist or cannot be read, or `from_bytes` raised it.
    """
    try:
        data = (path if isinstance(path, Path) else Path(path)).read_bytes()
    except FileNotFoundError as error:
        raise ModelFormatError(
            f"There is no file {os.fspath(path)}. Check its path; `bnnzoo convert NAME FILE` "
            "writes one for a network of the zoo."
        ) from error
    except OSError as error:
        raise ModelFormatError(f"{os.fspath(path)} cannot be read: {error.strerror}.") from error
    try:
        return from_bytes(data)
    except ModelFormatError as error:
        raise ModelFormatError(f"{os.fspath(path)}: {error}") from error
