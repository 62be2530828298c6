"""ReActNet: signs and activations with a learned threshold per channel.

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
    """Returns PReLU(BN(bconv(RSign(x))) + shortcut), at half the size where the channels double."""
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
    """Builds a ReActNet for CIFAR images, on the 20-layer network of CIFAR tables.

    Three stages of six binary convolutions (He et al. 2016, section 4.2,
    https://arxiv.org/abs/1512.03385), each with a shortcut, RSign before and RPReLU after it
    (ReActNet, figure 5). The stem is a 3 x 3 convolution of stride 1 for every input size.

    **Deviations**

    - The paper has no CIFAR network; the blocks are those of its ResNet.
    - Where the channels double, the shortcut concatenates the pooled map with itself. A real-valued
      pointwise convolution would take a fifth of the packed bytes.
    - Kernels have no scale, because the following batch norm has one.
    - The two shifts of RPReLU are omitted. Around a shortcut they are redundant: the first is part
      of the bias of the batch norm before the sum, the second is part of the next block's RSign and
      of the bias of its batch norm.

    The minimum image size is 4 x 4. `width` is the number of channels of the first stage; it
    doubles in each of the other two stages.
    """
    width = check_integer(width, "width")
    inputs = image_input(input_shape, minimum=4, name="reactnet_resnet20")
    x = layers.BatchNormalization(name="stem_bn")(real_conv(inputs, width, 3, 1, "stem_conv"))
    stages = stack(x, _residual_block, (6, 6, 6), (width, 2 * width, 4 * width))
    x = stages[-1]
    if include_top:
        x = classifier(x, num_classes)
    return assemble(inputs, x, stages=stages, name="reactnet_resnet20")
