"""ReActNet: signs and activations that turn where each channel has learned to.

Paper:
    Liu, Shen, Savvides, Cheng: ReActNet: Towards Precise Binary Neural Network with Generalized
    Activation Functions, ECCV 2020, https://arxiv.org/abs/2003.03488
"""

from __future__ import annotations

import keras
from keras import layers

from bnnzoo import nn
from bnnzoo.architectures.assembly import Shape, ZooModel, assemble, image_input
from bnnzoo.architectures.blocks import binary_conv, classifier, real_conv, stack
from bnnzoo.architectures.channels_last import (
    AveragePooling2D,
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
    y = binary_conv(
        y,
        filters,
        f"{name}_conv",
        strides=1 if x.shape[-1] == filters else 2,
        padding=1,
        input_quantizer=nn.ApproxSign(),
    )
    y = layers.BatchNormalization(name=f"{name}_bn")(y)
    y = layers.Add(name=f"{name}_add")([y, _shortcut(x, filters, name)])
    return layers.PReLU(
        shared_axes=[1, 2],
        alpha_initializer=keras.initializers.Constant(0.25),
        name=f"{name}_prelu",
    )(y)


@register_model
def reactnet_resnet20(
    input_shape: Shape = (32, 32, 3),
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
    x = layers.BatchNormalization(name="stem_bn")(real_conv(inputs, width, 3, 1, "stem_conv"))
    stages = stack(x, _residual_block, (6, 6, 6), (width, 2 * width, 4 * width))
    x = stages[-1]
    if include_top:
        x = classifier(x, num_classes)
    return assemble(inputs, x, stages=stages, name="reactnet_resnet20")
