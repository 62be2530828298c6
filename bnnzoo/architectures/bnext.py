"""BNext: binary networks with attention that reach the accuracy of real-valued networks.

Paper:
    Guo, Bethge, Meinel, Yang: Join the High Accuracy Club on ImageNet with A Binary Neural Network
    Ticket, 2022, https://arxiv.org/abs/2211.12933
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import initializers, layers

from bnnzoo import nn
from bnnzoo.architectures.arguments import takes_small_stem
from bnnzoo.architectures.assembly import Shape, ZooModel, assemble, image_input
from bnnzoo.architectures.blocks import binary_conv, classifier, norm, real_conv
from bnnzoo.architectures.channels_last import AveragePooling2D, GlobalAveragePooling2D
from bnnzoo.registry import register_model

__all__ = ["bnext_large", "bnext_middle", "bnext_small", "bnext_tiny"]

CLIP_VALUE = 1.5
# Hidden channels of the attention: an eighth of the channels.
SQUEEZE = 8


def _prelu(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    start = initializers.Constant(0.25)
    return layers.PReLU(shared_axes=[1, 2], alpha_initializer=start, name=name)(x)


def _pooled(x: keras.KerasTensor, strides: int, name: str) -> keras.KerasTensor:
    return x if strides == 1 else AveragePooling2D(2, padding="same", name=name)(x)


def _recoupled(
    y: keras.KerasTensor, shortcut: keras.KerasTensor, clip: str, name: str
) -> keras.KerasTensor:
    """Returns y times the squeeze-and-excite attention of a mixture of the shortcut and y.

    The mixture has one weight per channel, so mixing the means gives the mean of the mixture.
    """
    means = [
        GlobalAveragePooling2D(keepdims=True, name=f"{name}_{part}_mean")(value)
        for part, value in (("shortcut", shortcut), ("conv", y))
    ]
    z = nn.ChannelMix(clip, name=f"{name}_mix")(means)
    channels = y.shape[-1]
    z = layers.Dense(channels // SQUEEZE, activation="relu", name=f"{name}_squeeze")(z)
    z = layers.Dense(channels, activation="sigmoid", name=f"{name}_excite")(z)
    return layers.Multiply(name=f"{name}_attention")([y, z])


def _unit(
    x: keras.KerasTensor,
    name: str,
    kernel_size: int,
    strides: int = 1,
    *,
    elementwise_attention: bool = False,
) -> keras.KerasTensor:
    """A binary convolution with info-recoupling and a shortcut.

    With element-wise attention, PReLU(x) is the shortcut and a factor of the output.
    """
    y = nn.LearnableShift(name=f"{name}_shift")(x)
    y = binary_conv(
        y,
        x.shape[-1],
        f"{name}_conv",
        kernel_size=kernel_size,
        strides=strides,
        padding=kernel_size // 2,
        clip=CLIP_VALUE,
        kernel_quantizer=nn.SteSign(None),
    )
    y = _prelu(norm(y, f"{name}_bn1"), f"{name}_prelu")
    pooled = _pooled(x, strides, f"{name}_pool")
    y = _recoupled(y, pooled, "training" if kernel_size == 3 else "always", name)
    if elementwise_attention:
        pooled = _prelu(x, f"{name}_gate_prelu")
        pooled = _pooled(pooled, strides, f"{name}_gate_pool")
        y = layers.Multiply(name=f"{name}_gated")([y, pooled])
    return layers.Add(name=f"{name}_add")([norm(y, f"{name}_bn2"), pooled])


def _block(x: keras.KerasTensor, filters: int, number: int) -> keras.KerasTensor:
    """A 3 x 3 unit, then one 1 x 1 unit, or two that are concatenated if the channels double."""
    name, channels = f"block{number}", x.shape[-1]
    strides = 2 if number > 1 and filters != channels else 1
    x = _unit(x, f"{name}_unit1", 3, strides, elementwise_attention=number % 2 == 0)
    if filters == channels:
        return _unit(x, f"{name}_unit2", 1)
    parts = [_unit(x, f"{name}_unit2_{part}", 1) for part in (1, 2)]
    return layers.Concatenate(name=f"{name}_concat")(parts)


def _bnext(
    name: str,
    input_shape: Shape,
    num_classes: int,
    include_top: bool,
    filters: int,
    blocks: Sequence[int],
) -> ZooModel:
    """Builds a network whose stages have 2, 4, ... times `filters` channels."""
    inputs = image_input(input_shape, minimum=8, name=name)
    strides = 1 if takes_small_stem(input_shape) else 2
    x = norm(real_conv(inputs, filters, 3, strides, "stem_conv", symmetric=True), "stem_bn")
    stages, number = [], 0
    for stage, count in enumerate(blocks, start=1):
        for _ in range(count):
            number += 1
            x = _block(x, filters * 2**stage, number)
        stages.append(x)
    x = stages[-1] = _prelu(x, "head_prelu")
    if include_top:
        x = classifier(x, num_classes)
    return assemble(inputs, x, stages=stages, name=name)


@register_model
def bnext_tiny(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds BNext-Tiny: 32 channels in the stem, 13 blocks.

    The structure is that of the authors' code, where only every second block has element-wise
    attention.

    **Deviations**

    - For inputs below 64 pixels, the stem has stride 1. The authors use it for all data sets but
      ImageNet.
    - Parameters that the authors' code never uses are omitted.

    The minimum image size is 8 x 8.
    """
    return _bnext("bnext_tiny", input_shape, num_classes, include_top, 32, (1, 2, 2, 6, 2))


@register_model
def bnext_small(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds BNext-Small: 48 channels in the stem, 13 blocks.

    **Deviations**

    - The same as for `bnext_tiny`.

    The minimum image size is 8 x 8.
    """
    return _bnext("bnext_small", input_shape, num_classes, include_top, 48, (1, 2, 2, 6, 2))


@register_model
def bnext_middle(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds BNext-Middle: 48 channels in the stem, 21 blocks.

    **Deviations**

    - The same as for `bnext_tiny`.

    The minimum image size is 8 x 8.
    """
    return _bnext("bnext_middle", input_shape, num_classes, include_top, 48, (1, 4, 4, 8, 4))


@register_model
def bnext_large(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds BNext-Large: 64 channels in the stem, 29 blocks.

    **Deviations**

    - The same as for `bnext_tiny`.

    The minimum image size is 8 x 8.
    """
    return _bnext("bnext_large", input_shape, num_classes, include_top, 64, (1, 4, 4, 16, 4))
