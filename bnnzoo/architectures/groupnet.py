"""Group-Net: each block is a sum of binary blocks, the bases.

For segmentation, the last stages keep their resolution, and each base has another dilation rate
(BPAC, binary parallel atrous convolution): together they see several scales for the same cost.

Paper:
    Zhuang, Shen, Tan, Liu, Reid: Structured Binary Neural Networks for Accurate Image
    Classification and Semantic Segmentation, CVPR 2019, https://arxiv.org/abs/1811.10413
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers

from bnnzoo import nn
from bnnzoo.architectures.arguments import takes_small_stem
from bnnzoo.architectures.assembly import Shape, ZooModel, assemble, image_input
from bnnzoo.architectures.blocks import classifier, norm, real_conv
from bnnzoo.architectures.channels_last import MaxPooling2D, QuantConv2D
from bnnzoo.architectures.segmentation import fcn_head, pixel_classifier
from bnnzoo.arguments import check_integer
from bnnzoo.errors import ArgumentError
from bnnzoo.registry import register_model

__all__ = ["WeightedSum", "groupnet18", "groupnet18_scales", "groupnet18_segmentation"]

OUTPUT_STRIDES = (8, 16, 32)

Bases = list[keras.KerasTensor]
# Maps the outputs of the bases to the bases of the next block, and to the output of the block.
Combine = Callable[[Bases, str], tuple[Bases, keras.KerasTensor]]


@keras.saving.register_keras_serializable(package="bnnzoo")
class WeightedSum(layers.Layer):
    """Computes the weighted sum of feature maps with trainable scales.

    y = sum over k of scale_k x_k.

    Input shape:
        A list of tensors of the same shape.
    Output shape:
        Same as one input.
    """

    def build(self, input_shape: Any) -> None:
        """Creates the scales, which are initialized to 1 / (number of inputs)."""
        count = len(input_shape)
        start = keras.initializers.Constant(1 / count)
        self.scale = self.add_weight(shape=(count,), initializer=start, name="scale")
        self.built = True

    def call(self, inputs: list[Any]) -> Any:
        """Returns the sum."""
        scale = keras.ops.cast(self.scale, inputs[0].dtype)
        return sum(scale[k] * x for k, x in enumerate(inputs))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape of one input."""
        return input_shape[0]


def _mean(bases: Bases, name: str) -> tuple[Bases, keras.KerasTensor]:
    """Returns the mean of the bases; the first base becomes the sum, as in the authors' code."""
    total = layers.Add(name=f"{name}_sum")(bases)
    return [total, *bases[1:]], layers.Rescaling(1 / len(bases), name=f"{name}_mean")(total)


def _weighted(bases: Bases, name: str) -> tuple[Bases, keras.KerasTensor]:
    return bases, WeightedSum(name=f"{name}_sum")(bases)


