"""Rules for attributes of operations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

__all__ = ["Check", "ints", "is_int", "is_number", "is_shape"]

Check = Callable[[Any], bool]


def is_int(value: Any, least: int, greatest: int = 2**20) -> bool:
    """Returns whether a value is an integer in a range."""
    return type(value) is int and least <= value <= greatest


def ints(count: int, least: int) -> Check:
    """Returns the check for a tuple of `count` integers of at least `least`."""

    def check(value: Any) -> bool:
        return (
            isinstance(value, tuple)
            and len(value) == count
            and all(is_int(v, least) for v in value)
        )

    return check


def is_shape(value: Any) -> bool:
    """Returns whether a value is the shape of a graph's value."""
    return isinstance(value, tuple) and 0 < len(value) <= 8 and all(is_int(v, 1) for v in value)


def is_number(value: Any) -> bool:
    """Returns whether a value is a real number or an infinity."""
    return type(value) in (int, float) and not math.isnan(value)
