"""Training and fine-tuning: `train(NAME, FOLDER)`.

Names are resolved on first use, so that listing recipes needs no Keras.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bnnzoo.errors import naming_keras_extras
from bnnzoo.training.recipes import RECIPES, recipe
from bnnzoo.training.recipes.schema import Augmentation, Phase, Recipe

if TYPE_CHECKING:
    from bnnzoo.training.finetuning import finetune as finetune
    from bnnzoo.training.trainer import train as train

_LAZY = {"finetune": "bnnzoo.training.finetuning", "train": "bnnzoo.training.trainer"}

__all__ = ["RECIPES", "Augmentation", "Phase", "Recipe", "finetune", "recipe", "train"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        with naming_keras_extras():
            return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'bnnzoo.training' has no attribute '{name}'")
