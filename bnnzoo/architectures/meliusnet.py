"""MeliusNet: dense blocks add binary channels, improvement blocks correct them.

Paper:
    Bethge, Bartz, Yang, Chen, Meinel: MeliusNet: Can Binary Neural Networks Achieve
    MobileNet-level Accuracy?, 2020, https://arxiv.org/abs/2001.05936
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import layers, ops

from bnnzoo import nn
from bnnzoo.architectures.arguments import takes_small_stem
from bnnzoo.architectures.assembly import Shape, ZooModel, assemble, image_input
from bnnzoo.architectures.blocks import binary_conv, classifier, norm, real_conv
from bnnzoo.architectures.channels_last import (
    MaxPooling2D,
)
from bnnzoo.registry import register_model

__all__ = [
    "AddToLastChannels",
    "ShuffleChannels",
    "SplitChannels",
    "meliusnet22",
    "meliusnet23",
    "meliusnet29",
    "meliusnet42",
    "meliusnet59",
    "meliusnet_a",
    "meliusnet_b",
    "meliusnet_c",
]

CLIP_VALUE = 1.3
GROWTH_RATE = 64
SHUFFLED_GROUPS = 16


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


@keras.saving.register_keras_serializable(package="bnnzoo")
class ShuffleChannels(layers.Layer):
    """Interleaves groups of channels, as ShuffleNet does.

    y[i groups + g] = x[g c / groups + i].

    Args:
        groups: Number of groups.

    Input shape:
        `(n, h, w, c)`.
    Output shape:
        Same as the input.

    Reference:
        Zhang et al. 2017 (ShuffleNet), https://arxiv.org/abs/1707.01083
    """

    def __init__(self, groups: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.groups = groups

    def call(self, inputs: Any) -> Any:
        """Returns the channels in another order."""
        _, height, width, channels = inputs.shape
        shape = (-1, height, width, self.groups, channels // self.groups)
        x = ops.transpose(ops.reshape(inputs, shape), (0, 1, 2, 4, 3))
        return ops.reshape(x, (-1, height, width, channels))

    def get_config(self) -> dict[str, Any]:
        """Returns the layer's arguments."""
        return {**super().get_config(), "groups": self.groups}


@dataclasses.dataclass(frozen=True)
class Variant:
    """A row of the paper's table of networks.

    Attributes:
        pairs: Pairs of a dense and an improvement block in each section.
        channels: Channels after each transition.
        groups: Groups of the transitions' convolutions. With more than one, the channels are
            shuffled before them.
    """

    pairs: tuple[int, int, int, int]
    channels: tuple[int, int, int]
    groups: int = 1


VARIANTS = {
    "meliusnet22": Variant((4, 5, 4, 4), (160, 224, 256)),
    "meliusnet23": Variant((2, 4, 6, 6), (128, 192, 288), 8),
    "meliusnet29": Variant((4, 6, 8, 6), (128, 192, 256)),
    "meliusnet42": Variant((5, 8, 14, 10), (160, 256, 416)),
    "meliusnet59": Variant((6, 12, 24, 12), (192, 320, 544)),
    "meliusnet_a": Variant((4, 5, 5, 6), (160, 256, 288), 4),
    "meliusnet_b": Variant((4, 6, 8, 6), (160, 224, 320), 2),
    "meliusnet_c": Variant((3, 5, 10, 6), (128, 192, 288), 4),
}


