"""Layers that decoders are made of, as `keras_cases` has others."""

from __future__ import annotations

from functools import partial
from typing import Any

from keras import layers

from bnnzoo import nn

__all__ = ["BINARY", "DECODERS", "IMAGE", "SEQUENCE"]

IMAGE = (6, 7, 4)
SEQUENCE = (9, 4)
BINARY = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign"}

DECODERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "QuantConv2DTranspose": (
        partial(nn.QuantConv2DTranspose, 5, 3, strides=2, padding="same", **BINARY),
        IMAGE,
    ),
    "QuantConv2DTranspose valid": (
        partial(nn.QuantConv2DTranspose, 5, (2, 4), strides=(3, 2), output_padding=1, **BINARY),
        IMAGE,
    ),
    "QuantConv2DTranspose dorefa": (
        partial(
            nn.QuantConv2DTranspose,
            3,
            4,
            strides=2,
            padding="same",
            input_quantizer=nn.DoReFa(2),
            kernel_quantizer="ste_sign",
        ),
        IMAGE,
    ),
    "QuantConv2DTranspose scaled": (
        partial(
            nn.QuantConv2DTranspose,
            3,
            2,
            strides=2,
            input_quantizer="ste_sign",
            kernel_quantizer="magnitude_aware_sign",
        ),
        IMAGE,
    ),
    "Conv1DTranspose": (partial(layers.Conv1DTranspose, 3, 4, strides=2), SEQUENCE),
    "Conv2DTranspose": (
        partial(layers.Conv2DTranspose, 3, 4, strides=2, padding="same", activation="relu"),
        IMAGE,
    ),
    "Conv2DTranspose dilation": (
        partial(layers.Conv2DTranspose, 3, 3, dilation_rate=2, padding="same", use_bias=False),
        IMAGE,
    ),
    "UpSampling1D": (partial(layers.UpSampling1D, 3), SEQUENCE),
    "UpSampling2D": (partial(layers.UpSampling2D, (2, 3)), IMAGE),
    "UpSampling2D bilinear": (partial(layers.UpSampling2D, interpolation="bilinear"), IMAGE),
    "Resizing": (partial(layers.Resizing, 9, 4), IMAGE),
    "Resizing nearest": (partial(layers.Resizing, 4, 11, interpolation="nearest"), IMAGE),
    "Cropping1D": (partial(layers.Cropping1D, (1, 2)), SEQUENCE),
    "Cropping2D": (partial(layers.Cropping2D, ((1, 2), (0, 3))), IMAGE),
}
