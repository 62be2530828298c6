"""ReActNet: signs and activations with a learned threshold per channel.

Paper:
    Liu, Shen, Savvides, Cheng: ReActNet: Towards Precise Binary Neural Network with Generalized
    Activation Functions, ECCV 2020, https://arxiv.org/abs/2003.03488

    With another training strategy: Liu, Shen, Li, Helwegen, Huang, Cheng: How Do Adam and Training
    Strategies Help BNNs Optimization?, ICML 2021, https://arxiv.org/abs/2106.11309
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

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
from bnnzoo.architectures.channels_last import AveragePooling2D, MaxPooling2D
from bnnzoo.arguments import check_integer
from bnnzoo.registry import register_model

__all__ = ["reactnet_a", "reactnet_cifar", "reactnet_resnet18", "reactnet_resnet34"]

UNITS_A = (64, 128, 128, 256, 256, *(512,) * 6, 1024, 1024)


def _scaled_conv(
    x: keras.KerasTensor, filters: int, name: str, kernel_size: int = 3, strides: int = 1
) -> keras.KerasTensor:
    """A binary convolution whose kernels are scaled by their mean magnitude."""
    return binary_conv(
        x,
        filters,
        name,
        kernel_size=kernel_size,
        strides=strides,
        padding=kernel_size // 2,
        input_quantizer=nn.ApproxSign(),
        kernel_quantizer=nn.MagnitudeAwareSign(scale_gradient=False),
    )


def _pooled(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return AveragePooling2D(2, padding="same", name=name)(x)


def _mobile_block(x: keras.KerasTensor, filters: int, strides: int, name: str) -> keras.KerasTensor:
    """A 3 x 3 and a 1 x 1 unit. The latter has two convolutions if the channels double."""
    channels = x.shape[-1]
    y = nn.LearnableShift(name=f"{name}_shift1")(x)
    y = norm(_scaled_conv(y, channels, f"{name}_conv1", strides=strides), f"{name}_bn1")
    shortcut = x if strides == 1 else _pooled(x, f"{name}_pool")
    x = layers.Add(name=f"{name}_add1")([y, shortcut])
    x = nn.RPReLU(name=f"{name}_rprelu1")(x)
    y = nn.LearnableShift(name=f"{name}_shift2")(x)
    parts = []
    for part in range(1, filters // channels + 1):
        z = _scaled_conv(y, channels, f"{name}_conv2_{part}", kernel_size=1)
        z = norm(z, f"{name}_bn2_{part}")
        parts.append(layers.Add(name=f"{name}_add2_{part}")([z, x]))
    x = parts[0] if len(parts) == 1 else layers.Concatenate(name=f"{name}_concat")(parts)
    return nn.RPReLU(name=f"{name}_rprelu2")(x)


@register_model
def reactnet_a(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds ReActNet-A: the channels of MobileNetV1, with RSign and RPReLU.

    AdamBNN trains the same network.

    **Deviations**

    - For inputs below 64 pixels, the stem has stride 1.
    - Latent weights are clipped to [-1, 1]. In the authors' code, those outside never change again.

    The minimum image size is 8 x 8.
    """
    inputs = image_input(input_shape, minimum=8, name="reactnet_a")
    strides = 1 if takes_small_stem(input_shape) else 2
    x = norm(real_conv(inputs, 32, 3, strides, "stem_conv", symmetric=True), "stem_bn")
    stages = []
    for block, filters in enumerate(UNITS_A, start=1):
        halves = block > 1 and filters != x.shape[-1]
        if halves:
            stages.append(x)
        x = _mobile_block(x, filters, 2 if halves else 1, f"block{block}")
    stages.append(x)
    if include_top:
        x = classifier(x, num_classes)
    return assemble(inputs, x, stages=stages, name="reactnet_a")


