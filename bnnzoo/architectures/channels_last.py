"""Layers for images `(n, h, w, c)`, independent of `image_data_format` in Keras's settings.

The networks of the zoo, their weights and their preprocessing are channels last. A layer without an
explicit `data_format` computes something else if `~/.keras/keras.json` sets `channels_first`.
"""

from __future__ import annotations

from functools import partial

from keras import layers

from bnnzoo import nn

__all__ = [
    "AveragePooling2D",
    "Conv2D",
    "DepthwiseConv2D",
    "Flatten",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "MaxPooling2D",
    "QuantConv2D",
    "QuantDepthwiseConv2D",
    "Resizing",
    "ZeroPadding2D",
]

AveragePooling2D = partial(layers.AveragePooling2D, data_format="channels_last")
Conv2D = partial(layers.Conv2D, data_format="channels_last")
DepthwiseConv2D = partial(layers.DepthwiseConv2D, data_format="channels_last")
Flatten = partial(layers.Flatten, data_format="channels_last")
GlobalAveragePooling2D = partial(layers.GlobalAveragePooling2D, data_format="channels_last")
GlobalMaxPooling2D = partial(layers.GlobalMaxPooling2D, data_format="channels_last")
MaxPooling2D = partial(nn.MaxPooling2D, data_format="channels_last")
QuantConv2D = partial(nn.QuantConv2D, data_format="channels_last")
QuantDepthwiseConv2D = partial(nn.QuantDepthwiseConv2D, data_format="channels_last")
Resizing = partial(layers.Resizing, data_format="channels_last")
ZeroPadding2D = partial(layers.ZeroPadding2D, data_format="channels_last")
