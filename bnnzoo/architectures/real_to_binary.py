"""Real-to-Binary Net: binary convolutions whose outputs are scaled depending on their input.

Paper:
    Martinez, Yang, Bulat, Tzimiropoulos: Training Binary Neural Networks with Real-to-Binary
    Convolutions, ICLR 2020, https://arxiv.org/abs/2003.11535
"""

from __future__ import annotations

import keras
from keras import layers

from bnnzoo.architectures.arguments import takes_small_stem
from bnnzoo.architectures.assembly import Shape, ZooModel, assemble, image_input
from bnnzoo.architectures.blocks import binary_conv, classifier, real_conv, stack
from bnnzoo.architectures.channels_last import (
    AveragePooling2D,
    GlobalAveragePooling2D,
    MaxPooling2D,
)
from bnnzoo.registry import register_model

__all__ = ["real_to_binary"]

SCALING_REDUCTION = 8


@register_model
def real_to_binary(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds the Real-to-Binary net: a ResNet-18 with data-dependent scales.

    Figure 1 and section 4.3 of the paper: batch norm, binary convolution, a scale per channel from
    a squeeze-and-excite branch (r = 8), PReLU, and a shortcut around each convolution. The
    structure and the order of the weights are the same as in larq-zoo's RealToBinaryNet (its `BNN`
    stage).

    **Deviations**

    - For inputs below 64 pixels, the stem is a 3 x 3 convolution of stride 1 without pooling.
    - As in larq-zoo, the stem has a PReLU.
    - The identity layers of larq-zoo that name the outputs of blocks are omitted; the layer
      `stage1_block2_add` corresponds to its `r2b_bnn_block_2_out`, and so on.

    The minimum image size is 8 x 8.
    """
    inputs = image_input(input_shape, minimum=8, name="real_to_binary")
    x = _stem(inputs, 64, small=takes_small_stem(input_shape))
    stages = stack(x, _half_block, (4, 4, 4, 4), (64, 128, 256, 512))
    x = stages[-1]
    if include_top:
        x = classifier(x, num_classes)
    return assemble(inputs, x, stages=stages, name="real_to_binary")


def _stem(inputs: keras.KerasTensor, filters: int, *, small: bool) -> keras.KerasTensor:
    x = real_conv(inputs, filters, 3 if small else 7, 1 if small else 2, "stem_conv")
    x = layers.BatchNormalization(name="stem_bn")(x)
    x = layers.PReLU(shared_axes=[1, 2], name="stem_prelu")(x)
    if small:
        return x
    return MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)


def _shortcut(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    if x.shape[-1] == filters:
        return x
    x = AveragePooling2D(2, padding="same", name=f"{name}_shortcut_pool")(x)
    x = real_conv(x, filters, 1, 1, f"{name}_shortcut_conv")
    return layers.BatchNormalization(name=f"{name}_shortcut_bn")(x)


def _channel_scales(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    """Predicts one scale in (0, 1) per output channel from the input of the convolution."""
    x = GlobalAveragePooling2D(name=f"{name}_pool")(x)
    for units, activation, part in (
        (x.shape[-1] // SCALING_REDUCTION, "relu", "reduce"),
        (filters, "sigmoid", "expand"),
    ):
        x = layers.Dense(
            units,
            activation=activation,
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"{name}_{part}",
        )(x)
    return layers.Reshape((1, 1, filters), name=f"{name}_reshape")(x)


def _half_block(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    """Half of the block of figure 1: one binary convolution with its own shortcut."""
    shortcut = _shortcut(x, filters, name)
    normed = layers.BatchNormalization(name=f"{name}_bn")(x)
    y = binary_conv(normed, filters, f"{name}_conv", strides=1 if x.shape[-1] == filters else 2)
    scales = _channel_scales(normed, filters, f"{name}_scale")
    y = layers.Multiply(name=f"{name}_scaled")([y, scales])
    y = layers.PReLU(shared_axes=[1, 2], name=f"{name}_prelu")(y)
    return layers.Add(name=f"{name}_add")([y, shortcut])
