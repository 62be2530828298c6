"""Pickles of Keras models with layers of bnnzoo, which import the modules of these layers.

Keras pickles a model as its `.keras` file. A process that opens it, such as a worker of
`ProcessPoolExecutor` or Dask, may not have imported the modules in which layers and initializers
register themselves. The pickle therefore calls a function of this module, which imports them first.
"""

from __future__ import annotations

import copyreg
import importlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras.src.models import Functional  # not part of Keras's public API

__all__ = ["pickle_with_modules"]

# The module of an object in a config, except those of Keras.
_MODULE = re.compile(r'"module": "(?!(?:keras|builtins)[."])([^"]+)"')


def pickle_with_modules(kind: type[keras.Model]) -> None:
    """Makes pickles of a class of models import the modules in their configs."""
    copyreg.pickle(kind, _reduce)


def _reduce(model: keras.Model) -> tuple[Callable[..., keras.Model], tuple[Any, ...]]:
    reduced, config = model.__reduce__(), model.to_json()
    modules = sorted(set(_MODULE.findall(config)))
    return (_open, (modules, *reduced)) if '"bnnzoo>' in config else reduced


def _open(
    modules: Sequence[str], function: Callable[..., keras.Model], arguments: tuple[Any, ...]
) -> keras.Model:
    for module in modules:
        importlib.import_module(module)
    return function(*arguments)


for kind in (Functional, keras.Sequential):
    pickle_with_modules(kind)
