"""Makes `tflite/*.tflite` with TensorFlow's own converter, and what its interpreter computes.

    python make_tflite_goldens.py

Needs bnnzoo[tensorflow]. `tflite/outputs.npz` has the outputs for the images of
`RandomState(1).standard_normal((3, h, w, c))`.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from bnnzoo import nn

FOLDER = Path(__file__).parent / "tflite"
BINARY = {
    "input_quantizer": "ste_sign",
    "kernel_quantizer": "ste_sign",
    "kernel_constraint": "weight_clip",
    "use_bias": False,
}


def signs(batch):
    """Layers of bnnzoo.nn with signs on both sides; the first one has a real input."""
    first = {**BINARY, "input_quantizer": None}
    depthwise = {
        "input_quantizer": "ste_sign",
        "depthwise_quantizer": "ste_sign",
        "depthwise_constraint": "weight_clip",
        "use_bias": False,
    }
    return keras.Sequential([
        keras.Input(batch_shape=(batch, 9, 8, 3)),
        nn.QuantConv2D(12, 3, padding="same", **first),
        layers.BatchNormalization(),
        nn.QuantConv2D(12, 3, padding="same", **BINARY),
        layers.BatchNormalization(),
        nn.QuantDepthwiseConv2D(3, padding="same", **depthwise),
        layers.MaxPooling2D(2),
        layers.BatchNormalization(),
        layers.Flatten(),
        nn.QuantDense(10, **BINARY),
        layers.BatchNormalization(),
    ])  # fmt: skip


def borders(_batch):
    """Borders of +1 and -1, at strides."""
    return keras.Sequential([
        keras.Input(batch_shape=(1, 9, 8, 3)),
        nn.QuantConv2D(12, 3, padding="same", strides=2, pad_values=1, **BINARY),
        layers.BatchNormalization(),
        nn.QuantConv2D(5, 3, padding="same", pad_values=-1, **BINARY),
        layers.BatchNormalization(),
    ])  # fmt: skip


def quantizers(_batch):
    """Other quantizers of inputs and kernels, each with a branch of its own."""
    inputs = keras.Input(batch_shape=(1, 6, 5, 4))
    pairs = [
        ("approx_sign", "ste_sign"), ("ste_sign", "magnitude_aware_sign"), ("dorefa", "ste_sign"),
        ("ste_heaviside", "ste_sign"), ("ste_sign", "ste_tern"),
    ]  # fmt: skip
    branches = [
        nn.QuantConv2D(4, 3, input_quantizer=first, kernel_quantizer=second,
                       kernel_constraint="weight_clip")(inputs)
        for first, second in pairs
    ]  # fmt: skip
    return keras.Model(inputs, layers.Concatenate()(branches))


def classifier(batch):
    """What common image classifiers are made of, without a binary layer."""
    inputs = x = keras.Input(batch_shape=(batch, 20, 20, 3))
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(8, 3, 2, padding="same")(x)))
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    y = layers.Activation("hard_swish")(layers.BatchNormalization()(y))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(y)
    gate = layers.Conv2D(8, 1, activation="hard_sigmoid")(
        layers.Conv2D(4, 1, activation="relu")(gate)
    )
    x = layers.Add()([x, layers.Conv2D(8, 1)(layers.Multiply()([y, gate]))])
    x = layers.Activation("silu")(layers.Conv2D(12, 3, strides=2)(layers.ZeroPadding2D(1)(x)))
    x = layers.Concatenate()([x, layers.AveragePooling2D(3, strides=1, padding="same")(x)])
    x = layers.LeakyReLU(0.1)(layers.PReLU(shared_axes=(1, 2))(x))
    x = layers.Reshape((5, 5, 24))(x)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(10)(x))


def gelu(_batch):
    """An operator that is not read."""
    return keras.Sequential([
        keras.Input(batch_shape=(1, 3, 3, 2)),
        layers.Conv2D(2, 1, activation="gelu"),
        layers.Activation("elu"),
    ])  # fmt: skip


def written(build, batch=1, how=None):
    keras.utils.set_random_seed(0)
    model, random = build(batch), np.random.RandomState(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            for weight in (layer.gamma, layer.beta, layer.moving_mean):
                weight.assign(weight + 0.5 * random.standard_normal(weight.shape))
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    shape = (1, *model.input_shape[1:])
    if how is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if how == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if how == "int8":
        converter.representative_dataset = lambda: (
            [random.standard_normal(shape).astype(np.float32)] for _ in range(50)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def computed(data):
    interpreter = tf.lite.Interpreter(model_content=data)
    interpreter.allocate_tensors()
    (fed,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    images = np.random.RandomState(1).standard_normal((3, *fed["shape"][1:])).astype(np.float32)
    results = []
    for image in images:
        image = np.repeat(image[None], fed["shape"][0], axis=0)
        if fed["dtype"] == np.int8:
            scale, zero = fed["quantization"]
            image = np.clip(np.round(image / scale + zero), -128, 127).astype(np.int8)
        interpreter.set_tensor(fed["index"], image)
        interpreter.invoke()
        result = interpreter.get_tensor(given["index"])
        if given["dtype"] == np.int8:
            scale, zero = given["quantization"]
            result = np.float32(scale) * (result.astype(np.float32) - zero)
        results.append(result[0])
    return np.stack(results)


FILES = {
    "signs": (signs, 1, None),
    "signs_free_batch": (signs, None, None),
    "signs_int8": (signs, 1, "int8"),
    "borders": (borders, 1, None),
    "quantizers": (quantizers, 1, None),
    "classifier": (classifier, None, None),
    "classifier_float16": (classifier, 1, "float16"),
    "classifier_batch_of_4": (classifier, 4, None),
    "classifier_int8": (classifier, 1, "int8"),
    "gelu": (gelu, 1, None),
}

if __name__ == "__main__":
    outputs = {}
    for name, settings in FILES.items():
        data = written(*settings)
        (FOLDER / f"{name}.tflite").write_bytes(data)
        outputs[name] = computed(data)
    np.savez_compressed(FOLDER / "outputs.npz", **outputs)
