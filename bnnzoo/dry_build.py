"""Computes the size of a model without allocating its weights.

In a stateless scope, Keras records the shape of a variable and defers its initialization. The model
that a file describes is thus measured before any memory is allocated for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["count_numbers"]


def count_numbers(build: Callable[[], Any]) -> int:
    """Returns how many numbers the variables of a model have, including those of its optimizer.

    Args:
        build: Returns the model; called once. Its exceptions are not caught.
    """
    # Keras's list of deferred variables belongs to a thread and ends with it.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_count, build).result()


def _count(build: Callable[[], Any]) -> int:
    import keras

    with keras.StatelessScope(initialize_variables=False):
        model = build()
        variables = list(getattr(model, "variables", ()))
        variables += getattr(getattr(model, "optimizer", None), "variables", ())
        return sum(math.prod(variable.shape) for variable in variables)
