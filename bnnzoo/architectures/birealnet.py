"""Bi-Real Net: a real-valued shortcut around every binary convolution.

Paper:
    Liu, Wu, Luo, Yang, Liu, Cheng: Bi-Real Net: Enhancing the Performance of 1-bit CNNs With
    Improved Representational Capability and Advanced Training Algorithm, ECCV 2018,
    https://arxiv.org/abs/1808.00278
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from bnnzoo import nn
from bnnzoo.architectures.arguments import takes_small_stem
from bnnzoo.architectures.assembly import Shape, ZooModel, assemble, image_input
from bnnzoo.architectures.blocks import binary_conv, classifier, real_conv, stack
from bnnzoo.architectures.channels_last import (
    AveragePooling2D,
    MaxPooling2D,
)
from bnnzoo.registry import register_model

__all__ = ["birealnet18", "birealnet20", "birealnet34"]


def _norm(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.BatchNormalization(momentum=0.8, name=name)(x)


def _stem(inputs: keras.KerasTensor, filters: int, *, small: bool) -> keras.KerasTensor:
    if small:
        return _norm(real_conv(inputs, filters, 3, 1, "stem_conv"), "stem_bn")
    x = _norm(real_conv(inputs, filters, 7, 2, "stem_conv"), "stem_bn")
    return MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)


def _residual_block(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    """One binary convolution with its own shortcut, which halves the map where channels grow."""
    downsample = x.shape[-1] != filters
    shortcut = x
    if downsample:
        shortcut = AveragePooling2D(2, padding="same", name=f"{name}_shortcut_pool")(x)
        shortcut = real_conv(shortcut, filters, 1, 1, f"{name}_shortcut_conv")
        shortcut = _norm(shortcut, f"{name}_shortcut_bn")
    x = binary_conv(
        x,
        filters,
        f"{name}_conv",
        strides=2 if downsample else 1,
        input_quantizer=nn.ApproxSign(),
        kernel_quantizer=nn.MagnitudeAwareSign(),
    )
    x = _norm(x, f"{name}_bn")
    return layers.Add(name=f"{name}_add")([x, shortcut])


def _birealnet(
    name: str,
    inputs: keras.KerasTensor,
    num_classes: int,
    include_top: bool,
    blocks: Sequence[int],
    *,
    filters: int,
    small_stem: bool,
) -> ZooModel:
    x = _stem(inputs, filters, small=small_stem)
    widths = [filters * 2**stage for stage in range(len(blocks))]
    stages = stack(x, _residual_block, blocks, widths)
    x = stages[-1]
    if include_top:
        x = classifier(x, num_classes)
    return assemble(inputs, x, stages=stages, name=name)


@register_model(aliases=("birealnet",))
def birealnet18(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds the 18-layer Bi-Real net: four stages of four binary convolutions.

    The paper's ResNet-18 with a shortcut around each convolution. Structure and order of weights
    are those of larq-zoo's BiRealNet.

    **Deviations**

    - Inputs below 64 pixels take a 3 x 3 stem of stride 1 without pooling.
    - As in larq-zoo: batch norm of the binary convolutions keeps its scale beside that of the
      weights, with a momentum of 0.8.

    Images are at least 8 x 8.
    """
    inputs = image_input(input_shape, minimum=8, name="birealnet18")
    small = takes_small_stem(input_shape)
    return _birealnet(
        "birealnet18", inputs, num_classes, include_top, (4, 4, 4, 4), filters=64, small_stem=small
    )


@register_model
def birealnet34(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds the 34-layer Bi-Real net: stages of 6, 8, 12 and 6 binary convolutions.

    The larger network of the paper: ResNet-34's 3, 4, 6 and 3 basic blocks of two convolutions,
    with a shortcut around each convolution.

    **Deviations**

    - Those of `birealnet18`; larq-zoo has no such network.

    Images are at least 8 x 8.
    """
    inputs = image_input(input_shape, minimum=8, name="birealnet34")
    small = takes_small_stem(input_shape)
    return _birealnet(
        "birealnet34", inputs, num_classes, include_top, (6, 8, 12, 6), filters=64, small_stem=small
    )


@register_model
def birealnet20(
    input_shape: Shape = (32, 32, 3), num_classes: int = 10, include_top: bool = True
) -> ZooModel:
    """Builds a 20-layer Bi-Real net for CIFAR images: 16, 32 and 64 channels.

    The shape that CIFAR tables call ResNet-20 (He et al. 2016, section 4.2,
    https://arxiv.org/abs/1512.03385): three stages of six convolutions, each convolution with
    Bi-Real's own shortcut. The 3 x 3 stem of stride 1 is taken at every input size.

    **Deviations**

    - The Bi-Real paper has no CIFAR network; blocks are those of `birealnet18`.

    Images are at least 4 x 4.
    """
    inputs = image_input(input_shape, minimum=4, name="birealnet20")
    return _birealnet(
        "birealnet20", inputs, num_classes, include_top, (6, 6, 6), filters=16, small_stem=True
    )
