"""Copies a model that trains in another data type, for inference in float32."""

from __future__ import annotations

from typing import Any

import keras

from bnnzoo.keras_bridge.to_keras.config import from_config, to_config

__all__ = ["computing_in_float32"]


def computing_in_float32(model: keras.Model) -> keras.Model:
    """Returns the model, or a float32 copy if any layer computes in another data type."""
    if all(layer.compute_dtype == "float32" for layer in model._flatten_layers()):
        return model
    copy = from_config(to_config(model))
    for ours, theirs in zip(copy._flatten_layers(), model._flatten_layers(), strict=True):
        store: dict[str, Any] = {}
        theirs.save_own_variables(store)  # merges LoRA's updates into the kernels
        ours.load_own_variables(store)
    copy.model_spec = getattr(model, "model_spec", None)
    return copy
