"""Checks of arguments that many functions share."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from bnnzoo.errors import ArgumentError

__all__ = ["as_integer", "as_integers", "check_integer"]


def as_integer(value: Any) -> int | None:
    """Returns a Python or NumPy integer as an int; None for anything else, including bools."""
    if isinstance(value, (bool, np.bool_)):  # NumPy 1 accepts them as an index
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def as_integers(values: Any) -> tuple[int, ...] | None:
    """Returns a sequence of integers as a tuple of ints; None for anything else."""
    try:
        numbers = [as_integer(value) for value in values]
    except TypeError:
        return None
    return None if None in numbers else tuple(n for n in numbers if n is not None)


def check_integer(value: Any, name: str, least: int = 1, advice: str = "") -> int:
    """Returns the argument `name`, a Python or NumPy integer, as an int.

    Args:
        value: Value of the argument.
        name: Name of the argument, for the message.
        least: Smallest valid value.
        advice: What to do, for the message.

    Raises:
        ArgumentError: The value is not an integer, or is below `least`.
    """
    number = as_integer(value)
    if number is None or number < least:
        kind = "a positive integer" if least == 1 else f"an integer of at least {least}"
        advice = advice or f"Use {least} or more."
        raise ArgumentError(f"{name} must be {kind}, got {value!r}. {advice}")
    return number
