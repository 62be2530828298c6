"""Blocks shared by the networks of several papers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers

from bnnzoo import nn
from bnnzoo.architectures.channels_last import (
    AveragePooling2D,
    Conv2D,
    GlobalAveragePooling2D,
    MaxPooling2D,
    QuantConv2D,
    ZeroPadding2D,
)

__all__ = [
    "binary_conv",
    "classifier",
    "norm",
    "pooled_conv",
    "real_conv",
    "resnet_stem",
    "softmax",
    "stack",
]


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
    *,
    symmetric: bool = False,
    dilation_rate: int = 1,
    groups: int = 1,
    use_bias: bool = False,
) -> keras.KerasTensor:
    """A real-valued convolution whose output size is the input size / strides.

    With `symmetric`, the border has the same width on all sides, as PyTorch's networks have it.
    Keras's "same" has no border at the top and on the left if the strides are 2.
    """
    symmetric = symmetric and kernel_size > 1 and strides > 1
    if symmetric:
        x = ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
    return Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="valid" if kernel_size == 1 or symmetric else "same",
        dilation_rate=dilation_rate,
        groups=groups,
        use_bias=use_bias,
        kernel_initializer=initializer,
        name=name,
    )(x)


def resnet_stem(
    x: keras.KerasTensor,
    filters: int,
    *,
    small: bool,
    activation: Callable[[keras.KerasTensor], keras.KerasTensor] | None = None,
) -> keras.KerasTensor:
    """The stem of PyTorch's ResNets: a quarter of the image size, for small images all of it.

    A 7 x 7 convolution of stride 2, batch norm, the activation, 3 x 3 max pooling of stride 2; for
    small images a 3 x 3 convolution of stride 1, batch norm, the activation.
    """
    kernel_size, strides = (3, 1) if small else (7, 2)
    x = norm(real_conv(x, filters, kernel_size, strides, "stem_conv", symmetric=True), "stem_bn")
    if activation is not None:
        x = activation(x)
    return x if small else MaxPooling2D(3, strides=2, padding=1, name="stem_pool")(x)


def pooled_conv(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    """A shortcut of half the size: 2 x 2 average, real-valued 1 x 1 convolution, batch norm."""
    x = AveragePooling2D(2, padding="same", name=f"{name}_pool")(x)
    return norm(real_conv(x, filters, 1, 1, f"{name}_conv"), f"{name}_bn")


def binary_conv(
    x: keras.KerasTensor,
    filters: int,
    name: str,
    *,
    kernel_size: int = 3,
    strides: int = 1,
    dilation_rate: int = 1,
    padding: str | int = "same",
    pad_values: float = 0.0,
    activation: str | None = None,
    clip: float | None = 1.0,
    input_quantizer: Callable[[Any], Any] | None = None,
    kernel_quantizer: Callable[[Any], Any] | None = None,
) -> keras.KerasTensor:
    """A binary convolution without bias.

    The default quantizers are signs with the gradient 1 where |x| <= `clip`. Latent weights are
    clipped to [-clip, clip], unless `clip` is None.
    """
    return QuantConv2D(
        filters,
        kernel_size,
        strides=strides,
        dilation_rate=dilation_rate,
        padding=padding,
        pad_values=pad_values,
        activation=activation,
        use_bias=False,
        input_quantizer=input_quantizer or nn.SteSign(clip),
        kernel_quantizer=kernel_quantizer or nn.SteSign(clip),
        kernel_constraint=None if clip is None else nn.WeightClip(clip),
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
    x: keras.KerasTensor,
    num_classes: int,
    initializer: str = "glorot_uniform",
    *,
    normalized: bool = False,
) -> keras.KerasTensor:
    """Global average pooling, batch norm if `normalized`, a real dense layer, and softmax."""
    x = GlobalAveragePooling2D(name="pool")(x)
    if normalized:
        x = norm(x, "pool_bn")
    return softmax(layers.Dense(num_classes, kernel_initializer=initializer, name="logits")(x))


def softmax(logits: keras.KerasTensor) -> keras.KerasTensor:
    """Probabilities, always computed in float32."""
    return layers.Activation("softmax", dtype="float32", name="probabilities")(logits)
