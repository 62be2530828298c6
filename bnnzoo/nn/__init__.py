"""Building blocks of binarized networks on Keras 3: `bnnzoo.nn.QuantConv2D`, `bnnzoo.nn.SteSign`.

All blocks use only `keras.ops`, and run on TensorFlow, JAX and torch.
"""

from __future__ import annotations

from bnnzoo.errors import naming_keras_extras

with naming_keras_extras():
    import keras  # noqa: F401

from bnnzoo.nn import pickling, quantizers  # noqa: F401
from bnnzoo.nn.activations import hard_tanh, leaky_tanh
from bnnzoo.nn.callbacks import FlipRatioLogger, HyperparameterScheduler
from bnnzoo.nn.constraints import WeightClip
from bnnzoo.nn.latent_weights import BinaryKernel, binary_weights, quantized_scope
from bnnzoo.nn.layers import (
    LearnableShift,
    QuantConv1D,
    QuantConv2D,
    QuantConv2DTranspose,
    QuantConv3D,
    QuantConv3DTranspose,
    QuantDense,
    QuantDepthwiseConv2D,
    QuantSeparableConv1D,
    QuantSeparableConv2D,
    RPReLU,
    StarvedWeightsWarning,
)
from bnnzoo.nn.metrics import FlipRatio
from bnnzoo.nn.optimizers import Bop, CaseOptimizer
from bnnzoo.nn.quantizers import (
    ApproxSign,
    DoReFa,
    DoReFaSign,
    MagnitudeAwareSign,
    NoOp,
    Quantizer,
    SteHeaviside,
    SteSign,
    SteTern,
    SwishSign,
    XnorWeightScale,
)

__all__ = [
    "ApproxSign",
    "BinaryKernel",
    "Bop",
    "CaseOptimizer",
    "DoReFa",
    "DoReFaSign",
    "FlipRatio",
    "FlipRatioLogger",
    "HyperparameterScheduler",
    "LearnableShift",
    "MagnitudeAwareSign",
    "NoOp",
    "QuantConv1D",
    "QuantConv2D",
    "QuantConv2DTranspose",
    "QuantConv3D",
    "QuantConv3DTranspose",
    "QuantDense",
    "QuantDepthwiseConv2D",
    "QuantSeparableConv1D",
    "QuantSeparableConv2D",
    "Quantizer",
    "RPReLU",
    "StarvedWeightsWarning",
    "SteHeaviside",
    "SteSign",
    "SteTern",
    "SwishSign",
    "WeightClip",
    "XnorWeightScale",
    "binary_weights",
    "hard_tanh",
    "leaky_tanh",
    "quantized_scope",
    "quantizers",
]
