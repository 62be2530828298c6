"""Variants of a network: real-valued weights, other padding, other clipping."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import keras

from bnnzoo import nn
from bnnzoo.nn.layers.quantized_layer import QuantizedLayer
from bnnzoo.training.recipes.schema import Phase, Recipe

__all__ = ["make_variant", "transfer_weights"]

REAL_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "hard_tanh": nn.hard_tanh,
    "relu": keras.activations.relu,
}


def make_variant(network: Any, recipe: Recipe, phase: Phase) -> Any:
    """Returns the variant of a network that a phase of a recipe trains, with new weights.

    Layers keep their types, names and variables, so that weights can be copied from one variant to
    another. The model's spec is copied. A network to start from was saved with its own precision:
    it gets the current one, except its last layer, the probabilities.
    """
    config = copy.deepcopy(network.get_config())
    precision = keras.config.dtype_policy().name
    # By name: with mixed precision, Keras 3.5 lists casts that are not layers.
    settings_of = {entry["name"]: entry["config"] for entry in config["layers"]}
    for layer in network.layers:
        settings = settings_of[layer.name]
        if isinstance(layer, QuantizedLayer):
            _change_quantizers(layer, settings, recipe, phase)
        fixed = layer is network.layers[-1] or isinstance(layer, keras.layers.InputLayer)
        if recipe.start_from is not None and not fixed:
            settings["dtype"] = precision
        momentum = recipe.batch_norm_momentum
        if isinstance(layer, keras.layers.BatchNormalization) and momentum is not None:
            settings["momentum"] = momentum
    return type(network).from_config(config)


def transfer_weights(source: Any, target: Any) -> None:
    """Copies every weight of one variant into another.

    Raises:
        ValueError: The networks have different variables.
    """
    for ours, theirs in zip(target.weights, source.weights, strict=True):
        ours.assign(theirs)


def _change_quantizers(
    layer: QuantizedLayer, settings: dict[str, Any], recipe: Recipe, phase: Phase
) -> None:
    if recipe.clip_value is not None:
        _change_clipping(layer, settings, recipe.clip_value)
    if recipe.pad_values is not None and layer.input_quantizer and "pad_values" in settings:
        settings["pad_values"] = float(recipe.pad_values)
    if phase.binarize == "nothing" and layer.input_quantizer is not None:
        activation = REAL_ACTIVATIONS[recipe.real_activation]
        settings["input_quantizer"] = keras.saving.serialize_keras_object(activation)
    if phase.binary_optimizer == "bop":
        # Bop flips weights whose gradient keeps its direction: weight decay would flip all of them.
        for argument in layer.kernel_quantizers.values():
            settings[argument.replace("quantizer", "regularizer")] = None
    if phase.binarize != "everything":
        for argument in layer.kernel_quantizers.values():
            settings[argument] = None


def _change_clipping(layer: QuantizedLayer, settings: dict[str, Any], clip_value: float) -> None:
    """Changes the bound of the gradient, if it has one, and of the latent weights with it."""
    for argument in ("input_quantizer", *layer.kernel_quantizers.values()):
        if getattr(getattr(layer, argument), "clip_value", None) is None:
            continue
        settings[argument]["config"]["clip_value"] = clip_value
        constraint = settings.get(argument.replace("quantizer", "constraint"))
        if constraint is not None and "clip_value" in constraint["config"]:
            constraint["config"]["clip_value"] = clip_value
