"""BinaryDenseNet: dense shortcuts keep real-valued information around every binary convolution.

Paper:
    Bethge, Yang, Bornstein, Meinel: Back to Simplicity: How to Train Accurate BNNs from
    Scratch?, 2019, https://arxiv.org/abs/1906.08637
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from bnnzoo.architectures.arguments import takes_small_stem
from bnnzoo.architectures.assembly import Shape, ZooModel, assemble, image_input
from bnnzoo.architectures.blocks import binary_conv, classifier, norm, real_conv
from bnnzoo.architectures.channels_last import (
    MaxPooling2D,
)
from bnnzoo.registry import register_model

__all__ = [
    "binary_densenet28",
    "binary_densenet37",
    "binary_densenet37_dilated",
    "binary_densenet45",
]

CLIP_VALUE = 1.3
GROWTH_RATE = 64


def _stem(inputs: keras.KerasTensor, *, small: bool) -> keras.KerasTensor:
    if small:
        return real_conv(inputs, 64, 3, 1, "stem_conv", "he_normal")
    x = norm(real_conv(inputs, 64, 7, 2, "stem_conv", "he_normal"), "stem_bn")
    x = layers.Activation("relu", name="stem_relu")(x)
    return MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)


def _dense_block(x: keras.KerasTensor, dilation_rate: int, name: str) -> keras.KerasTensor:
    """Appends `GROWTH_RATE` binary channels to `x`."""
    y = norm(x, f"{name}_bn")
    y = binary_conv(y, GROWTH_RATE, f"{name}_conv", dilation_rate=dilation_rate, clip=CLIP_VALUE)
    return layers.Concatenate(name=f"{name}_concat")([x, y])


def _transition(
    x: keras.KerasTensor, reduction: float, *, pool: bool, name: str
) -> keras.KerasTensor:
    filters = round(x.shape[-1] // reduction / 32) * 32
    x = norm(x, f"{name}_bn")
    if pool:
        x = MaxPooling2D(2, name=f"{name}_pool")(x)
    x = layers.Activation("relu", name=f"{name}_relu")(x)
    return real_conv(x, filters, 1, 1, f"{name}_conv", "he_normal")


def _binary_densenet(
    name: str,
    input_shape: Shape,
    num_classes: int,
    include_top: bool,
    blocks: Sequence[int],
    reductions: Sequence[float],
    dilations: Sequence[int] = (1, 1, 1, 1),
) -> ZooModel:
    inputs = image_input(input_shape, minimum=8, name=name)
    x = _stem(inputs, small=takes_small_stem(input_shape))
    stages = []
    for stage, (count, dilation) in enumerate(zip(blocks, dilations, strict=True), start=1):
        for block in range(1, count + 1):
            x = _dense_block(x, dilation, f"stage{stage}_block{block}")
        stages.append(x)
        if stage < len(blocks):
            x = _transition(
                x, reductions[stage - 1], pool=dilations[stage] == 1, name=f"transition{stage}"
            )
    x = stages[-1] = layers.Activation("relu", name="head_relu")(norm(x, "head_bn"))
    if include_top:
        x = classifier(x, num_classes, "he_normal")
    return assemble(inputs, x, stages=stages, name=name)


@register_model
def binary_densenet28(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds BinaryDenseNet28: dense stages of 6, 6, 6 and 5 binary convolutions.

    The growth rate is 64. The transitions divide the channels by 2.7, 2.7 and 2.2, rounded to a
    multiple of 32. The structure and the order of the weights are the same as in larq-zoo.

    **Deviations**

    - For inputs below 64 pixels, the stem is a single 3 x 3 convolution of stride 1 (in larq-zoo:
      below 50 pixels of height).

    The minimum image size is 8 x 8.
    """
    return _binary_densenet(
        "binary_densenet28", input_shape, num_classes, include_top, (6, 6, 6, 5), (2.7, 2.7, 2.2)
    )


@register_model
def binary_densenet37(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds BinaryDenseNet37: dense stages of 6, 8, 12 and 6 binary convolutions.

    The transitions divide the channels by 3.3, 3.3 and 4. The structure and the order of the
    weights are the same as in larq-zoo.

    **Deviations**

    - The same as for `binary_densenet28`.

    The minimum image size is 8 x 8.
    """
    return _binary_densenet(
        "binary_densenet37", input_shape, num_classes, include_top, (6, 8, 12, 6), (3.3, 3.3, 4)
    )


@register_model
def binary_densenet37_dilated(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds BinaryDenseNet37 with dilation, which keeps the resolution of the second stage.

    The last two transitions do not pool. Instead, the following convolutions have dilation rates of
    2 and 4. The structure and the order of the weights are the same as in larq-zoo.

    **Deviations**

    - The same as for `binary_densenet28`.

    The minimum image size is 8 x 8.
    """
    return _binary_densenet(
        "binary_densenet37_dilated",
        input_shape,
        num_classes,
        include_top,
        (6, 8, 12, 6),
        (3.3, 3.3, 4),
        dilations=(1, 1, 2, 4),
    )


@register_model
def binary_densenet45(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds BinaryDenseNet45: dense stages of 6, 12, 14 and 8 binary convolutions.

    The transitions divide the channels by 2.7, 3.3 and 4. The structure and the order of the
    weights are the same as in larq-zoo.

    **Deviations**

    - The same as for `binary_densenet28`.

    The minimum image size is 8 x 8.
    """
    return _binary_densenet(
        "binary_densenet45", input_shape, num_classes, include_top, (6, 12, 14, 8), (2.7, 3.3, 4)
    )
