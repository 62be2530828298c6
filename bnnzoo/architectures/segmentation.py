"""Heads for semantic segmentation: real-valued layers that classify every pixel.

A head reads one feature map. `pixel_classifier` turns its result into probabilities in the size of
the image.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import layers

from bnnzoo.architectures.assembly import Shape, ZooModel, assemble
from bnnzoo.architectures.blocks import norm, real_conv, softmax
from bnnzoo.architectures.channels_last import Conv2D, GlobalAveragePooling2D, Resizing
from bnnzoo.errors import ArgumentError

__all__ = ["HEADS", "aspp_head", "fcn_head", "pixel_classifier", "segmenter"]

ASPP_FILTERS = 256
# Rates of ASPP at an output stride of 1: 6, 12 and 18 at 16, twice as much at 8.
ASPP_RATES = (96, 192, 288)


def fcn_head(x: keras.KerasTensor, output_stride: int | None = None) -> keras.KerasTensor:
    """A 3 x 3 convolution with a quarter of the channels, batch norm and ReLU.

    Args:
        x: The feature map.
        output_stride: Not used.

    Reference:
        Long et al. 2015, Fully Convolutional Networks for Semantic Segmentation,
        https://arxiv.org/abs/1411.4038. The hidden convolution is that of torchvision's FCN.
    """
    return _conv(x, max(x.shape[-1] // 4, 1), 3, "pixel_head")


def aspp_head(x: keras.KerasTensor, output_stride: int) -> keras.KerasTensor:
    """Atrous spatial pyramid pooling: convolutions of several dilation rates side by side.

    A 1 x 1 convolution, three 3 x 3 convolutions of the dilation rates 6, 12 and 18 (at an output
    stride of 16, otherwise in inverse proportion to it), and a 1 x 1 convolution of the mean of all
    pixels. They are concatenated and joined by a 1 x 1 convolution. Each has 256 filters, batch
    norm and ReLU.

    Args:
        x: The feature map.
        output_stride: Image size divided by the size of `x`.

    Reference:
        Chen et al. 2017, Rethinking Atrous Convolution for Semantic Image Segmentation,
        https://arxiv.org/abs/1706.05587
    """
    branches = [_conv(x, ASPP_FILTERS, 1, "pixel_head_point")]
    for place, rate in enumerate(ASPP_RATES, start=1):
        rate = max(round(rate / output_stride), 1)
        branches.append(_conv(x, ASPP_FILTERS, 3, f"pixel_head_atrous{place}", rate))
    image = GlobalAveragePooling2D(keepdims=True, name="pixel_head_image_pool")(x)
    image = _conv(image, ASPP_FILTERS, 1, "pixel_head_image")
    branches.append(Resizing(*x.shape[1:3], "nearest", name="pixel_head_image_resized")(image))
    joined = layers.Concatenate(name="pixel_head_concat")(branches)
    return _conv(joined, ASPP_FILTERS, 1, "pixel_head")


def _conv(
    x: keras.KerasTensor, filters: int, kernel_size: int, name: str, rate: int = 1
) -> keras.KerasTensor:
    """A real-valued convolution, batch norm and ReLU."""
    x = real_conv(x, filters, kernel_size, 1, f"{name}_conv", "he_normal", dilation_rate=rate)
    return layers.Activation("relu", name=f"{name}_relu")(norm(x, f"{name}_bn"))


HEADS: dict[str, Callable[[keras.KerasTensor, int], keras.KerasTensor]] = {
    "fcn": fcn_head,
    "aspp": aspp_head,
}


def pixel_classifier(
    x: keras.KerasTensor, num_classes: int, input_shape: Shape
) -> keras.KerasTensor:
    """Probabilities `(n, h, w, num_classes)`: a 1 x 1 convolution, bilinear upsampling, softmax.

    Args:
        x: The result of a head.
        num_classes: Number of classes.
        input_shape: `(h, w, c)` of the images.
    """
    x = Conv2D(num_classes, 1, name="logits")(x)
    resize = Resizing(*input_shape[:2], "bilinear", dtype="float32", name="pixel_head_resized")
    return softmax(resize(x))


def segmenter(
    backbone: ZooModel, num_classes: int, head: str = "fcn", output_stride: int | None = None
) -> ZooModel:
    """Returns a network for semantic segmentation on the layers of another network.

    Args:
        backbone: A network without its classifier.
        num_classes: Number of classes.
        head: One of `HEADS`.
        output_stride: Image size divided by the size of the feature map that the head reads, the
            last one of this reduction. Defaults to that of the last feature map; higher stages are
            dropped.

    Raises:
        ArgumentError: The head is unknown, or no stage has this output stride.
    """
    if head not in HEADS:
        raise ArgumentError(f"head must be one of {tuple(HEADS)}, got {head!r}. Choose one.")
    maps = [info for info in backbone.feature_info if _is_map(backbone, info.name)]
    reductions = [info.reduction for info in maps]
    wanted = output_stride or (reductions[-1] if reductions else None)
    if wanted not in reductions:
        raise ArgumentError(
            f"output_stride of {backbone.name} must be one of {tuple(dict.fromkeys(reductions))}, "
            f"the reductions of its stages, got {wanted}. Choose one."
        )
    last = max(place for place, reduction in enumerate(reductions) if reduction == wanted)
    stages = [backbone.get_layer(info.name).output for info in maps[: last + 1]]
    outputs = pixel_classifier(
        HEADS[head](stages[-1], wanted), num_classes, backbone.input_shape[1:]
    )
    return assemble(backbone.input, outputs, stages=stages, name=f"{backbone.name}_{head}")


def _is_map(backbone: ZooModel, stage: str) -> bool:
    return len(backbone.get_layer(stage).output.shape) == 4
