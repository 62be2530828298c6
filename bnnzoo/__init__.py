"""bnnzoo: a model zoo for binarized neural networks on Keras 3.

The public names are resolved on first use, so that importing the package is quick and needs no
Keras: `load`, `open_model`, `list_models`, `info`, `results`, `register_model`, `builder`,
`evaluate`, `summary`, `convert`, `compare`, `import_weights`, `push`, and the subpackages `nn`,
`runtime`, `data`, `architectures`, `training` and `errors`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from bnnzoo.errors import naming_keras_extras
from bnnzoo.version import __version__

if TYPE_CHECKING:
    from bnnzoo import architectures as architectures
    from bnnzoo import data as data
    from bnnzoo import errors as errors
    from bnnzoo import nn as nn
    from bnnzoo import runtime as runtime
    from bnnzoo import training as training
    from bnnzoo.comparing import compare as compare
    from bnnzoo.conversion import convert as convert
    from bnnzoo.evaluation import evaluate as evaluate
    from bnnzoo.hub import push as push
    from bnnzoo.importing import import_weights as import_weights
    from bnnzoo.loading import load as load
    from bnnzoo.model_summary import summary as summary
    from bnnzoo.opening import open_model as open_model
    from bnnzoo.registry import builder as builder
    from bnnzoo.registry import info as info
    from bnnzoo.registry import list_models as list_models
    from bnnzoo.registry import register_model as register_model
    from bnnzoo.result_table import results as results

# Public name -> the module that has it; a name that is its module's is the module itself.
_PUBLIC = {
    "builder": "bnnzoo.registry",
    "compare": "bnnzoo.comparing",
    "convert": "bnnzoo.conversion",
    "evaluate": "bnnzoo.evaluation",
    "import_weights": "bnnzoo.importing",
    "info": "bnnzoo.registry",
    "list_models": "bnnzoo.registry",
    "load": "bnnzoo.loading",
    "open_model": "bnnzoo.opening",
    "push": "bnnzoo.hub",
    "register_model": "bnnzoo.registry",
    "results": "bnnzoo.result_table",
    "summary": "bnnzoo.model_summary",
}
_SUBPACKAGES = ("architectures", "data", "errors", "nn", "runtime", "training")

__all__ = [
    "__version__",
    "architectures",
    "builder",
    "compare",
    "convert",
    "data",
    "errors",
    "evaluate",
    "import_weights",
    "info",
    "list_models",
    "load",
    "nn",
    "open_model",
    "push",
    "register_model",
    "results",
    "runtime",
    "summary",
    "training",
]


if not TYPE_CHECKING:  # a type checker would accept any name

    def __getattr__(name):
        if name in _PUBLIC:
            with naming_keras_extras():
                value = getattr(importlib.import_module(_PUBLIC[name]), name)
            globals()[name] = value
            return value
        if name in _SUBPACKAGES:
            return importlib.import_module(f"bnnzoo.{name}")
        raise AttributeError(f"module 'bnnzoo' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
