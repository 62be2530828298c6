"""Keras layers that quantize their input and kernels at every call, and learnable activations."""

from __future__ import annotations

from bnnzoo.nn.layers.adaptive import AdaptiveSign, Maxout
from bnnzoo.nn.layers.convolutional import (
    QuantConv1D,
    QuantConv2D,
    QuantConv3D,
    QuantDepthwiseConv2D,
)
from bnnzoo.nn.layers.dense import QuantDense
from bnnzoo.nn.layers.mixing import ChannelMix, SoftGate
from bnnzoo.nn.layers.pooling import MaxPooling2D
from bnnzoo.nn.layers.quantized_layer import QuantizedLayer, StarvedWeightsWarning
from bnnzoo.nn.layers.separable import QuantSeparableConv1D, QuantSeparableConv2D
from bnnzoo.nn.layers.shifting import LearnableShift, RPReLU
from bnnzoo.nn.layers.transposed import QuantConv2DTranspose, QuantConv3DTranspose

__all__ = [
    "AdaptiveSign",
    "ChannelMix",
    "LearnableShift",
    "MaxPooling2D",
    "Maxout",
    "QuantConv1D",
    "QuantConv2D",
    "QuantConv2DTranspose",
    "QuantConv3D",
    "QuantConv3DTranspose",
    "QuantDense",
    "QuantDepthwiseConv2D",
    "QuantSeparableConv1D",
    "QuantSeparableConv2D",
    "QuantizedLayer",
    "RPReLU",
    "SoftGate",
    "StarvedWeightsWarning",
]
