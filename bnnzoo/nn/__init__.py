"""Building blocks of binarized networks on Keras 3: `bnnzoo.nn.QuantConv2D`, `bnnzoo.nn.SteSign`.

All blocks use only `keras.ops`, and run on TensorFlow, JAX and torch.
"""

from __future__ import annotations

from bnnzoo.errors import naming_keras_extras

with naming_keras_extras():
    import keras  # noqa: F401

from bnnzoo.nn import pickling, quantizers  # noqa: F401
from bnnzoo.nn.activations import hard_tanh, leaky_tanh
from bnnzoo.nn.callbacks import (
    AnnealQuantizers,
    FlipRatioLogger,
    HyperparameterScheduler,
    anneal,
)
from bnnzoo.nn.constraints import WeightClip
from bnnzoo.nn.latent_weights import BinaryKernel, binary_weights, quantized_scope
from bnnzoo.nn.layers import (
    AdaptiveSign,
    ChannelMix,
    LearnableShift,
    Maxout,
    MaxPooling2D,
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
    SoftGate,
    StarvedWeightsWarning,
)
from bnnzoo.nn.metrics import FlipRatio
from bnnzoo.nn.optimizers import Bop, CaseOptimizer
from bnnzoo.nn.quantizers import (
    AnnealedQuantizer,
    ApproxSign,
    CenteredSign,
    DoReFa,
    DoReFaSign,
    ErrorDecaySign,
    LibraSign,
    MagnitudeAwareSign,
    NoOp,
    Quantizer,
    ReCU,
    SteHeaviside,
    SteSign,
    SteTern,
    SwishSign,
    XnorWeightScale,
)

__all__ = [
    "AdaptiveSign",
    "AnnealQuantizers",
    "AnnealedQuantizer",
    "ApproxSign",
    "BinaryKernel",
    "Bop",
    "CaseOptimizer",
    "CenteredSign",
    "ChannelMix",
    "DoReFa",
    "DoReFaSign",
    "ErrorDecaySign",
    "FlipRatio",
    "FlipRatioLogger",
    "HyperparameterScheduler",
    "LearnableShift",
    "LibraSign",
    "MagnitudeAwareSign",
    "MaxPooling2D",
    "Maxout",
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
    "ReCU",
    "SoftGate",
    "StarvedWeightsWarning",
    "SteHeaviside",
    "SteSign",
    "SteTern",
    "SwishSign",
    "WeightClip",
    "XnorWeightScale",
    "anneal",
    "binary_weights",
    "hard_tanh",
    "leaky_tanh",
    "quantized_scope",
    "quantizers",
]


def __dir__() -> list[str]:
    return sorted(__all__)
