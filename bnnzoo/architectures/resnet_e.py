"""ResNetE: a ResNet with more shortcuts and less of everything else, for binary training.

Paper:
    Bethge, Yang, Bornstein, Meinel: Back to Simplicity: How to Train Accurate BNNs from
    Scratch?, 2019, https://arxiv.org/abs/1906.08637
"""

from __future__ import annotations

import keras
from keras import layers

from bnnzoo import nn
from bnnzoo.architectures.arguments import takes_small_stem
from bnnzoo.architectures.assembly import ZooModel, assemble, image_input
from bnnzoo.architectures.channels_last import (
    AveragePooling2D,
    Conv2D,
    GlobalAveragePooling2D,
    MaxPooling2D,
    QuantConv2D,
)
from bnnzoo.registry import register_model

__all__ = ["resnet_e18"]

CLIP_VALUE = 1.25


@register_model
def resnet_e18(
    input_shape: tuple[int, int, int] = (224, 224, 3),
    num_classes: int = 1000,
    include_top: bool = True,
) -> ZooModel:
    """Builds ResNetE-18: four stages of four binary convolutions, each with its own shortcut.

    The paper's rules for a binary ResNet: no bottlenecks, full-precision downsampling shortcuts,
    one shortcut per convolution. Structure and order of weights are those of larq-zoo's
    BinaryResNetE18.

    **Deviations**

    - Inputs below 64 pixels take a bare 3 x 3 stem convolution of stride 1 (larq-zoo: below 50
      pixels of height).
    - The pooling of a shortcut pads odd sizes, where larq-zoo's cannot be built.

    Images are at least 8 x 8.
    """
    inputs = image_input(input_shape, minimum=8, name="resnet_e18")
    x = _stem(inputs, 64, small=takes_small_stem(input_shape))
    stages = []
    for stage, filters in enumerate((64, 128, 256, 512), start=1):
        for block in range(1, 5):
            x = _residual_block(x, filters, f"stage{stage}_block{block}")
        stages.append(x)
    x = stages[-1] = layers.Activation("relu", name="head_relu")(x)
    if include_top:
        x = GlobalAveragePooling2D(name="pool")(x)
        x = layers.Dense(num_classes, kernel_initializer="glorot_normal", name="logits")(x)
        x = layers.Activation("softmax", dtype="float32", name="probabilities")(x)
    return assemble(inputs, x, stages=stages, name="resnet_e18")


def _norm(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def _stem(inputs: keras.KerasTensor, filters: int, *, small: bool) -> keras.KerasTensor:
    x = Conv2D(
        filters,
        3 if small else 7,
        strides=1 if small else 2,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name="stem_conv",
    )(inputs)
    if small:
        return x
    x = _norm(x, "stem_bn1")
    x = layers.Activation("relu", name="stem_relu")(x)
    x = MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)
    return _norm(x, "stem_bn2")


def _residual_block(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    """One binary convolution with its own shortcut, which halves the map where channels grow."""
    downsample = x.shape[-1] != filters
    shortcut = x
    if downsample:
        shortcut = AveragePooling2D(2, padding="same", name=f"{name}_shortcut_pool")(x)
        shortcut = Conv2D(
            filters,
            1,
            use_bias=False,
            kernel_initializer="glorot_normal",
            name=f"{name}_shortcut_conv",
        )(shortcut)
        shortcut = _norm(shortcut, f"{name}_shortcut_bn")
    x = QuantConv2D(
        filters,
        3,
        strides=2 if downsample else 1,
        padding="same",
        use_bias=False,
        input_quantizer=nn.SteSign(CLIP_VALUE),
        kernel_quantizer=nn.SteSign(CLIP_VALUE),
        kernel_constraint=nn.WeightClip(CLIP_VALUE),
        kernel_initializer="glorot_normal",
        name=f"{name}_conv",
    )(x)
    x = _norm(x, f"{name}_bn")
    return layers.Add(name=f"{name}_add")([x, shortcut])
