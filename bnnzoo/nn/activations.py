"""Activations for binarized networks."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from bnnzoo.nn import quantizers
from bnnzoo.nn.quantizers.straight_through import clip

__all__ = ["get", "hard_tanh", "leaky_tanh"]

register = keras.saving.register_keras_serializable(package="bnnzoo")


@register
def hard_tanh(x: Any) -> Any:
    """Returns x clipped to [-1, 1], with gradient 1 on the closed interval, else 0.

    Reference:
        Courbariaux et al. 2016, https://arxiv.org/abs/1602.02830
    """
    return clip(x, -1.0, 1.0)


@register
def leaky_tanh(x: Any, alpha: float = 0.2) -> Any:
    """Returns x in [-1, 1], extended with slope `alpha` outside.

    y = x if |x| <= 1, else sign(x) (1 + alpha (|x| - 1)).
    """
    outside = ops.add(ops.multiply(alpha, x), ops.multiply(1 - alpha, ops.sign(x)))
    return ops.where(ops.greater(ops.absolute(x), 1), outside, x)


def get(identifier: Any) -> Any:
    """Returns the activation for an alias of this package; anything else is returned unchanged.

    Keras looks up strings such as "relu" in a fixed table.
    """
    if not isinstance(identifier, str):
        return identifier
    if identifier in quantizers.ALIASES:
        return quantizers.get(identifier)
    return {"hard_tanh": hard_tanh, "leaky_tanh": leaky_tanh}.get(identifier, identifier)
