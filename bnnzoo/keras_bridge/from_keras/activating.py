"""Converts activation functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from bnnzoo import nn
from bnnzoo.keras_bridge.from_keras.emitter import Emitter
from bnnzoo.keras_bridge.from_keras.quantizing import quantize
from bnnzoo.nn.activations import leaky_tanh
from bnnzoo.nn.quantizers import Quantizer

__all__ = ["activate", "affine", "clip", "leaky", "relu"]


def activate(emit: Emitter, x: str, activation: Any) -> str:
    """Writes the activation of a layer and returns its value."""
    if activation is None:
        return x
    if isinstance(activation, Quantizer):
        return quantize(emit, x, activation)
    for function, write in _functions().items():
        if activation is function:
            return write(emit, x)
    if isinstance(activation, keras.layers.ReLU):
        return relu(emit, x, activation.negative_slope, activation.max_value, activation.threshold)
    if isinstance(activation, keras.layers.LeakyReLU):
        return leaky(emit, x, activation.negative_slope)
    name = getattr(activation, "__name__", type(activation).__name__)
    known = ", ".join(sorted(function.__name__ for function in _functions()))
    emit.refuse(
        f"activation '{name}' is not supported",
        f"Supported: {known}, and quantizers. Replace it and train again.",
    )


def clip(emit: Emitter, x: str, low: float, high: float) -> str:
    """Writes min(max(x, low), high)."""
    return emit.add("clip", "clip", x, low=float(low), high=float(high))


def affine(emit: Emitter, x: str, part: str, scale: Any = None, bias: Any = None) -> str:
    """Writes scale * x + bias; single numbers apply to every channel."""
    channels = emit.shape(x)[-1]
    given = {"scale": scale, "bias": bias}
    tensors = {
        role: (f"{part}_{role}", np.broadcast_to(np.float32(value), (channels,)).copy())
        for role, value in given.items()
        if value is not None
    }
    return emit.add(part, "affine", x, tensors)


def leaky(emit: Emitter, x: str, slope: Any) -> str:
    """Writes x where x >= 0, slope * x elsewhere; one slope or one per channel."""
    alpha = np.broadcast_to(np.float32(slope), (emit.shape(x)[-1],)).copy()
    return emit.add("prelu", "prelu", x, {"alpha": ("alpha", alpha)})


def relu(
    emit: Emitter, x: str, slope: Any = 0.0, max_value: float | None = None, threshold: Any = 0.0
) -> str:
    """Writes Keras's ReLU.

    y = min(x, max_value) where x > threshold, slope * (x - threshold) elsewhere.
    """
    slope, threshold = float(slope), float(threshold)
    high = math.inf if max_value is None else float(max_value)
    if slope == 0 and threshold == 0:
        return clip(emit, x, 0.0, high)
    if threshold == 0:
        y = leaky(emit, x, slope)
        return y if high == math.inf else clip(emit, y, -math.inf, high)
    return _thresholded(emit, emit.real(x), slope, high, threshold)


def _thresholded(emit: Emitter, x: str, slope: float, high: float, threshold: float) -> str:
    """Writes a ReLU that jumps at its threshold.

    1. threshold - x < 0 where x > threshold, so that `above` is -1 there and +1 elsewhere.
    2. (1 - above) / 2 is 1 or 0; it is multiplied by x, and the product is clipped.
    3. slope * min(x - threshold, 0) is added for the values below.
    """
    above = emit.add("above", "sign", affine(emit, x, "below", -1.0, threshold))
    mask = affine(emit, above, "mask", -0.5, 0.5)
    y = emit.add("masked", "multiply", (x, mask))
    if high != math.inf:
        y = clip(emit, y, 0.0, high)
    if slope == 0:
        return y
    lower = affine(emit, clip(emit, x, -math.inf, threshold), "tail", slope, -slope * threshold)
    return emit.add("sum", "add", (y, lower))


def _leaky_tanh(emit: Emitter, x: str) -> str:
    """Writes alpha x + (1 - alpha) clip(x, -1, 1), with alpha = 0.2."""
    inner = affine(emit, clip(emit, x, -1.0, 1.0), "inner", 0.8)
    return emit.add("sum", "add", (inner, affine(emit, x, "outer", 0.2)))


def _gated(gate: Callable[[Emitter, str], str]) -> Callable[[Emitter, str], str]:
    return lambda emit, x: emit.add("gated", "multiply", (x, gate(emit, x)))


def _sigmoid(emit: Emitter, x: str) -> str:
    return emit.add("sigmoid", "sigmoid", x)


def _hard_sigmoid(emit: Emitter, x: str) -> str:
    """Writes clip(x / 6 + 1 / 2, 0, 1)."""
    return clip(emit, affine(emit, x, "hard_sigmoid", 1 / 6, 0.5), 0.0, 1.0)


def _functions() -> dict[Any, Callable[[Emitter, str], str]]:
    """Returns the supported functions of this version of Keras, and how they are written."""
    known = keras.activations
    hard_tanh = getattr(known, "hard_tanh", nn.hard_tanh)  # since Keras 3.6
    return {
        known.linear: lambda emit, x: x,
        known.relu: relu,
        known.relu6: lambda emit, x: clip(emit, x, 0.0, 6.0),
        known.leaky_relu: lambda emit, x: leaky(emit, x, 0.2),
        known.sigmoid: _sigmoid,
        known.hard_sigmoid: _hard_sigmoid,
        known.silu: _gated(_sigmoid),
        known.hard_silu: _gated(_hard_sigmoid),
        known.tanh: lambda emit, x: emit.add("tanh", "tanh", x),
        known.softmax: lambda emit, x: emit.add("softmax", "softmax", x),
        hard_tanh: lambda emit, x: clip(emit, x, -1.0, 1.0),
        nn.hard_tanh: lambda emit, x: clip(emit, x, -1.0, 1.0),
        leaky_tanh: _leaky_tanh,
    }