def _resnet_block(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    """Returns RPReLU(BN(bconv(RSign(x))) + shortcut), at half the size where channels double."""
    halves = x.shape[-1] != filters
    y = nn.LearnableShift(name=f"{name}_shift")(x)
    y = norm(_scaled_conv(y, filters, f"{name}_conv", strides=2 if halves else 1), f"{name}_bn")
    if halves:
        x = pooled_conv(x, filters, f"{name}_shortcut")
    return nn.RPReLU(name=f"{name}_rprelu")(layers.Add(name=f"{name}_add")([y, x]))


def _resnet(
    name: str, input_shape: Shape, num_classes: int, include_top: bool, blocks: Sequence[int]
) -> ZooModel:
    inputs = image_input(input_shape, minimum=8, name=name)
    x = resnet_stem(inputs, 64, small=takes_small_stem(input_shape))
    stages = stack(x, _resnet_block, blocks, (64, 128, 256, 512))
    x = stages[-1]
    if include_top:
        x = classifier(x, num_classes)
    return assemble(inputs, x, stages=stages, name=name)


@register_model
def reactnet_resnet18(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds ReActNet on ResNet-18: four stages of four binary convolutions.

    As in Bi-Real Net, each convolution has a shortcut. The stem has no activation.

    **Deviations**

    - For inputs below 64 pixels, the stem is a 3 x 3 convolution of stride 1 without pooling.
    - Latent weights are clipped to [-1, 1]. In the authors' code, those outside never change again.

    The minimum image size is 8 x 8.
    """
    return _resnet("reactnet_resnet18", input_shape, num_classes, include_top, (4, 4, 4, 4))


@register_model
def reactnet_resnet34(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds ReActNet on ResNet-34: stages of 6, 8, 12 and 6 binary convolutions.

    The larger network of the authors' ResNet experiments.

    **Deviations**

    - The same as for `reactnet_resnet18`.

    The minimum image size is 8 x 8.
    """
    return _resnet("reactnet_resnet34", input_shape, num_classes, include_top, (6, 8, 12, 6))


def _shortcut(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    if x.shape[-1] == filters:
        return x
    x = _pooled(x, f"{name}_shortcut_pool")
    return layers.Concatenate(name=f"{name}_shortcut_twice")([x, x])


def _prelu(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    initial = keras.initializers.Constant(0.25)
    return layers.PReLU(shared_axes=[1, 2], alpha_initializer=initial, name=name)(x)


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
    return _prelu(y, f"{name}_prelu")


@register_model
def reactnet_cifar(
    input_shape: Shape = (32, 32, 3),
    num_classes: int = 10,
    include_top: bool = True,
    width: int = 64,
) -> ZooModel:
    """Builds a small ReActNet for CIFAR images, whose binary convolutions start at half the size.

    The stem is a 3 x 3 convolution of stride 1, 2 x 2 max pooling, batch norm and PReLU. Eleven
    binary convolutions follow, 5 at a half, 5 at a quarter and 1 at an eighth of the image size,
    each with a shortcut, RSign before and RPReLU after it (ReActNet, figure 5).

    **Deviations**

    - The paper has no CIFAR network; the blocks are those of its ResNet.
    - Where the channels double, the shortcut concatenates the pooled map with itself. A real-valued
      pointwise convolution would take a fifth of the packed bytes.
    - Kernels have no scale, because the following batch norm has one.
    - The two shifts of RPReLU are omitted. Around a shortcut they are redundant: the first is part
      of the bias of the batch norm before the sum, the second is part of the next block's RSign and
      of the bias of its batch norm.

    The minimum image size is 8 x 8. `width` is the number of channels of the first stage; it
    doubles in each of the other two stages.
    """
    width = check_integer(width, "width")
    inputs = image_input(input_shape, minimum=8, name="reactnet_cifar")
    x = MaxPooling2D(2, name="stem_pool")(real_conv(inputs, width, 3, 1, "stem_conv"))
    x = _prelu(layers.BatchNormalization(name="stem_bn")(x), "stem_prelu")
    stages = stack(x, _residual_block, (5, 5, 1), (width, 2 * width, 4 * width))
    x = stages[-1]
    if include_top:
        x = classifier(x, num_classes)
    return assemble(inputs, x, stages=stages, name="reactnet_cifar")
