"""BinaryNet, the first networks with binary weights and binary activations.

Papers:
    Courbariaux, Hubara, Soudry, El-Yaniv, Bengio: Binarized Neural Networks: Training Neural
    Networks with Weights and Activations Constrained to +1 or -1, 2016,
    https://arxiv.org/abs/1602.02830 (the CIFAR-10 and the MNIST network);
    Hubara et al.: Binarized Neural Networks, NIPS 2016,
    https://papers.nips.cc/paper/6573-binarized-neural-networks (the ImageNet network).
"""

from __future__ import annotations

import keras
from keras import layers

from bnnzoo import nn
from bnnzoo.architectures.assembly import Shape, ZooModel, assemble, image_input
from bnnzoo.architectures.blocks import softmax
from bnnzoo.architectures.channels_last import Flatten, MaxPooling2D, QuantConv2D
from bnnzoo.arguments import check_integer
from bnnzoo.registry import register_model

__all__ = ["binary_alexnet", "binarynet", "binarynet_mlp"]


@register_model
def binarynet(
    input_shape: Shape = (32, 32, 3),
    num_classes: int = 10,
    include_top: bool = True,
    width: int = 128,
) -> ZooModel:
    """Builds BinaryNet's CIFAR-10 network.

    2 x 128C3 - MP2 - 2 x 256C3 - MP2 - 2 x 512C3 - MP2 - 2 x 1024FC - 10, a VGG in which every
    layer is binary and followed by batch norm (sections 2.3 and 2.4, "ConvNet on CIFAR-10", of
    https://arxiv.org/abs/1602.02830; momentum and epsilon as in its code). Pooling comes before the
    batch norm, so its inputs are integers. The input of the first layer is real-valued.

    **Deviations**

    - The output is a softmax; the paper trains with an L2-SVM loss on the same ten numbers.
    - There are no biases, because the batch norm after each layer has one.

    The minimum image size is 8 x 8. `width` is the number of filters of the first stage; all others
    are multiples of it (2, 4 and 8 times). `include_top` refers to the fully connected layers;
    without them, the output is the feature map `(n, h / 8, w / 8, 4 * width)`.
    """
    width = check_integer(width, "width")
    inputs = x = image_input(input_shape, minimum=8, name="binarynet")
    stages = []
    for stage, filters in enumerate((width, 2 * width, 4 * width), start=1):
        name = f"stage{stage}"
        x = _vgg_conv(x, filters, f"{name}_conv1", real_input=stage == 1)
        x = _vgg_conv(x, filters, f"{name}_conv2", pool=True)
        stages.append(x)
    if include_top:
        x = Flatten(name="flatten")(x)
        x = _dense(x, 8 * width, "fc1")
        x = _dense(x, 8 * width, "fc2")
        x = _dense(x, num_classes, "logits")
        x = softmax(x)
    return assemble(inputs, x, stages=stages, name="binarynet")


def _vgg_conv(
    x: keras.KerasTensor, filters: int, name: str, *, pool: bool = False, real_input: bool = False
) -> keras.KerasTensor:
    x = QuantConv2D(
        filters,
        3,
        padding="same",
        use_bias=False,
        input_quantizer=None if real_input else nn.SteSign(),
        kernel_quantizer=nn.SteSign(),
        kernel_constraint=nn.WeightClip(),
        name=name,
    )(x)
    if pool:
        x = MaxPooling2D(2, name=f"{name}_pool")(x)
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-4, name=f"{name}_bn")(x)


def _dense(
    x: keras.KerasTensor, units: int, name: str, *, real_input: bool = False
) -> keras.KerasTensor:
    x = nn.QuantDense(
        units,
        use_bias=False,
        input_quantizer=None if real_input else nn.SteSign(),
        kernel_quantizer=nn.SteSign(),
        kernel_constraint=nn.WeightClip(),
        name=name,
    )(x)
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-4, name=f"{name}_bn")(x)


@register_model
def binarynet_mlp(
    input_shape: Shape = (28, 28, 1),
    num_classes: int = 10,
    include_top: bool = True,
    width: int = 2048,
) -> ZooModel:
    """Builds BinaryNet's MNIST network: three binary hidden layers, batch norm after every layer.

    Section 2.2, "MLP on MNIST (Torch7)", of https://arxiv.org/abs/1602.02830: 2048 units per layer
    and no dropout (the Theano experiment of section 2.1 uses 4096 units and dropout).

    **Deviations**

    - The output is a softmax; the paper trains with an L2-SVM loss.
    - There are no biases, because the batch norm after each layer has one.

    Images can have any size, and are flattened. `width` is the number of units of each hidden
    layer. Without `include_top`, the output is that of the last hidden layer, `(n, width)`.
    """
    width = check_integer(width, "width")
    inputs = image_input(input_shape, minimum=1, name="binarynet_mlp")
    x = Flatten(name="flatten")(inputs)
    stages = []
    for hidden in (1, 2, 3):
        x = _dense(x, width, f"fc{hidden}", real_input=hidden == 1)
        stages.append(x)
    if include_top:
        x = _dense(x, num_classes, "logits")
        x = softmax(x)
    return assemble(inputs, x, stages=stages, name="binarynet_mlp")


@register_model
def binary_alexnet(
    input_shape: Shape = (224, 224, 3), num_classes: int = 1000, include_top: bool = True
) -> ZooModel:
    """Builds BinaryNet's ImageNet network, an AlexNet in which every layer is binary.

    The ImageNet experiment of https://papers.nips.cc/paper/6573-binarized-neural-networks. The
    structure and the order of the weights are the same as in larq-zoo's BinaryAlexNet.

    **Deviations**

    - As in larq-zoo: fully connected layers are 1 x 1 convolutions of the flattened map, batch norm
      has no scale, and there is neither dropout nor shift-based batch norm.

    The minimum image size is 57 x 57. The image size determines the size of the first fully
    connected layer. `include_top` refers to the fully connected layers.
    """
    inputs = x = image_input(input_shape, minimum=57, name="binary_alexnet")
    x = stage1 = _alexnet_conv(x, 64, 11, "conv1", strides=4, pool=True, real_input=True)
    x = stage2 = _alexnet_conv(x, 192, 5, "conv2", pool=True)
    x = _alexnet_conv(x, 384, 3, "conv3")
    x = _alexnet_conv(x, 384, 3, "conv4")
    x = stage3 = _alexnet_conv(x, 256, 3, "conv5", pool=True)
    if include_top:
        x = layers.Reshape((1, 1, -1), name="flatten")(x)
        x = _alexnet_conv(x, 4096, 1, "fc6")
        x = _alexnet_conv(x, 4096, 1, "fc7")
        x = _alexnet_conv(x, num_classes, 1, "fc8")
        x = Flatten(name="logits")(x)
        x = softmax(x)
    return assemble(inputs, x, stages=[stage1, stage2, stage3], name="binary_alexnet")


def _alexnet_conv(
    x: keras.KerasTensor,
    filters: int,
    kernel_size: int,
    name: str,
    *,
    strides: int = 1,
    pool: bool = False,
    real_input: bool = False,
) -> keras.KerasTensor:
    x = QuantConv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="valid" if kernel_size == 1 else "same",
        use_bias=False,
        input_quantizer=None if real_input else nn.SteSign(),
        kernel_quantizer=nn.SteSign(),
        kernel_constraint=nn.WeightClip(),
        name=name,
    )(x)
    if pool:
        x = MaxPooling2D(3, strides=2, name=f"{name}_pool")(x)
    return layers.BatchNormalization(scale=False, momentum=0.9, name=f"{name}_bn")(x)
