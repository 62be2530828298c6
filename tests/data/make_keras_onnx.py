"""Makes onnx/keras_*.onnx with Keras's export, and onnx/keras_outputs.npz: what Keras computes.

    pip install --no-deps tf2onnx==1.17.0
    python -m tests.data.make_keras_onnx

Needs bnnzoo[tensorflow]. The images are those of `outputs.npz`, channels last.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from keras import layers, ops

from bnnzoo import nn

HERE = Path(__file__).parent / "onnx"
BINARY = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign", "use_bias": False}


def signs() -> keras.Model:
    """Layers of bnnzoo.nn: borders of -1 and 0, levels, a depthwise layer, and a dense one."""
    inputs = keras.Input((16, 16, 3))
    x = nn.QuantConv2D(8, 3, kernel_quantizer="ste_sign", use_bias=False)(inputs)
    x = layers.BatchNormalization()(x)
    y = nn.QuantConv2D(8, 3, padding="same", pad_values=-1, **BINARY)(x)
    x = layers.add([layers.BatchNormalization()(y), x])
    y = nn.QuantConv2D(8, 3, 2, padding="same", **BINARY | {"input_quantizer": "dorefa"})(x)
    y = layers.BatchNormalization()(layers.PReLU(shared_axes=[1, 2])(y))
    y = nn.QuantDepthwiseConv2D(
        3, padding="same", input_quantizer="approx_sign", depthwise_quantizer="ste_sign"
    )(y)
    x = layers.concatenate([y, layers.AveragePooling2D(2, padding="same")(x)])
    x = layers.Flatten()(layers.MaxPooling2D(2)(x))
    x = layers.BatchNormalization()(x)
    return keras.Model(inputs, layers.Softmax()(nn.QuantDense(6, **BINARY)(x)))


def plain() -> keras.Model:
    """A network of real kernels with `sign`, as people write it without a library."""
    inputs = keras.Input((16, 16, 3))
    x = layers.Rescaling(0.5, offset=-0.1)(inputs)
    x = layers.ZeroPadding2D(((1, 0), (2, 1)))(x)
    x = layers.Conv2D(8, 3, strides=2, activation="relu6")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Activation(lambda t: ops.sign(t))(x)
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.Activation(lambda t: ops.where(t > 0, 1.0, -1.0))(x)
    x = layers.DepthwiseConv2D(3, use_bias=False, dilation_rate=2)(x)
    x = layers.Activation(lambda t: ops.cast(ops.sign(ops.sign(t) + 0.1), "float32"))(x)
    x = layers.UpSampling2D(2)(layers.SeparableConv2D(5, 1, activation="hard_sigmoid")(x))
    y = layers.GlobalAveragePooling2D()(x)
    z = layers.Reshape((-1,))(layers.Permute((3, 1, 2))(x))
    return keras.Model(inputs, layers.concatenate([y, layers.Dense(4, "tanh")(z)]))


NETWORKS = {"keras_signs": signs, "keras_plain": plain}


def drawn(build: object) -> keras.Model:
    """Returns a network with weights that are neither large nor zero."""
    rng = np.random.default_rng(6)
    model = build()
    for variable in model.weights:
        noise = rng.standard_normal(variable.shape) / 4
        positive = variable.name in ("gamma", "moving_variance", "alpha")
        variable.assign(np.abs(noise) + 0.5 if positive else noise)
    return model


def main() -> None:
    with np.load(HERE / "outputs.npz") as archive:
        images = archive["images"].transpose(0, 2, 3, 1)
    outputs = {}
    for name, build in NETWORKS.items():
        model = drawn(build)
        outputs[name] = np.asarray(model(images, training=False))
        model.export(str(HERE / f"{name}.onnx"), format="onnx", verbose=False)
    np.savez_compressed(HERE / "keras_outputs.npz", **outputs)


if __name__ == "__main__":
    main()
