"""Blocks shared by the networks of several papers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers

from bnnzoo import nn
from bnnzoo.architectures.channels_last import Conv2D, GlobalAveragePooling2D, QuantConv2D

__all__ = ["binary_conv", "classifier", "norm", "real_conv", "softmax", "stack"]


def norm(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Batch norm with the momentum and epsilon of larq-zoo's networks."""
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def real_conv(
    x: keras.KerasTensor,
    filters: int,
    kernel_size: int,
    strides: int,
    name: str,
    initializer: str = "glorot_normal",
) -> keras.KerasTensor:
    """A real-valued convolution without bias, whose output size is the input size / strides."""
    return Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="valid" if kernel_size == 1 else "same",
        use_bias=False,
        kernel_initializer=initializer,
        name=name,
    )(x)


def binary_conv(
    x: keras.KerasTensor,
    filters: int,
    name: str,
    *,
    strides: int = 1,
    dilation_rate: int = 1,
    padding: str | int = "same",
    pad_values: float = 0.0,
    activation: str | None = None,
    clip: float = 1.0,
    input_quantizer: Callable[[Any], Any] | None = None,
    kernel_quantizer: Callable[[Any], Any] | None = None,
) -> keras.KerasTensor:
    """A binary 3 x 3 convolution without bias.

    The default quantizers are signs with the gradient 1 where |x| <= `clip`. Latent weights are
    clipped to [-clip, clip].
    """
    return QuantConv2D(
        filters,
        3,
        strides=strides,
        dilation_rate=dilation_rate,
        padding=padding,
        pad_values=pad_values,
        activation=activation,
        use_bias=False,
        input_quantizer=input_quantizer or nn.SteSign(clip),
        kernel_quantizer=kernel_quantizer or nn.SteSign(clip),
        kernel_constraint=nn.WeightClip(clip),
        kernel_initializer="glorot_normal",
        name=name,
    )(x)


def stack(
    x: keras.KerasTensor,
    block: Callable[[keras.KerasTensor, int, str], keras.KerasTensor],
    blocks: Sequence[int],
    filters: Sequence[int],
) -> list[keras.KerasTensor]:
    """Returns the output of each stage, given its number of blocks and filters, in order."""
    stages = []
    for stage, (count, channels) in enumerate(zip(blocks, filters, strict=True), start=1):
        for place in range(1, count + 1):
            x = block(x, channels, f"stage{stage}_block{place}")
        stages.append(x)
    return stages


def classifier(
    x: keras.KerasTensor, num_classes: int, initializer: str = "glorot_uniform"
) -> keras.KerasTensor:
    """Global average pooling, a real-valued dense layer, and softmax."""
    x = GlobalAveragePooling2D(name="pool")(x)
    return softmax(layers.Dense(num_classes, kernel_initializer=initializer, name="logits")(x))


def softmax(logits: keras.KerasTensor) -> keras.KerasTensor:
    """Probabilities, always computed in float32."""
    return layers.Activation("softmax", dtype="float32", name="probabilities")(logits)
