"""ReActNet: signs and activations that turn where each channel has learned to.

Paper:
    Liu, Shen, Savvides, Cheng: ReActNet: Towards Precise Binary Neural Network with Generalized
    Activation Functions, ECCV 2020, https://arxiv.org/abs/2003.03488
"""

from __future__ import annotations

import keras
from keras import layers

from bnnzoo import nn
from bnnzoo.architectures.assembly import ZooModel, assemble, image_input
from bnnzoo.architectures.channels_last import (
    AveragePooling2D,
    Conv2D,
    GlobalAveragePooling2D,
    QuantConv2D,
)
from bnnzoo.arguments import check_integer
from bnnzoo.registry import register_model

__all__ = ["reactnet_resnet20"]


def _shortcut(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    if x.shape[-1] == filters:
        return x
    x = AveragePooling2D(2, padding="same", name=f"{name}_shortcut_pool")(x)
    return layers.Concatenate(name=f"{name}_shortcut_twice")([x, x])


def _residual_block(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    """Returns PReLU(BN(bconv(RSign(x))) + shortcut), of half the size where channels double."""
    y = nn.LearnableShift(name=f"{name}_shift")(x)
    y = QuantConv2D(
        filters,
        3,
        strides=1 if x.shape[-1] == filters else 2,
        padding=1,
        use_bias=False,
        input_quantizer=nn.ApproxSign(),
        kernel_quantizer=nn.SteSign(),
        kernel_constraint=nn.WeightClip(),
        kernel_initializer="glorot_normal",
        name=f"{name}_conv",
    )(y)
    y = layers.BatchNormalization(name=f"{name}_bn")(y)
    y = layers.Add(name=f"{name}_add")([y, _shortcut(x, filters, name)])
    return layers.PReLU(
        shared_axes=[1, 2],
        alpha_initializer=keras.initializers.Constant(0.25),
        name=f"{name}_prelu",
    )(y)


@register_model
def reactnet_resnet20(
    input_shape: tuple[int, int, int] = (32, 32, 3),
    num_classes: int = 10,
    include_top: bool = True,
    width: int = 16,
) -> ZooModel:
    """Builds ReActNet's blocks on the 20-layer network of CIFAR tables.

    Three stages of six binary convolutions (He et al. 2016, section 4.2,
    https://arxiv.org/abs/1512.03385), each with a shortcut, RSign before and RPReLU behind it
    (ReActNet, figure 5). The 3 x 3 stem of stride 1 is taken at every input size.

    **Deviations**

    - The paper has no CIFAR network; blocks are those of its ResNet.
    - Where channels double, the shortcut is the pooled map twice, not a real 1 x 1 convolution,
      which would take a fifth of the packed bytes.
    - Kernels have no scale: the batch norm behind them has one.
    - RPReLU's two shifts are left out. Around a shortcut they add nothing: the first is the bias of
      the batch norm before the sum, the second is part of the next block's RSign and of the bias of
      its batch norm.

    Images are at least 4 x 4. `width` is the number of channels of the first stage, which double
    twice.
    """
    width = check_integer(width, "width")
    inputs = image_input(input_shape, minimum=4, name="reactnet_resnet20")
    x = Conv2D(
        width,
        3,
        padding="same",
        use_bias=False,
        kernel_initializer="glorot_normal",
        name="stem_conv",
    )(inputs)
    x = layers.BatchNormalization(name="stem_bn")(x)
    stages = []
    for stage in range(1, 4):
        for block in range(1, 7):
            x = _residual_block(x, width * 2 ** (stage - 1), f"stage{stage}_block{block}")
        stages.append(x)
    if include_top:
        x = GlobalAveragePooling2D(name="pool")(x)
        x = layers.Dense(num_classes, name="logits")(x)
        x = layers.Activation("softmax", dtype="float32", name="probabilities")(x)
    return assemble(inputs, x, stages=stages, name="reactnet_resnet20")
