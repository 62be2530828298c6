"""AdaBin: adaptive binary sets, trained for activations and computed in closed form for kernels.

Paper:
    Tu, Chen, Ren, Wang: AdaBin: Improving Binary Neural Networks with Adaptive Binary Sets,
    ECCV 2022, https://arxiv.org/abs/2208.08084
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from bnnzoo import nn
from bnnzoo.architectures.arguments import takes_small_stem
from bnnzoo.architectures.assembly import Shape, ZooModel, assemble, image_input
from bnnzoo.architectures.blocks import (
    binary_conv,
    classifier,
    norm,
    pooled_conv,
    real_conv,
    resnet_stem,
    stack,
)
from bnnzoo.architectures.channels_last import AveragePooling2D
from bnnzoo.registry import register_model

__all__ = ["PadChannels", "adabin_resnet18", "adabin_resnet20"]

Shortcut = Callable[[keras.KerasTensor, int, str], keras.KerasTensor]


@keras.saving.register_keras_serializable(package="bnnzoo")
class PadChannels(layers.Layer):
    """Adds channels of zeros before and after those of a feature map.

    Args:
        channels: Number of new channels on either side.

    Input shape:
        `(n, h, w, c)`.
    Output shape:
        `(n, h, w, c + 2 channels)`.
    """

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels = channels

    def call(self, inputs: Any) -> Any:
        """Returns the wider feature map."""
        return ops.pad(inputs, [[0, 0], [0, 0], [0, 0], [self.channels, self.channels]])

    def get_config(self) -> dict[str, Any]:
        """Returns the layer's arguments."""
        return {**super().get_config(), "channels": self.channels}


def _padded(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    """Takes every second pixel, and pads the channels with zeros on both sides."""
    x = AveragePooling2D(1, strides=2, name=f"{name}_pool")(x)
    return PadChannels((filters - x.shape[-1]) // 2, name=f"{name}_pad")(x)


def _block(shortcut: Shortcut) -> Shortcut:
    """Returns a builder of blocks of two binary convolutions, each with a shortcut and Maxout."""

    def build(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
        x = _unit(x, filters, f"{name}_unit1", shortcut)
        return _unit(x, filters, f"{name}_unit2", shortcut)

    return build


def _unit(x: keras.KerasTensor, filters: int, name: str, shortcut: Shortcut) -> keras.KerasTensor:
    """Returns Maxout(BN(conv(x)) + shortcut), at half the size where the channels increase."""
    halves = x.shape[-1] != filters
    y = binary_conv(
        x,
        filters,
        f"{name}_conv",
        strides=2 if halves else 1,
        padding=1,
        clip=None,
        input_quantizer=nn.AdaptiveSign(name=f"{name}_sign"),
        kernel_quantizer=nn.CenteredSign(),
    )
    if halves:
        x = shortcut(x, filters, f"{name}_shortcut")
    y = layers.Add(name=f"{name}_add")([norm(y, f"{name}_bn"), x])
    return nn.Maxout(name=f"{name}_maxout")(y)


def _maxout(x: keras.KerasTensor) -> keras.KerasTensor:
    return nn.Maxout(name="stem_maxout")(x)


@register_model
def adabin_resnet20(
    input_shape: Shape = (32, 32, 3), num_classes: int = 10, include_top: bool = True
) -> ZooModel:
    """Builds AdaBin's ResNet-20 for CIFAR images: three stages of three blocks.

    The network of the authors' CIFAR-10 experiments, with 16, 32 and 64 channels. Where these
    double, the shortcut takes every second pixel and pads the channels with zeros on both sides.

    The minimum image size is 4 x 4.
    """
    inputs = image_input(input_shape, minimum=4, name="adabin_resnet20")
    x = _maxout(norm(real_conv(inputs, 16, 3, 1, "stem_conv"), "stem_bn"))
    stages = stack(x, _block(_padded), (3, 3, 3), (16, 32, 64))
    x = stages[-1]
    if include_top:
        x = classifier(x, num_classes, normalized=True)
    return assemble(inputs, x, stages=stages, name="adabin_resnet20")


@register_model
def adabin_resnet18(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds AdaBin's ResNet-18: four stages of two blocks.

    The network of the authors' ImageNet experiments. Where the channels double, the shortcut is an
    average pooling and a real-valued convolution.

    **Deviations**

    - For inputs below 64 pixels, the stem is a 3 x 3 convolution of stride 1 without pooling.

    The minimum image size is 8 x 8.
    """
    inputs = image_input(input_shape, minimum=8, name="adabin_resnet18")
    x = resnet_stem(inputs, 64, small=takes_small_stem(input_shape), activation=_maxout)
    stages = stack(x, _block(pooled_conv), (2, 2, 2, 2), (64, 128, 256, 512))
    x = stages[-1]
    if include_top:
        x = classifier(x, num_classes, normalized=True)
    return assemble(inputs, x, stages=stages, name="adabin_resnet18")