@register_model
def meliusnet22(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds MeliusNet22: sections of 4, 5, 4 and 4 pairs of a dense and an improvement block.

    The paper's configuration of this name, with transitions to 160, 224 and 256 channels. The
    structure and the order of the weights are the same as in larq-zoo.

    **Deviations**

    - For inputs below 64 pixels, the stem has stride 1 and no pooling. The shapes of its weights
      are the same.
    - As in larq-zoo, the grouped convolutions of the stem are built as one convolution per group,
      so that its weight files load.

    The minimum image size is 8 x 8.
    """
    return _meliusnet("meliusnet22", input_shape, num_classes, include_top, as_in_larq_zoo=True)


@register_model
def meliusnet23(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds MeliusNet23: sections of 2, 4, 6 and 6 pairs of blocks.

    A network of the authors' code, with grouped convolutions in the transitions.

    **Deviations**

    - For inputs below 64 pixels, the stem has stride 1 and no pooling.

    The minimum image size is 8 x 8.
    """
    return _meliusnet("meliusnet23", input_shape, num_classes, include_top)


@register_model
def meliusnet29(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds MeliusNet29: sections of 4, 6, 8 and 6 pairs of blocks.

    In contrast to `meliusnet22`, which is larq-zoo's, the binary convolutions are padded with -1,
    the latent weights are not clipped, and the stem has 3 x 3 pooling, as in the authors' code.

    **Deviations**

    - The same as for `meliusnet23`.

    The minimum image size is 8 x 8.
    """
    return _meliusnet("meliusnet29", input_shape, num_classes, include_top)


@register_model
def meliusnet42(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds MeliusNet42: sections of 5, 8, 14 and 10 pairs of blocks.

    **Deviations**

    - The same as for `meliusnet23`.

    The minimum image size is 8 x 8.
    """
    return _meliusnet("meliusnet42", input_shape, num_classes, include_top)


@register_model
def meliusnet59(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds MeliusNet59: sections of 6, 12, 24 and 12 pairs of blocks.

    **Deviations**

    - The same as for `meliusnet23`.

    The minimum image size is 8 x 8.
    """
    return _meliusnet("meliusnet59", input_shape, num_classes, include_top)


@register_model
def meliusnet_a(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds MeliusNet-A: sections of 4, 5, 5 and 6 pairs of blocks.

    A network of the paper with grouped convolutions in the transitions.

    **Deviations**

    - The same as for `meliusnet23`.

    The minimum image size is 8 x 8.
    """
    return _meliusnet("meliusnet_a", input_shape, num_classes, include_top)


@register_model
def meliusnet_b(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds MeliusNet-B: sections of 4, 6, 8 and 6 pairs of blocks.

    A network of the paper with grouped convolutions in the transitions.

    **Deviations**

    - The same as for `meliusnet23`.

    The minimum image size is 8 x 8.
    """
    return _meliusnet("meliusnet_b", input_shape, num_classes, include_top)


@register_model
def meliusnet_c(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds MeliusNet-C: sections of 3, 5, 10 and 6 pairs of blocks.

    A network of the authors' code, with grouped convolutions in the transitions.

    **Deviations**

    - The same as for `meliusnet23`.

    The minimum image size is 8 x 8.
    """
    return _meliusnet("meliusnet_c", input_shape, num_classes, include_top)


def _meliusnet(
    name: str,
    input_shape: Shape,
    num_classes: int,
    include_top: bool,
    *,
    as_in_larq_zoo: bool = False,
) -> ZooModel:
    """Builds a variant. That of larq-zoo pads with zeros, clips latent weights, and pools 2 x 2."""
    variant = VARIANTS[name]
    inputs = image_input(input_shape, minimum=8, name=name)
    small = takes_small_stem(input_shape)
    group_conv = _split_conv if as_in_larq_zoo else _group_conv
    x = _group_stem(inputs, group_conv, small=small, symmetric=not as_in_larq_zoo)
    if not small and as_in_larq_zoo:
        x = MaxPooling2D(2, padding="same", name="stem_pool")(x)
    elif not small:
        x = MaxPooling2D(3, strides=2, padding=1, name="stem_pool")(x)
    conv = _LARQ_ZOOS_CONV if as_in_larq_zoo else _CONV
    stages = []
    for section, pairs in enumerate(variant.pairs, start=1):
        for pair in range(1, pairs + 1):
            x = _dense_block(x, f"section{section}_block{pair}_dense", conv)
            x = _improvement_block(x, f"section{section}_block{pair}_improve", conv)
        stages.append(x)
        if section < len(variant.pairs):
            filters = variant.channels[section - 1]
            x = _transition(x, filters, variant.groups, f"transition{section}")
    x = stages[-1] = _norm_relu(x, "head")
    if include_top:
        x = classifier(x, num_classes, "glorot_normal")
    return assemble(inputs, x, stages=stages, name=name)


def _norm_relu(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.Activation("relu", name=f"{name}_relu")(norm(x, f"{name}_bn"))


_Conv = Callable[..., keras.KerasTensor]


def _split_conv(
    x: keras.KerasTensor, filters: int, kernel_size: int, groups: int, name: str
) -> keras.KerasTensor:
    """A grouped convolution as one convolution per group."""
    parts = SplitChannels(groups, name=f"{name}_split")(x)
    parts = [
        real_conv(part, filters // groups, kernel_size, 1, f"{name}_conv{index}")
        for index, part in enumerate(parts, start=1)
    ]
    return layers.Concatenate(name=f"{name}_concat")(parts)


def _group_conv(
    x: keras.KerasTensor, filters: int, kernel_size: int, groups: int, name: str
) -> keras.KerasTensor:
    return real_conv(x, filters, kernel_size, 1, f"{name}_conv", groups=groups)


def _group_stem(
    inputs: keras.KerasTensor, group_conv: _Conv, *, small: bool, symmetric: bool
) -> keras.KerasTensor:
    """Three 3 x 3 convolutions, two of them grouped, instead of a 7 x 7 convolution."""
    strides = 1 if small else 2
    x = real_conv(inputs, 32, 3, strides, "stem1_conv", symmetric=symmetric)
    x = _norm_relu(x, "stem1")
    x = _norm_relu(group_conv(x, 32, 3, 4, "stem2"), "stem2")
    return _norm_relu(group_conv(x, 64, 3, 8, "stem3"), "stem3")


_LARQ_ZOOS_CONV: _Conv = partial(binary_conv, clip=CLIP_VALUE)
_CONV: _Conv = partial(
    binary_conv,
    padding=1,
    pad_values=-1.0,
    clip=None,
    input_quantizer=nn.SteSign(CLIP_VALUE),
)


def _new_channels(x: keras.KerasTensor, name: str, conv: _Conv) -> keras.KerasTensor:
    return conv(norm(x, f"{name}_bn"), GROWTH_RATE, f"{name}_conv")


def _dense_block(x: keras.KerasTensor, name: str, conv: _Conv) -> keras.KerasTensor:
    """Appends 64 new channels."""
    return layers.Concatenate(name=f"{name}_concat")([x, _new_channels(x, name, conv)])


def _improvement_block(x: keras.KerasTensor, name: str, conv: _Conv) -> keras.KerasTensor:
    """Corrects the 64 channels that the preceding dense block appended."""
    return AddToLastChannels(name=f"{name}_add")([x, _new_channels(x, name, conv)])


def _transition(x: keras.KerasTensor, filters: int, groups: int, name: str) -> keras.KerasTensor:
    x = norm(x, f"{name}_bn")
    x = MaxPooling2D(2, padding="same", name=f"{name}_pool")(x)
    x = layers.Activation("relu", name=f"{name}_relu")(x)
    if groups > 1:
        x = ShuffleChannels(SHUFFLED_GROUPS, name=f"{name}_shuffle")(x)
    return _group_conv(x, filters, 1, groups, name)
