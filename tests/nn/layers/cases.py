"""One row per quantized layer. `test_contract.py` runs every check on every row.

A new layer's test is one row here:

    LayerCase(
        nn.QuantDense,
        keras.layers.Dense,
        {"units": 5},
        (6,),
        quantizers={"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign"},
        constraints={"kernel_constraint": "weight_clip"},
    )
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from bnnzoo import nn

SIGN = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign"}
CLIP = {"kernel_constraint": "weight_clip"}
DEPTHWISE_SIGN = {"input_quantizer": "ste_sign", "depthwise_quantizer": "ste_sign"}
DEPTHWISE_CLIP = {"depthwise_constraint": "weight_clip"}
SEPARABLE_SIGN = {**DEPTHWISE_SIGN, "pointwise_quantizer": "ste_sign"}
SEPARABLE_CLIP = {**DEPTHWISE_CLIP, "pointwise_constraint": "weight_clip"}


@dataclasses.dataclass(frozen=True)
class LayerCase:
    """A layer, its Keras twin, arguments of both, and the arguments that make it binary."""

    layer: type[keras.layers.Layer]
    twin: type[keras.layers.Layer]
    arguments: dict[str, Any]
    input_shape: tuple[int, ...]
    quantizers: dict[str, Any]
    constraints: dict[str, Any]
    label: str = ""

    def __str__(self) -> str:
        return self.layer.__name__ + (f"-{self.label}" if self.label else "")

    @property
    def start(self) -> dict[str, str]:
        """Initial kernels of zeros: JAX compiles random ones anew for every shape."""
        return {name.replace("constraint", "initializer"): "zeros" for name in self.constraints}

    def real(self, cls: type[keras.layers.Layer]) -> keras.layers.Layer:
        """Returns a new layer without quantizers."""
        return cls(**self.arguments | self.start)

    def binary(self, **settings: Any) -> keras.layers.Layer:
        """Returns a new binary layer with constraints."""
        arguments = self.arguments | self.start | self.quantizers | self.constraints
        return self.layer(**arguments | settings)

    def inputs(self, rng: np.random.Generator, batch: int = 2) -> np.ndarray:
        """Returns real inputs."""
        return rng.standard_normal((batch, *self.input_shape)).astype("float32")

    def model(self, **settings: Any) -> keras.Model:
        """Returns a model of one binary layer."""
        inputs = keras.Input(self.input_shape)
        return keras.Model(inputs, self.binary(**settings)(inputs))


def randomize(layer: keras.layers.Layer, rng: np.random.Generator) -> list[np.ndarray]:
    """Sets random weights and returns them."""
    weights = [rng.standard_normal(w.shape).astype("float32") for w in layer.weights]
    layer.set_weights(weights)
    return weights


LAYERS = [
    LayerCase(nn.QuantDense, keras.layers.Dense, {"units": 5}, (6,), SIGN, CLIP),
    LayerCase(
        nn.QuantDense,
        keras.layers.Dense,
        {"units": 5, "use_bias": False, "activation": "relu"},
        (3, 6),
        SIGN,
        CLIP,
        "3d",
    ),
    LayerCase(
        nn.QuantConv1D,
        keras.layers.Conv1D,
        {"filters": 6, "kernel_size": 3, "padding": "same", "strides": 2, "activation": "tanh"},
        (9, 4),
        SIGN,
        CLIP,
    ),
    LayerCase(
        nn.QuantConv1D,
        keras.layers.Conv1D,
        {"filters": 6, "kernel_size": 3, "padding": "causal", "dilation_rate": 2},
        (9, 4),
        SIGN,
        CLIP,
        "causal",
    ),
    LayerCase(
        nn.QuantConv2D,
        keras.layers.Conv2D,
        {"filters": 6, "kernel_size": 3, "padding": "same", "strides": 2},
        (7, 6, 4),
        SIGN,
        CLIP,
    ),
    LayerCase(
        nn.QuantConv2D,
        keras.layers.Conv2D,
        {"filters": 6, "kernel_size": (3, 2), "groups": 2, "use_bias": False},
        (7, 6, 4),
        SIGN,
        CLIP,
        "groups",
    ),
    LayerCase(
        nn.QuantConv2D,
        keras.layers.Conv2D,
        {"filters": 6, "kernel_size": 3, "padding": "same", "dilation_rate": (2, 3)},
        (9, 8, 4),
        SIGN,
        CLIP,
        "dilation",
    ),
    LayerCase(
        nn.QuantConv3D,
        keras.layers.Conv3D,
        {"filters": 3, "kernel_size": 2, "padding": "same"},
        (4, 5, 3, 2),
        SIGN,
        CLIP,
    ),
    LayerCase(
        nn.QuantDepthwiseConv2D,
        keras.layers.DepthwiseConv2D,
        {"kernel_size": 3, "depth_multiplier": 2, "padding": "same", "strides": 2},
        (7, 6, 4),
        DEPTHWISE_SIGN,
        DEPTHWISE_CLIP,
    ),
    LayerCase(
        nn.QuantSeparableConv1D,
        keras.layers.SeparableConv1D,
        {"filters": 5, "kernel_size": 3, "padding": "same", "depth_multiplier": 2},
        (9, 4),
        SEPARABLE_SIGN,
        SEPARABLE_CLIP,
    ),
    LayerCase(
        nn.QuantSeparableConv2D,
        keras.layers.SeparableConv2D,
        {"filters": 5, "kernel_size": 3, "strides": 2, "activation": "relu"},
        (7, 6, 4),
        SEPARABLE_SIGN,
        SEPARABLE_CLIP,
    ),
    LayerCase(
        nn.QuantConv2DTranspose,
        keras.layers.Conv2DTranspose,
        {"filters": 3, "kernel_size": 3, "strides": 2, "output_padding": 1},
        (4, 3, 4),
        SIGN,
        CLIP,
    ),
    LayerCase(
        nn.QuantConv3DTranspose,
        keras.layers.Conv3DTranspose,
        {"filters": 3, "kernel_size": 2, "strides": 2},
        (3, 2, 3, 2),
        SIGN,
        CLIP,
    ),
]
