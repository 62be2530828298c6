"""How large a model will be, found without making its weights.

In a stateless scope, Keras notes the shape of a variable and leaves the rest for later. So a model
that a file describes is measured before any memory is taken for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["count_numbers"]


def count_numbers(build: Callable[[], Any]) -> int:
    """Returns how many numbers the variables of a model hold, its optimizer's included.

    Args:
        build: Returns the model; called once. What it raises passes through.
    """
    # What Keras remembers of unfinished variables belongs to a thread and ends with it.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_count, build).result()


def _count(build: Callable[[], Any]) -> int:
    import keras

    with keras.StatelessScope(initialize_variables=False):
        model = build()
        variables = list(getattr(model, "variables", ()))
        variables += getattr(getattr(model, "optimizer", None), "variables", ())
        return sum(math.prod(variable.shape) for variable in variables)
