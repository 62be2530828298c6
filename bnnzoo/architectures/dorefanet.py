"""DoReFa-Net: binary weights and activations of a few bits.

Paper:
    Zhou, Wu, Ni, Zhou, Wen, Zou: DoReFa-Net: Training Low Bitwidth Convolutional Neural Networks
    with Low Bitwidth Gradients, 2016, https://arxiv.org/abs/1606.06160
"""

from __future__ import annotations

import keras
from keras import layers

from bnnzoo import nn
from bnnzoo.architectures.assembly import Shape, ZooModel, assemble, image_input
from bnnzoo.architectures.blocks import softmax
from bnnzoo.architectures.channels_last import Conv2D, Flatten, MaxPooling2D, QuantConv2D
from bnnzoo.registry import register_model

__all__ = ["dorefanet"]


@register_model
def dorefanet(
    input_shape: Shape = (224, 224, 3),
    num_classes: int = 1000,
    include_top: bool = True,
    activation_bits: int = 2,
) -> ZooModel:
    """Builds DoReFa-Net's AlexNet for ImageNet: 1-bit weights, 2-bit activations.

    The network of the paper's ImageNet experiments. The weights follow its equation for one bit
    (section 2.3), `sign(w) * mean |w|`, with one scale per layer and the gradient passed through
    unchanged. The first and the last layer are real-valued. The structure and the order of the
    weights are the same as in larq-zoo's DoReFaNet.

    **Deviations**

    - Gradients have full precision, as in larq-zoo.
    - As in larq-zoo, convolutions are not grouped, batch norm has no scale, and there is no
      dropout.

    The minimum image size is 44 x 44. The image size determines the size of the first fully
    connected layer. `include_top` refers to the fully connected layers. `activation_bits` is A in
    the paper.
    """
    inputs = image_input(input_shape, minimum=44, name="dorefanet")
    x = Conv2D(96, 12, strides=4, name="conv1")(inputs)
    x = stage1 = _conv(x, 256, 5, "conv2", activation_bits, pool_padding="same")
    x = stage2 = _conv(x, 384, 3, "conv3", activation_bits, pool_padding="same")
    x = _conv(x, 384, 3, "conv4", activation_bits)
    x = stage3 = _conv(x, 256, 3, "conv5", activation_bits, pool_padding="valid")
    if include_top:
        x = Flatten(name="flatten")(x)
        x = _dense(x, 4096, "fc6", activation_bits)
        x = _dense(x, 4096, "fc7", activation_bits)
        x = layers.ReLU(max_value=1.0, name="fc7_clip")(x)
        x = layers.Dense(num_classes, name="logits")(x)
        x = softmax(x)
    return assemble(inputs, x, stages=[stage1, stage2, stage3], name="dorefanet")


def _norm(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.BatchNormalization(scale=False, momentum=0.9, epsilon=1e-4, name=name)(x)


def _conv(
    x: keras.KerasTensor,
    filters: int,
    kernel_size: int,
    name: str,
    activation_bits: int,
    *,
    pool_padding: str | None = None,
) -> keras.KerasTensor:
    x = QuantConv2D(
        filters,
        kernel_size,
        padding="same",
        use_bias=False,
        input_quantizer=nn.DoReFa(activation_bits),
        kernel_quantizer=nn.DoReFaSign(),
        name=name,
    )(x)
    x = _norm(x, f"{name}_bn")
    if pool_padding:
        x = MaxPooling2D(3, strides=2, padding=pool_padding, name=f"{name}_pool")(x)
    return x


def _dense(x: keras.KerasTensor, units: int, name: str, activation_bits: int) -> keras.KerasTensor:
    x = nn.QuantDense(
        units,
        use_bias=False,
        input_quantizer=nn.DoReFa(activation_bits),
        kernel_quantizer=nn.DoReFaSign(),
        name=name,
    )(x)
    return _norm(x, f"{name}_bn")