def _binary_conv(
    filters: int, kernel_size: int, strides: int, name: str, rate: int = 1
) -> layers.Layer:
    """A binary convolution, padded with +1, with one scale for the whole kernel."""
    return QuantConv2D(
        filters,
        kernel_size,
        strides=strides,
        dilation_rate=rate,
        padding=rate * (kernel_size // 2),
        pad_values=1.0,
        use_bias=False,
        input_quantizer=nn.ApproxSign(),
        kernel_quantizer=nn.DoReFaSign(),
        kernel_initializer="glorot_normal",
        name=name,
    )


def _unit(
    x: keras.KerasTensor,
    shortcut: keras.KerasTensor,
    filters: int,
    strides: int,
    rate: int,
    name: str,
) -> keras.KerasTensor:
    """Returns BN(relu(bconv(sign(x)))) + shortcut."""
    y = _binary_conv(filters, 3, strides, f"{name}_conv", rate)(x)
    y = norm(layers.Activation("relu", name=f"{name}_relu")(y), f"{name}_bn")
    return layers.Add(name=f"{name}_add")([y, shortcut])


def _block(
    bases: Bases,
    mean: keras.KerasTensor,
    filters: int,
    strides: int,
    rates: Sequence[int],
    name: str,
) -> Bases:
    """Two binary convolutions per base. The input of each base is mixed with the mean by a gate.

    `rates` has the dilation rate of each base.
    """
    widens = mean.shape[-1] != filters
    gate = nn.SoftGate(name=f"{name}_gate")
    conv = _binary_conv(filters, 1, strides, f"{name}_shortcut_conv") if widens else None
    bn = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_shortcut_bn")
    outputs = []
    for base, (x, rate) in enumerate(zip(bases, rates, strict=True), start=1):
        z = mean if x is mean else gate([x, mean])
        shortcut = z if conv is None else bn(conv(z))
        y = _unit(z, shortcut, filters, strides, rate, f"{name}_base{base}_unit1")
        outputs.append(_unit(y, y, filters, 1, rate, f"{name}_base{base}_unit2"))
    return outputs


def _atrous_rates(bases: int, dilated: int) -> tuple[int, ...]:
    """Returns the dilation rates of the bases: for five, 2 to 6 and then 6 to 10.

    Args:
        bases: Number of bases.
        dilated: How many stages in succession kept their resolution, with this one.
    """
    if dilated == 0:
        return (1,) * bases
    first = 2 + (dilated - 1) * (bases - 1)
    return tuple(range(first, first + bases))


def _groupnet(
    name: str,
    input_shape: Shape,
    num_classes: int,
    include_top: bool,
    bases: int,
    combine: Combine,
    *,
    stem_bias: bool = False,
    output_stride: int | None = None,
) -> ZooModel:
    """Returns a network for classification, or with an `output_stride`, for segmentation."""
    bases = check_integer(bases, "bases")
    inputs = image_input(input_shape, minimum=8, name=name)
    small = takes_small_stem(input_shape)
    kernel_size, strides = (3, 1) if small else (7, 2)
    x = real_conv(inputs, 64, kernel_size, strides, "stem_conv", symmetric=True, use_bias=stem_bias)
    if not small:
        x = MaxPooling2D(3, strides=2, padding=1, name="stem_pool")(x)
    x = norm(x, "stem_bn")
    maps = [x] * bases
    stages = []
    reduction, dilated = 1 if small else 4, 0
    for stage, filters in enumerate((64, 128, 256, 512), start=1):
        halves = stage > 1 and (output_stride is None or 2 * reduction <= output_stride)
        reduction, dilated = (2 * reduction, 0) if halves else (reduction, dilated + (stage > 1))
        rates = _atrous_rates(bases, dilated)
        for block in (1, 2):
            place = f"stage{stage}_block{block}"
            strides = 2 if halves and block == 1 else 1
            maps, x = combine(_block(maps, x, filters, strides, rates, place), place)
        stages.append(x)
    if include_top and output_stride is None:
        x = classifier(x, num_classes)
    elif include_top:
        x = pixel_classifier(fcn_head(x), num_classes, input_shape)
    return assemble(inputs, x, stages=stages, name=name)


@register_model
def groupnet18(
    input_shape: Shape = (224, 224, 3),
    num_classes: int = 1000,
    include_top: bool = True,
    bases: int = 5,
) -> ZooModel:
    """Builds Group-Net on ResNet-18: four stages of two blocks, each of five bases.

    The paper's network with soft gates between the blocks. The output of a block is the mean of its
    bases.

    **Deviations**

    - For inputs below 64 pixels, the stem is a 3 x 3 convolution of stride 1 without pooling.
    - As in the authors' code, the next block reads the sum of all bases as its first base.

    The minimum image size is 8 x 8. `bases` is the number of bases.
    """
    return _groupnet("groupnet18", input_shape, num_classes, include_top, bases, _mean)


@register_model
def groupnet18_scales(
    input_shape: Shape = (224, 224, 3),
    num_classes: int = 1000,
    include_top: bool = True,
    bases: int = 5,
) -> ZooModel:
    """Builds Group-Net on ResNet-18 with a learned scale for each base.

    The output of a block is the sum of its bases times their scales. As in the authors' code, the
    stem has a bias.

    **Deviations**

    - For inputs below 64 pixels, the stem is a 3 x 3 convolution of stride 1 without pooling.

    The minimum image size is 8 x 8. `bases` is the number of bases.
    """
    return _groupnet(
        "groupnet18_scales", input_shape, num_classes, include_top, bases, _weighted, stem_bias=True
    )


@register_model
def groupnet18_segmentation(
    input_shape: Shape = (224, 224, 3),
    num_classes: int = 21,
    include_top: bool = True,
    bases: int = 5,
    output_stride: int = 8,
) -> ZooModel:
    """Builds Group-Net on ResNet-18 for semantic segmentation, with BPAC.

    The paper's network with soft gates. Stages that would exceed the output stride keep their
    resolution, and the binary 3 x 3 convolutions of their bases are dilated: by 2, 3, 4, 5 and 6 in
    the first of these stages, by 6, 7, 8, 9 and 10 in the second.

    **Deviations**

    - The same as for `groupnet18`. The authors' code gives all bases of a stage its highest rate;
      here each base has its own, as in the paper.
    - The head is that of `bnnzoo.load` with `head="fcn"`, on the last stage.
    - With `output_stride=16` only the last stage is dilated, by 2 to 6; with 32 none is.

    The minimum image size is 8 x 8. `bases` is the number of bases. `output_stride` is the input
    size divided by the size of the last feature map: 8, 16 or 32. The output has the size of the
    input, with a probability of each class at each pixel.
    """
    if output_stride not in OUTPUT_STRIDES:
        raise ArgumentError(
            f"output_stride must be one of {OUTPUT_STRIDES}, got {output_stride!r}. Choose one."
        )
    return _groupnet(
        "groupnet18_segmentation", input_shape, num_classes, include_top, bases, _mean,
        output_stride=output_stride,
    )  # fmt: skip
