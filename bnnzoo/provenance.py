"""Tells whether a model in memory still has the weights that were loaded into it."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

__all__ = ["has_loaded_weights", "mark_loaded"]

_ATTRIBUTE = "loaded_checksum"


def mark_loaded(model: Any) -> None:
    """Records a checksum of the weights, all of which come from one file."""
    setattr(model, _ATTRIBUTE, _checksum(model))


def has_loaded_weights(model: Any) -> bool:
    """Returns whether the weights are those at `mark_loaded`. Training changes them."""
    recorded = getattr(model, _ATTRIBUTE, None)
    return recorded is not None and recorded == _checksum(model)


def _checksum(model: Any) -> int:
    """Returns a CRC-32 of all weights. It detects changes, and not attacks."""
    state = 0
    for weight in model.get_weights():
        state = zlib.crc32(np.ascontiguousarray(weight).tobytes(), state)
    return state
