"""Pickles of Keras models with layers of bnnzoo: whoever opens one knows the layers.

Keras pickles a model as its `.keras` file. A process that opens it, such as a worker of
`ProcessPoolExecutor` or Dask, has not imported the layers that the file names. A pickle that calls
a function of this module does that for it.
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from typing import Any

import keras
from keras.src.models import Functional  # Keras exports it under no public name

__all__: list[str] = []


def _reduce(model: keras.Model) -> tuple[Callable[..., keras.Model], tuple[Any, ...]]:
    reduced = model.__reduce__()
    return (_open, reduced) if '"bnnzoo>' in model.to_json() else reduced


def _open(function: Callable[..., keras.Model], arguments: tuple[Any, ...]) -> keras.Model:
    return function(*arguments)


for kind in (Functional, keras.Sequential):
    copyreg.pickle(kind, _reduce)
