"""QuickNet: Larq's networks, designed for speed on real devices.

Paper:
    Bannink, Bakhtiari, Hillier, Geiger, de Bruin, Overweel, Neeven, Helwegen: Larq Compute
    Engine: Design, Benchmark, and Deploy State-of-the-Art Binarized Neural Networks, MLSys 2021,
    https://arxiv.org/abs/2011.09398
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from bnnzoo import nn
from bnnzoo.architectures.arguments import takes_small_stem
from bnnzoo.architectures.assembly import Shape, ZooModel, assemble, image_input
from bnnzoo.architectures.blocks import binary_conv, norm, softmax
from bnnzoo.architectures.channels_last import (
    DepthwiseConv2D,
    GlobalAveragePooling2D,
    MaxPooling2D,
    QuantConv2D,
    QuantDepthwiseConv2D,
)
from bnnzoo.registry import register_model

__all__ = ["BlurPool", "quicknet", "quicknet_large", "quicknet_small"]

CLIP_VALUE = 1.25


@keras.saving.register_keras_serializable(package="bnnzoo")
class BlurPool(keras.initializers.Initializer):
    """Initializes a 3 x 3 depthwise kernel with the binomial filter [1, 2, 1] / 4.

    With stride 2 this is the antialiased downsampling of https://arxiv.org/abs/1904.11486.
    """

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Returns the kernel of `shape` `(3, 3, c, 1)`."""
        binomial = np.array([1.0, 2.0, 1.0]) / 4.0
        kernel = np.outer(binomial, binomial)[:, :, None, None]
        return ops.convert_to_tensor(np.broadcast_to(kernel, shape), dtype=dtype)


def _stem(inputs: keras.KerasTensor, filters: int, *, small: bool) -> keras.KerasTensor:
    """A narrow convolution, a depthwise and a pointwise one, real-valued despite their classes."""
    strides = 1 if small else 2
    x = QuantConv2D(
        filters // 4,
        3,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name="stem_conv",
    )(inputs)
    x = layers.BatchNormalization(name="stem_conv_bn")(x)
    x = layers.Activation("relu", name="stem_relu")(x)
    x = QuantDepthwiseConv2D(
        3, strides=strides, padding="same", use_bias=False, name="stem_depthwise"
    )(x)
    x = layers.BatchNormalization(scale=False, center=False, name="stem_depthwise_bn")(x)
    x = QuantConv2D(
        filters, 1, use_bias=False, kernel_initializer="he_normal", name="stem_pointwise"
    )(x)
    return layers.BatchNormalization(name="stem_pointwise_bn")(x)


def _residual_block(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """A binary convolution, padded with ones so that the border does not need a correction."""
    y = binary_conv(
        x, x.shape[-1], f"{name}_conv", pad_values=1.0, activation="relu", clip=CLIP_VALUE
    )
    y = norm(y, f"{name}_bn")
    return layers.Add(name=f"{name}_add")([y, x])


def _transition(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    """Halves the map with antialiased max pooling, then changes the number of channels."""
    x = layers.Activation("relu", name=f"{name}_relu")(x)
    x = MaxPooling2D(2, strides=1, name=f"{name}_pool")(x)
    x = DepthwiseConv2D(
        3,
        strides=2,
        padding="same",
        use_bias=False,
        depthwise_initializer=BlurPool(),
        trainable=False,
        name=f"{name}_blur",
    )(x)
    x = QuantConv2D(
        filters, 1, use_bias=False, kernel_initializer="glorot_normal", name=f"{name}_conv"
    )(x)
    return norm(x, f"{name}_bn")


def _quicknet(
    name: str,
    input_shape: Shape,
    num_classes: int,
    include_top: bool,
    blocks: Sequence[int],
    filters: Sequence[int],
) -> ZooModel:
    inputs = image_input(input_shape, minimum=8, name=name)
    x = _stem(inputs, filters[0], small=takes_small_stem(input_shape))
    stages = []
    for section, (count, channels) in enumerate(zip(blocks, filters, strict=True), start=1):
        if section > 1:
            x = _transition(x, channels, f"transition{section - 1}")
        for block in range(1, count + 1):
            x = _residual_block(x, f"section{section}_block{block}")
        stages.append(x)
    if include_top:
        x = layers.Activation("relu", name="head_relu")(x)
        x = GlobalAveragePooling2D(name="pool")(x)
        x = nn.QuantDense(num_classes, kernel_initializer="glorot_normal", name="logits")(x)
        x = softmax(x)
    return assemble(inputs, x, stages=stages, name=name)


@register_model
def quicknet(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds QuickNet: four sections of four binary convolutions, 64 to 512 channels.

    The structure and the order of the weights are the same as in larq-zoo.

    **Deviations**

    - For inputs below 64 pixels, the stem has stride 1; its weights have the same shapes.

    The minimum image size is 8 x 8. Without `include_top`, the output is the last feature map,
    before the ReLU of the classifier.
    """
    return _quicknet(
        "quicknet", input_shape, num_classes, include_top, (4, 4, 4, 4), (64, 128, 256, 512)
    )


@register_model
def quicknet_small(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds QuickNetSmall: QuickNet with 32 and 64 channels in the first two sections.

    The structure and the order of the weights are the same as in larq-zoo.

    **Deviations**

    - The same as for `quicknet`.

    The minimum image size is 8 x 8. Without `include_top`, the output is the last feature map,
    before the ReLU of the classifier.
    """
    return _quicknet(
        "quicknet_small", input_shape, num_classes, include_top, (4, 4, 4, 4), (32, 64, 256, 512)
    )


@register_model
def quicknet_large(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds QuickNetLarge: QuickNet with sections of 6, 8, 12 and 6 binary convolutions.

    The structure and the order of the weights are the same as in larq-zoo.

    **Deviations**

    - The same as for `quicknet`.

    The minimum image size is 8 x 8. Without `include_top`, the output is the last feature map,
    before the ReLU of the classifier.
    """
    return _quicknet(
        "quicknet_large", input_shape, num_classes, include_top, (6, 8, 12, 6), (64, 128, 256, 512)
    )
