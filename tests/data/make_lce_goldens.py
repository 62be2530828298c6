"""Makes `lce/*.tflite` with the converter of Larq Compute Engine, and their outputs.

    python make_lce_goldens.py

Runs in the environment that `scripts/test_lce.sh` makes. The first two networks are those of Larq
Compute Engine's own `end2end_test.py`, on smaller images. `lce/converted.npz` has what Larq Compute
Engine's interpreter computes for the images of `RandomState(1).standard_normal((3, h, w, c))`; of
`quantized.tflite`, which is in 8 bits, the results of all operators, one after the other.
"""

from __future__ import annotations

from pathlib import Path

import flatbuffers
import larq as lq
import larq_compute_engine as lce
import numpy as np
import tensorflow as tf
from larq_compute_engine.tflite.python.interpreter import Interpreter
from tensorflow.lite.python import schema_py_generated as schema

FOLDER = Path(__file__).parent / "lce"
layers = tf.keras.layers
BINARY = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign", "use_bias": False}


def quant(filters, size, **settings):
    return lq.layers.QuantConv2D(filters, size, **BINARY, **settings)


def toy():
    """Zero-padding, one-padding, activations between convolution and batch norm, residuals."""
    inputs = layers.Input((20, 17, 3))
    x = layers.Conv2D(32, 3, strides=2, padding="same")(inputs)
    for pad_values, activation in ((0.0, "relu"), (1.0, "relu"), (1.0, None)):
        y = quant(32, 3, padding="same", pad_values=pad_values, activation=activation)(x)
        x = layers.add([layers.BatchNormalization()(y), x])
    return tf.keras.Model(inputs, layers.GlobalAvgPool2D()(x))


def toy_sequential():
    """Max pooling of real numbers and of bits, packed outputs, odd windows."""
    padded = {"padding": "same", "pad_values": 1.0}
    return tf.keras.Sequential([
        layers.Input((20, 17, 3)),
        layers.Conv2D(16, 3, strides=2, padding="same"),
        layers.BatchNormalization(),
        layers.MaxPooling2D(2),
        quant(32, 3, **padded),
        layers.BatchNormalization(),
        quant(32, 3, strides=2, **padded),
        layers.BatchNormalization(),
        layers.MaxPooling2D((3, 2), strides=(1, 2)),
        quant(32, 3, **padded),
        layers.BatchNormalization(),
        layers.GlobalAvgPool2D(),
    ])  # fmt: skip


def thresholds():
    """Packed outputs one after the other: odd channels, strides, dilation."""
    inputs = layers.Input((11, 9, 40))
    x = quant(33, 3, padding="same", pad_values=1.0, strides=2)(inputs)
    x = quant(70, 2, padding="valid")(layers.BatchNormalization()(x))
    x = quant(31, 3, padding="same", pad_values=1.0, dilation_rate=2)(
        layers.BatchNormalization()(x)
    )
    x = quant(5, (1, 3), padding="same", pad_values=1.0)(layers.BatchNormalization()(x))
    return tf.keras.Model(inputs, x)


def joined():
    """Depthwise and pointwise convolutions, concatenation, pooling, relu6, softmax."""
    inputs = layers.Input((13, 14, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(inputs)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    for _ in range(2):
        y = quant(12, 3, padding="same")(layers.BatchNormalization()(x))
        x = layers.concatenate([x, y])
    x = layers.AveragePooling2D(2, padding="same")(layers.PReLU(shared_axes=[1, 2])(x))
    x = layers.GlobalAvgPool2D()(layers.Conv2D(10, 1, activation="relu")(x))
    return tf.keras.Model(inputs, layers.Dense(6, activation="softmax")(x))


def dense():
    """Binary dense layers, which the converter keeps as real ones over -1 and +1."""
    inputs = layers.Input((6, 5, 3))
    x = quant(20, 3, padding="valid")(inputs)
    x = layers.Flatten()(layers.BatchNormalization()(layers.MaxPooling2D(2)(x)))
    x = lq.layers.QuantDense(24, **BINARY)(x)
    x = lq.layers.QuantDense(7, **BINARY)(layers.BatchNormalization()(x))
    return tf.keras.Model(inputs, layers.Softmax()(layers.BatchNormalization()(x)))


def activated():
    """Packed outputs behind a ReLU, which the thresholds contain."""
    inputs = layers.Input((9, 8, 40))
    x = quant(33, 3, padding="valid", activation="relu")(inputs)
    x = quant(17, 3, padding="same", pad_values=1.0, activation=tf.nn.relu6)(
        layers.BatchNormalization()(x)
    )
    x = quant(5, 2, padding="valid")(layers.BatchNormalization()(x))
    return tf.keras.Model(inputs, layers.BatchNormalization()(x))


NETWORKS = (toy, toy_sequential, thresholds, joined, dense, activated)
# What the converter takes the range of every value for, there being no images to learn it from.
RANGE = (-3.0, 3.0)


def quantized():
    """Every operator that writes 8 bits: binary convolutions too, and signs of them."""
    inputs = layers.Input((13, 14, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(inputs)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(x))
    y = quant(12, 3, padding="same")(x)
    y = quant(8, 3, padding="same", pad_values=1.0)(layers.BatchNormalization()(y))
    x = layers.concatenate([x, layers.add([layers.BatchNormalization()(y), x])])
    x = layers.MaxPooling2D(2)(layers.ZeroPadding2D(((0, 1), (1, 0)))(x))
    return tf.keras.Model(inputs, layers.Dense(6, activation="softmax")(layers.Flatten()(x)))


def with_every_result(data):
    """Returns a file whose outputs are the results of all operators."""
    model = schema.ModelT.InitFromPackedBuf(data)
    graph = model.subgraphs[0]
    graph.outputs = [operator.outputs[0] for operator in graph.operators]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def seed(model):
    """Fills the weights: some gammas are negative, every 7th is 0."""
    rng = np.random.RandomState(0)
    for variable in model.weights:
        kind = variable.name.split("/")[-1].split(":")[0]
        value = rng.standard_normal(variable.shape) / np.sqrt(max(1, np.prod(variable.shape[:-1])))
        if kind == "moving_variance":
            value = rng.uniform(0.5, 4, variable.shape)
        elif kind == "gamma":
            value[3::7] = 0
        variable.assign(value)
    return model


def main():
    FOLDER.mkdir(exist_ok=True)
    arrays = {}
    for build in NETWORKS:
        model = seed(build())
        data = lce.convert_keras_model(model)
        (FOLDER / f"{build.__name__}.tflite").write_bytes(data)
        x = np.random.RandomState(1).standard_normal((3, *model.input_shape[1:])).astype("f")
        arrays[build.__name__] = Interpreter(data).predict(x)
        difference = np.abs(arrays[build.__name__] - model.predict(x, verbose=0)).max()
        print(build.__name__, len(data), "bytes, off from Keras by", difference)
    data = lce.convert_keras_model(
        seed(quantized()), inference_input_type=tf.int8, inference_output_type=tf.int8,
        experimental_default_int8_range=RANGE,
    )  # fmt: skip
    (FOLDER / "quantized.tflite").write_bytes(data)
    interpreter = Interpreter(with_every_result(data))
    x = np.random.RandomState(1).standard_normal((3, *interpreter.input_shapes[0][1:]))
    x = np.rint(x / interpreter.input_scales[0]) + interpreter.input_zero_points[0]
    for i, array in enumerate(interpreter.predict(np.clip(x, -128, 127).astype(np.int8))):
        arrays[f"quantized_{i}"] = array
    np.savez_compressed(FOLDER / "converted.npz", **arrays)


if __name__ == "__main__":
    main()
