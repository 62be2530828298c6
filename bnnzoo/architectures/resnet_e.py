"""ResNetE: a ResNet for binary training, with more shortcuts and without bottlenecks.

Paper:
    Bethge, Yang, Bornstein, Meinel: Back to Simplicity: How to Train Accurate BNNs from
    Scratch?, 2019, https://arxiv.org/abs/1906.08637
"""

from __future__ import annotations

import keras
from keras import layers

from bnnzoo.architectures.arguments import takes_small_stem
from bnnzoo.architectures.assembly import Shape, ZooModel, assemble, image_input
from bnnzoo.architectures.blocks import binary_conv, classifier, norm, real_conv, stack
from bnnzoo.architectures.channels_last import (
    AveragePooling2D,
    MaxPooling2D,
)
from bnnzoo.registry import register_model

__all__ = ["resnet_e18"]

CLIP_VALUE = 1.25


@register_model
def resnet_e18(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds ResNetE-18: four stages of four binary convolutions, each with its own shortcut.

    The paper's rules for a binary ResNet: no bottlenecks, full-precision downsampling shortcuts,
    one shortcut per convolution. The structure and the order of the weights are the same as in
    larq-zoo's BinaryResNetE18.

    **Deviations**

    - For inputs below 64 pixels, the stem is a single 3 x 3 convolution of stride 1 (in larq-zoo:
      below 50 pixels of height).
    - The pooling of a shortcut pads odd sizes. In larq-zoo such networks cannot be built.

    The minimum image size is 8 x 8.
    """
    inputs = image_input(input_shape, minimum=8, name="resnet_e18")
    x = _stem(inputs, 64, small=takes_small_stem(input_shape))
    stages = stack(x, _residual_block, (4, 4, 4, 4), (64, 128, 256, 512))
    x = stages[-1] = layers.Activation("relu", name="head_relu")(stages[-1])
    if include_top:
        x = classifier(x, num_classes, "glorot_normal")
    return assemble(inputs, x, stages=stages, name="resnet_e18")


def _stem(inputs: keras.KerasTensor, filters: int, *, small: bool) -> keras.KerasTensor:
    size, strides = (3, 1) if small else (7, 2)
    x = real_conv(inputs, filters, size, strides, "stem_conv", "he_normal")
    if small:
        return x
    x = norm(x, "stem_bn1")
    x = layers.Activation("relu", name="stem_relu")(x)
    x = MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)
    return norm(x, "stem_bn2")


def _residual_block(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    """A binary convolution with its own shortcut; halves the map if the channels increase."""
    downsample = x.shape[-1] != filters
    shortcut = x
    if downsample:
        shortcut = AveragePooling2D(2, padding="same", name=f"{name}_shortcut_pool")(x)
        shortcut = real_conv(shortcut, filters, 1, 1, f"{name}_shortcut_conv")
        shortcut = norm(shortcut, f"{name}_shortcut_bn")
    x = binary_conv(x, filters, f"{name}_conv", strides=2 if downsample else 1, clip=CLIP_VALUE)
    x = norm(x, f"{name}_bn")
    return layers.Add(name=f"{name}_add")([x, shortcut])
