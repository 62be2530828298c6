"""Converts layers with per-channel parameters: batch norm, activations, rescaling."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from bnnzoo import nn
from bnnzoo.keras_bridge.from_keras.activating import activate, affine, leaky, relu
from bnnzoo.keras_bridge.from_keras.emitter import Emitter, numbers

__all__ = ["AUGMENTING", "NORMALIZING"]


def batch_normalization(emit: Emitter) -> str:
    """Writes a batch norm for inference, unfolded."""
    layer, rank = emit.layer, len(emit.shape(emit.x)) + 1
    if layer.axis not in (-1, rank - 1):
        emit.refuse(f"axis must be the last one, got {layer.axis}", "Build it with axis=-1.")
    variables = {
        "gamma": layer.gamma if layer.scale else None,
        "beta": layer.beta if layer.center else None,
        "mean": layer.moving_mean,
        "variance": layer.moving_variance,
    }
    tensors = {role: (role, numbers(v)) for role, v in variables.items() if v is not None}
    return emit.add("norm", "batch_norm", emit.x, tensors, epsilon=float(layer.epsilon))


def activation(emit: Emitter) -> str:
    """Writes an activation or a quantizer."""
    return activate(emit, emit.x, emit.layer.activation)


def softmax(emit: Emitter) -> str:
    """Writes a softmax over the channels."""
    axis, rank = emit.layer.axis, len(emit.shape(emit.x)) + 1
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    if tuple(axes) not in ((-1,), (rank - 1,)):
        emit.refuse(f"axis must be the last one, got {axis}", "Build it with axis=-1.")
    return emit.add("softmax", "softmax", emit.x)


def relu_layer(emit: Emitter) -> str:
    """Writes a ReLU with its limit, slope and threshold."""
    layer = emit.layer
    return relu(emit, emit.x, layer.negative_slope, layer.max_value, layer.threshold)


def leaky_relu(emit: Emitter) -> str:
    """Writes a leaky ReLU."""
    return leaky(emit, emit.x, emit.layer.negative_slope)


def prelu(emit: Emitter) -> str:
    """Writes a ReLU with a trained slope per channel."""
    alpha = numbers(emit.layer.alpha)
    if any(size != 1 for size in alpha.shape[:-1]):
        emit.refuse(
            f"alpha must be one number per channel, got {alpha.shape}",
            f"Build it with shared_axes={list(range(1, alpha.ndim))}.",
        )
    return leaky(emit, emit.x, alpha.reshape(-1))


def learnable_shift(emit: Emitter) -> str:
    """Writes x + shift."""
    return _shifted(emit, emit.x, "shift")


def rprelu(emit: Emitter) -> str:
    """Writes a PReLU between two shifts."""
    z = _shifted(emit, emit.x, "input_shift")
    return _shifted(emit, leaky(emit, z, numbers(emit.layer.alpha)), "output_shift")


def maxout(emit: Emitter) -> str:
    """Writes p x where x >= 0, q x elsewhere, as s prelu(r x).

    With |p| >= |q|: r = 1, slope q / p, s = p. Otherwise r = -1, slope p / q, s = -q.
    """
    p, q = (numbers(v) for v in (emit.layer.positive_scale, emit.layer.negative_scale))
    turned = np.abs(q) > np.abs(p)
    large, small = np.where(turned, q, p), np.where(turned, p, q)
    slope = np.divide(small, large, out=np.zeros_like(small), where=large != 0)
    x = affine(emit, emit.x, "turned", np.where(turned, -1, 1)) if turned.any() else emit.x
    y = leaky(emit, x, slope)
    return affine(emit, y, "slope", np.where(turned, -q, p))


def channel_mix(emit: Emitter) -> str:
    """Writes mix a + (1 - mix) b."""
    mix = numbers(emit.layer.mix)
    return _mixed(emit, np.clip(mix, 0, 1) if emit.layer.clip == "always" else mix)


def soft_gate(emit: Emitter) -> str:
    """Writes sigmoid(gate) a + (1 - sigmoid(gate)) b."""
    return _mixed(emit, 1 / (1 + np.exp(-numbers(emit.layer.gate))))


def _mixed(emit: Emitter, weight: Any) -> str:
    first, second = emit.inputs
    terms = [affine(emit, first, "first", weight), affine(emit, second, "second", 1 - weight)]
    return emit.add("mixture", "add", terms)


def _shifted(emit: Emitter, x: str, name: str) -> str:
    return emit.add(name, "affine", x, {"bias": (name, numbers(getattr(emit.layer, name)))})


def rescaling(emit: Emitter) -> str:
    """Writes x * scale + offset."""
    vectors = [np.asarray(v, np.float32) for v in (emit.layer.scale, emit.layer.offset)]
    if any(v.size not in (1, v.shape[-1] if v.ndim else 1) for v in vectors):
        emit.refuse("scale and offset must be numbers per channel", "Rescale per channel.")
    scale, offset = (v.reshape(-1) for v in vectors)
    return affine(emit, emit.x, "rescaled", scale, offset)


def normalization(emit: Emitter) -> str:
    """Writes (x - mean) / max(sqrt(variance), epsilon), or its inverse, as scale and bias."""
    mean, variance = (numbers(v).astype(np.float64) for v in (emit.layer.mean, emit.layer.variance))
    if any(size != 1 for size in mean.shape[:-1]):
        emit.refuse(
            f"mean and variance must be one number per channel, got {mean.shape[1:]}",
            "Build it with axis=-1 or None.",
        )
    deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
    scale, bias = (deviation, mean) if emit.layer.invert else (1 / deviation, -mean / deviation)
    vectors = {"scale": scale, "bias": bias}
    channels = emit.shape(emit.x)[-1]
    return emit.add("normalized", "affine", emit.x, {
        role: (role, np.resize(v, channels).astype(np.float32)) for role, v in vectors.items()
    })  # fmt: skip


def nothing(emit: Emitter) -> str:
    """Writes nothing, since the layer does nothing at inference."""
    return emit.x


# Layers that change images only in training; not every version of Keras has all of them.
AUGMENTING = tuple(
    getattr(layers, name)
    for name in (
        "AugMix",
        "CutMix",
        "MixUp",
        "RandAugment",
        "RandomBrightness",
        "RandomColorDegeneration",
        "RandomColorJitter",
        "RandomContrast",
        "RandomElasticTransform",
        "RandomErasing",
        "RandomFlip",
        "RandomGaussianBlur",
        "RandomGrayscale",
        "RandomHue",
        "RandomInvert",
        "RandomPerspective",
        "RandomPosterization",
        "RandomRotation",
        "RandomSaturation",
        "RandomSharpness",
        "RandomShear",
        "RandomTranslation",
        "RandomZoom",
    )
    if hasattr(layers, name)
)

NORMALIZING = {
    **dict.fromkeys(AUGMENTING, nothing),
    layers.BatchNormalization: batch_normalization,
    layers.Activation: activation,
    layers.Softmax: softmax,
    layers.ReLU: relu_layer,
    layers.LeakyReLU: leaky_relu,
    layers.PReLU: prelu,
    layers.Rescaling: rescaling,
    layers.Normalization: normalization,
    nn.ChannelMix: channel_mix,
    nn.LearnableShift: learnable_shift,
    nn.Maxout: maxout,
    nn.SoftGate: soft_gate,
    nn.RPReLU: rprelu,
    layers.Identity: nothing,
    layers.ActivityRegularization: nothing,
    layers.Dropout: nothing,
    layers.SpatialDropout1D: nothing,
    layers.SpatialDropout2D: nothing,
    layers.AlphaDropout: nothing,
    layers.GaussianDropout: nothing,
    layers.GaussianNoise: nothing,
    keras.layers.InputLayer: nothing,
}
