"""Imports the native engine on demand."""

from __future__ import annotations

import importlib
from typing import Any

from bnnzoo.errors import BnnZooError

__all__ = ["MissingEngineError", "engine"]


class MissingEngineError(BnnZooError, ImportError):
    """The extension module was not built for this Python."""


_loaded: list[Any] = []


def engine() -> Any:
    """Returns the extension module.

    Raises:
        MissingEngineError: It cannot be imported.
    """
    if not _loaded:
        try:
            _loaded.append(importlib.import_module("bnnzoo.runtime._engine"))
        except ImportError as error:
            raise MissingEngineError(
                f"The runtime's engine is not built ({error}). "
                "Run: pip install . (in a clone of bnnzoo, with a C++ compiler)"
            ) from error
    return _loaded[0]
