"""XNOR-Net: binary convolutions whose kernels have one real-valued scale per filter.

Paper:
    Rastegari, Ordonez, Redmon, Farhadi: XNOR-Net: ImageNet Classification Using Binary
    Convolutional Neural Networks, ECCV 2016, https://arxiv.org/abs/1603.05279
"""

from __future__ import annotations

import keras
from keras import layers

from bnnzoo import nn
from bnnzoo.architectures.assembly import Shape, ZooModel, assemble, image_input
from bnnzoo.architectures.blocks import softmax
from bnnzoo.architectures.channels_last import Conv2D, Flatten, MaxPooling2D, QuantConv2D
from bnnzoo.arguments import check_integer
from bnnzoo.registry import register_model

__all__ = ["xnornet", "xnornet_vgg"]

WEIGHT_DECAY = 5e-7


def _norm(x: keras.KerasTensor, name: str, epsilon: float = 1e-4) -> keras.KerasTensor:
    return layers.BatchNormalization(scale=False, momentum=0.9, epsilon=epsilon, name=name)(x)


def _block(
    x: keras.KerasTensor,
    filters: int,
    kernel_size: int,
    name: str,
    *,
    padding: str = "same",
    pool: int | None = None,
    epsilon: float = 1e-4,
) -> keras.KerasTensor:
    """BNorm - BinActiv - BinConv - Pool, as in the paper's figure of a block."""
    x = _norm(x, f"{name}_bn", epsilon)
    x = QuantConv2D(
        filters,
        kernel_size,
        padding=padding,
        use_bias=False,
        input_quantizer=nn.SteSign(),
        kernel_quantizer=nn.XnorWeightScale(),
        kernel_constraint=nn.WeightClip(),
        kernel_regularizer=keras.regularizers.L2(WEIGHT_DECAY),
        name=name,
    )(x)
    if pool:
        x = MaxPooling2D(pool, strides=2, name=f"{name}_pool")(x)
    return x


def _real_conv(
    x: keras.KerasTensor, filters: int, kernel_size: int, strides: int, name: str
) -> keras.KerasTensor:
    x = Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_regularizer=keras.regularizers.L2(WEIGHT_DECAY),
        name=name,
    )(x)
    x = _norm(x, f"{name}_bn", epsilon=1e-5)
    return layers.Activation("relu", name=f"{name}_relu")(x)


def _real_classifier(x: keras.KerasTensor, num_classes: int) -> keras.KerasTensor:
    x = _norm(x, "classifier_bn", epsilon=1e-3)
    x = layers.Activation("relu", name="classifier_relu")(x)
    x = Flatten(name="flatten")(x)
    x = layers.Dense(
        num_classes,
        use_bias=False,
        kernel_regularizer=keras.regularizers.L2(WEIGHT_DECAY),
        name="logits",
    )(x)
    return softmax(x)


@register_model
def xnornet(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds XNOR-Net's AlexNet for ImageNet.

    The network of the paper's ImageNet experiments, in the order of its blocks: batch norm, sign,
    binary convolution, pooling. The first and the last layer are real-valued. The structure and the
    order of the weights are the same as in larq-zoo's XNORNet.

    **Deviations**

    - The scale K of the input is omitted, as in larq-zoo; only the scale alpha of the weights is
      used.
    - As in larq-zoo, batch norm has no scale, max pooling is 3 x 3, and there is neither dropout
      nor bias.

    The minimum image size is 217 x 217, because the sixth layer is a 6 x 6 convolution. Without
    `include_top`, the output is that of the sixth layer, `(n, 1, 1, 4096)` at 224 x 224.
    """
    inputs = image_input(input_shape, minimum=217, name="xnornet")
    x = _real_conv(inputs, 96, 11, 4, "conv1")
    x = stage1 = MaxPooling2D(3, strides=2, name="conv1_pool")(x)
    x = stage2 = _block(x, 256, 5, "conv2", pool=3)
    x = _block(x, 384, 3, "conv3")
    x = _block(x, 384, 3, "conv4")
    x = stage3 = _block(x, 256, 3, "conv5", pool=3)
    x = _block(x, 4096, 6, "fc6", padding="valid")
    if include_top:
        x = _block(x, 4096, 1, "fc7", padding="valid")
        x = _real_classifier(x, num_classes)
    else:
        x = _norm(x, "fc7_bn")
    return assemble(inputs, x, stages=[stage1, stage2, stage3], name="xnornet")


@register_model
def xnornet_vgg(
    input_shape: Shape = (32, 32, 3),
    num_classes: int = 10,
    include_top: bool = True,
    width: int = 128,
) -> ZooModel:
    """Builds XNOR-Net's CIFAR-10 network: BinaryNet's VGG with weight scales.

    2 x 128C3 - MP2 - 2 x 256C3 - MP2 - 2 x 512C3 - MP2 - 2 x 1024FC - 10 (the network of
    https://arxiv.org/abs/1602.02830, which the paper compares with), in the order of the paper's
    blocks: batch norm, sign, binary convolution, pooling.

    **Deviations**

    - The first and the last layer are real-valued, as in the paper's ImageNet network.
    - As in `xnornet`, the scale K of the input is omitted, fully connected layers are 1 x 1
      convolutions, and details that the paper does not specify (weight decay, epsilon, no biases)
      are the same.

    The minimum image size is 8 x 8. `width` is the number of filters of the first stage; all others
    are multiples of it. `include_top` refers to the fully connected layers; without them, the
    output is the feature map `(n, h / 8, w / 8, 4 * width)`.
    """
    width = check_integer(width, "width")
    inputs = image_input(input_shape, minimum=8, name="xnornet_vgg")
    x = _real_conv(inputs, width, 3, 1, "stage1_conv1")
    x = stage1 = _block(x, width, 3, "stage1_conv2", pool=2)
    x = _block(x, 2 * width, 3, "stage2_conv1")
    x = stage2 = _block(x, 2 * width, 3, "stage2_conv2", pool=2)
    x = _block(x, 4 * width, 3, "stage3_conv1")
    x = stage3 = _block(x, 4 * width, 3, "stage3_conv2", pool=2)
    if include_top:
        x = layers.Reshape((1, 1, -1), name="to_vector")(x)
        x = _block(x, 8 * width, 1, "fc1", padding="valid")
        x = _block(x, 8 * width, 1, "fc2", padding="valid")
        x = _real_classifier(x, num_classes)
    return assemble(inputs, x, stages=[stage1, stage2, stage3], name="xnornet_vgg")
