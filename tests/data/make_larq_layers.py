"""Writes larq_layers.npz: outputs and gradients of larq's layers, for golden tests.

Runs in the peer's environment, once (Python 3.11):
    pip install larq==0.14.0 tensorflow-cpu==2.15.1
    python tests/data/make_larq_layers.py

For each case the settings (JSON), the weights, the input, the output, and the gradients of
sum(upstream * output) by the input and by every weight. Inputs and kernels are multiples of 1/8,
so that sums are exact in any order; 0.0 and -0.0 are among them.
"""

import json
from pathlib import Path

import larq
import numpy as np
import tensorflow as tf

BINARY = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign"}
TERNARY = {"input_quantizer": "approx_sign", "kernel_quantizer": "ste_tern"}
DEPTHWISE = {"input_quantizer": "ste_sign", "depthwise_quantizer": "ste_sign"}
SEPARABLE = {**DEPTHWISE, "pointwise_quantizer": "ste_sign"}
PLUS = {"padding": "same", "pad_values": 1.0}
MINUS = {"padding": "same", "pad_values": -1.0}
CASES = {
    "dense": ("QuantDense", (6,), {"units": 5, **BINARY}),
    "dense_real_input": ("QuantDense", (3, 6), {"units": 5, "kernel_quantizer": "ste_sign"}),
    "conv1d_plus": ("QuantConv1D", (9, 4), {"filters": 3, "kernel_size": 4, **PLUS, **BINARY}),
    "conv1d_causal": (
        "QuantConv1D",
        (9, 4),
        {"filters": 3, "kernel_size": 3, "padding": "causal", "dilation_rate": 2, **BINARY},
    ),
    "conv2d_valid": ("QuantConv2D", (7, 6, 4), {"filters": 3, "kernel_size": 3, **BINARY}),
    "conv2d_zero": (
        "QuantConv2D",
        (7, 6, 4),
        {"filters": 3, "kernel_size": 3, "strides": 2, "padding": "same", **BINARY},
    ),
    "conv2d_plus": ("QuantConv2D", (7, 6, 4), {"filters": 3, "kernel_size": 3, **PLUS, **BINARY}),
    "conv2d_minus": (
        "QuantConv2D",
        (7, 6, 4),
        {"filters": 3, "kernel_size": (2, 5), **MINUS, **BINARY},
    ),
    "conv2d_plus_strides": (
        "QuantConv2D",
        (8, 5, 4),
        {"filters": 3, "kernel_size": 3, "strides": (2, 3), **PLUS, **BINARY},
    ),
    "conv2d_plus_stride_over_kernel": (
        "QuantConv2D",
        (8, 7, 4),
        {"filters": 3, "kernel_size": 2, "strides": 3, **PLUS, **BINARY},
    ),
    "conv2d_minus_dilation": (
        "QuantConv2D",
        (9, 8, 4),
        {"filters": 3, "kernel_size": 3, "dilation_rate": (2, 3), **MINUS, **TERNARY},
    ),
    "conv3d_plus": (
        "QuantConv3D",
        (4, 5, 3, 2),
        {"filters": 3, "kernel_size": 2, **PLUS, **BINARY},
    ),
    "depthwise_minus": (
        "QuantDepthwiseConv2D",
        (7, 6, 4),
        {"kernel_size": 3, "strides": 2, "depth_multiplier": 2, **MINUS, **DEPTHWISE},
    ),
    "separable1d_plus": (
        "QuantSeparableConv1D",
        (9, 4),
        {"filters": 3, "kernel_size": 3, **PLUS, **SEPARABLE},
    ),
    "separable2d_minus": (
        "QuantSeparableConv2D",
        (7, 6, 4),
        {"filters": 3, "kernel_size": 3, "depth_multiplier": 2, **MINUS, **SEPARABLE},
    ),
    "transpose2d": (
        "QuantConv2DTranspose",
        (4, 3, 4),
        {"filters": 3, "kernel_size": 3, "strides": 2, "padding": "same", **BINARY},
    ),
    "transpose3d": (
        "QuantConv3DTranspose",
        (3, 2, 3, 2),
        {"filters": 3, "kernel_size": 2, "strides": 2, **BINARY},
    ),
}


def eighths(rng: np.random.Generator, shape: tuple) -> np.ndarray:
    """Returns multiples of 1/8 in [-1.5, 1.5], a few of the zeros negative."""
    values = (rng.integers(-12, 13, shape) / 8).astype("float32")
    return np.where((values == 0) & (rng.uniform(size=shape) < 0.5), np.float32(-0.0), values)


def main() -> None:
    rng = np.random.default_rng(5)
    arrays = {}
    for name, (layer_name, shape, settings) in CASES.items():
        layer = getattr(larq.layers, layer_name)(**settings)
        x = tf.Variable(eighths(rng, (2, *shape)))
        layer.build(x.shape)
        layer.set_weights([eighths(rng, weight.shape) for weight in layer.get_weights()])
        with tf.GradientTape() as tape:
            y = layer(x)
            upstream = eighths(rng, y.shape)
            total = tf.reduce_sum(y * upstream)
        latent = [getattr(w, "latent_variable", w) for w in layer.trainable_weights]
        dx, *dw = tape.gradient(total, [x, *latent])
        arrays[f"{name}/config"] = np.array(json.dumps([layer_name, settings]))
        arrays[f"{name}/x"], arrays[f"{name}/y"] = x.numpy(), y.numpy()
        arrays[f"{name}/upstream"] = upstream
        arrays[f"{name}/dx"] = dx.numpy()
        for i, (weight, gradient) in enumerate(zip(layer.get_weights(), dw, strict=True)):
            arrays[f"{name}/w{i}"], arrays[f"{name}/dw{i}"] = weight, gradient.numpy()
    np.savez_compressed(Path(__file__).with_name("larq_layers.npz"), **arrays)


if __name__ == "__main__":
    main()
