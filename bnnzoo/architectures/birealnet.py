"""Bi-Real Net: a real-valued shortcut around every binary convolution.

Paper:
    Liu, Wu, Luo, Yang, Liu, Cheng: Bi-Real Net: Enhancing the Performance of 1-bit CNNs With
    Improved Representational Capability and Advanced Training Algorithm, ECCV 2018,
    https://arxiv.org/abs/1808.00278
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

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


def _residual_block(
    x: keras.KerasTensor,
    filters: int,
    name: str,
    *,
    input_quantizer: str,
    kernel_quantizer: str,
) -> keras.KerasTensor:
    """A binary convolution with its own shortcut; halves the map if the channels increase."""
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
        input_quantizer=nn.quantizers.get(input_quantizer),
        kernel_quantizer=nn.quantizers.get(kernel_quantizer),
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
    input_quantizer: str = "approx_sign",
    kernel_quantizer: str = "magnitude_aware_sign",
) -> ZooModel:
    x = _stem(inputs, filters, small=small_stem)
    widths = [filters * 2**stage for stage in range(len(blocks))]
    block = partial(
        _residual_block, input_quantizer=input_quantizer, kernel_quantizer=kernel_quantizer
    )
    stages = stack(x, block, blocks, widths)
    x = stages[-1]
    if include_top:
        x = classifier(x, num_classes)
    return assemble(inputs, x, stages=stages, name=name)


@register_model(aliases=("birealnet",))
def birealnet18(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds the 18-layer Bi-Real net: four stages of four binary convolutions.

    The ResNet-18 of the paper, with a shortcut around each convolution. The structure and the order
    of the weights are the same as in larq-zoo's BiRealNet.

    **Deviations**

    - For inputs below 64 pixels, the stem is a 3 x 3 convolution of stride 1 without pooling.
    - As in larq-zoo, the batch norms of the binary convolutions have a scale in addition to the
      scale of the weights, and a momentum of 0.8.

    The minimum image size is 8 x 8.
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

    The larger network of the paper: the 3, 4, 6 and 3 basic blocks of ResNet-34, each of two
    convolutions, with a shortcut around each convolution.

    **Deviations**

    - The same as for `birealnet18`. larq-zoo does not have this network.

    The minimum image size is 8 x 8.
    """
    inputs = image_input(input_shape, minimum=8, name="birealnet34")
    small = takes_small_stem(input_shape)
    return _birealnet(
        "birealnet34", inputs, num_classes, include_top, (6, 8, 12, 6), filters=64, small_stem=small
    )


@register_model
def birealnet20(
    input_shape: Shape = (32, 32, 3),
    num_classes: int = 10,
    include_top: bool = True,
    input_quantizer: str = "approx_sign",
    kernel_quantizer: str = "magnitude_aware_sign",
) -> ZooModel:
    """Builds a 20-layer Bi-Real net for CIFAR images: 16, 32 and 64 channels.

    The network that CIFAR tables call ResNet-20 (He et al. 2016, section 4.2,
    https://arxiv.org/abs/1512.03385): three stages of six convolutions, each with a shortcut as in
    Bi-Real Net. The stem is a 3 x 3 convolution of stride 1 for every input size.

    **Deviations**

    - The paper has no CIFAR network; the blocks are those of `birealnet18`.

    The minimum image size is 4 x 4. `input_quantizer` and `kernel_quantizer` are aliases of
    quantizers, for those of other papers on the same network: "error_decay_sign" and "libra_sign"
    are IR-Net's, "recu" is ReCU's.
    """
    inputs = image_input(input_shape, minimum=4, name="birealnet20")
    return _birealnet(
        "birealnet20",
        inputs,
        num_classes,
        include_top,
        (6, 6, 6),
        filters=16,
        small_stem=True,
        input_quantizer=input_quantizer,
        kernel_quantizer=kernel_quantizer,
    )
