"""MeliusNet: dense blocks add binary channels, improvement blocks correct them.

Paper:
    Bethge, Bartz, Yang, Chen, Meinel: MeliusNet: Can Binary Neural Networks Achieve
    MobileNet-level Accuracy?, 2020, https://arxiv.org/abs/2001.05936
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from bnnzoo.architectures.arguments import takes_small_stem
from bnnzoo.architectures.assembly import Shape, ZooModel, assemble, image_input
from bnnzoo.architectures.blocks import binary_conv, classifier, norm, real_conv
from bnnzoo.architectures.channels_last import (
    MaxPooling2D,
)
from bnnzoo.registry import register_model

__all__ = ["AddToLastChannels", "SplitChannels", "meliusnet22"]

CLIP_VALUE = 1.3
GROWTH_RATE = 64


@keras.saving.register_keras_serializable(package="bnnzoo")
class SplitChannels(layers.Layer):
    """Splits the channels of a feature map into equal groups.

    Args:
        groups: Number of groups.

    Input shape:
        `(n, h, w, c)`.
    Output shape:
        A list of `groups` tensors `(n, h, w, c / groups)`.
    """

    def __init__(self, groups: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.groups = groups

    def call(self, inputs: Any) -> list[Any]:
        """Returns the groups in order."""
        return ops.split(inputs, self.groups, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the layer's arguments."""
        return {**super().get_config(), "groups": self.groups}


@keras.saving.register_keras_serializable(package="bnnzoo")
class AddToLastChannels(layers.Layer):
    """Adds a feature map to the last channels of a wider one.

    Input shape:
        A list of `(n, h, w, c)` and `(n, h, w, d)` with d <= c.
    Output shape:
        `(n, h, w, c)`: channels 0 to c - d - 1 are those of the first input, the others are sums.
    """

    def call(self, inputs: list[Any]) -> Any:
        """Returns the first input with the second one added to its last channels."""
        x, y = inputs
        return x + ops.pad(y, [[0, 0], [0, 0], [0, 0], [x.shape[-1] - y.shape[-1], 0]])


@register_model
def meliusnet22(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds MeliusNet22: sections of 4, 5, 4 and 4 pairs of a dense and an improvement block.

    The paper's configuration of this name, with transitions to 160, 224 and 256 channels. The
    structure and the order of the weights are the same as in larq-zoo.

    **Deviations**

    - For inputs below 64 pixels, the stem has stride 1 and no pooling; its weights have the same
      shapes.
    - As in larq-zoo, the grouped convolutions of the stem are built as one convolution per group,
      so that its weight files load.

    The minimum image size is 8 x 8.
    """
    inputs = image_input(input_shape, minimum=8, name="meliusnet22")
    x = _group_stem(inputs, small=takes_small_stem(input_shape))
    stages = []
    for section, pairs in enumerate((4, 5, 4, 4), start=1):
        for pair in range(1, pairs + 1):
            x = _dense_block(x, f"section{section}_block{pair}_dense")
            x = _improvement_block(x, f"section{section}_block{pair}_improve")
        stages.append(x)
        if section < 4:
            x = _transition(x, (160, 224, 256)[section - 1], f"transition{section}")
    x = stages[-1] = _norm_relu(x, "head")
    if include_top:
        x = classifier(x, num_classes, "glorot_normal")
    return assemble(inputs, x, stages=stages, name="meliusnet22")


def _norm_relu(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.Activation("relu", name=f"{name}_relu")(norm(x, f"{name}_bn"))


def _group_conv(x: keras.KerasTensor, filters: int, groups: int, name: str) -> keras.KerasTensor:
    parts = SplitChannels(groups, name=f"{name}_split")(x)
    parts = [
        real_conv(part, filters // groups, 3, 1, f"{name}_conv{index}")
        for index, part in enumerate(parts, start=1)
    ]
    return layers.Concatenate(name=f"{name}_concat")(parts)


def _group_stem(inputs: keras.KerasTensor, *, small: bool) -> keras.KerasTensor:
    """Three 3 x 3 convolutions, two of them grouped, instead of a 7 x 7 convolution."""
    x = _norm_relu(real_conv(inputs, 32, 3, 1 if small else 2, "stem1_conv"), "stem1")
    x = _norm_relu(_group_conv(x, 32, 4, "stem2"), "stem2")
    x = _norm_relu(_group_conv(x, 64, 8, "stem3"), "stem3")
    return x if small else MaxPooling2D(2, padding="same", name="stem_pool")(x)


def _new_channels(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    x = norm(x, f"{name}_bn")
    return binary_conv(x, GROWTH_RATE, f"{name}_conv", clip=CLIP_VALUE)


def _dense_block(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Appends 64 new channels."""
    return layers.Concatenate(name=f"{name}_concat")([x, _new_channels(x, name)])


def _improvement_block(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Corrects the 64 channels that the preceding dense block appended."""
    return AddToLastChannels(name=f"{name}_add")([x, _new_channels(x, name)])


def _transition(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    x = norm(x, f"{name}_bn")
    x = MaxPooling2D(2, padding="same", name=f"{name}_pool")(x)
    x = layers.Activation("relu", name=f"{name}_relu")(x)
    return real_conv(x, filters, 1, 1, f"{name}_conv")
