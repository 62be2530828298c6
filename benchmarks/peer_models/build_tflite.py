"""Writes the networks for LiteRT and for Larq Compute Engine.

    python build_tflite.py DIR

ResNet-18 and MobileNetV2 in float32 and int8, MobileNetV3 small and large in float32, and networks
of Larq Zoo as Larq Compute Engine converts them. Runs in a Python 3.11 environment with
tensorflow-cpu==2.15.1 larq==0.14.0 larq-zoo==2.4.0 larq-compute-engine==0.16.0. Weights are random,
since only the time is measured.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import larq_compute_engine as lce
import larq_zoo as lqz
import numpy as np
import tensorflow as tf

layers = tf.keras.layers
LITERATURE = ("BiRealNet", "BinaryResNetE18", "BinaryDenseNet28", "XNORNet", "BinaryAlexNet")
SOTA = ("QuickNet", "QuickNetLarge")


def conv_bn(x: tf.Tensor, filters: int, size: int, strides: int, *, relu: bool = True) -> tf.Tensor:
    """Returns convolution, batch norm and ReLU of `x`."""
    x = layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    return layers.ReLU()(x) if relu else x


def resnet18() -> tf.keras.Model:
    """Returns ResNet-18 at 224 pixels."""
    inputs = layers.Input((224, 224, 3), batch_size=1)
    x = layers.MaxPool2D(3, 2, padding="same")(conv_bn(inputs, 64, 7, 2))
    for stage, filters in enumerate((64, 128, 256, 512)):
        for block in range(2):
            strides = 2 if stage and block == 0 else 1
            y = conv_bn(conv_bn(x, filters, 3, strides), filters, 3, 1, relu=False)
            shortcut = conv_bn(x, filters, 1, 2, relu=False) if strides == 2 else x
            x = layers.ReLU()(layers.Add()([y, shortcut]))
    return tf.keras.Model(inputs, layers.Dense(1000)(layers.GlobalAveragePooling2D()(x)))


def images() -> Iterator[list[np.ndarray]]:
    """Yields random images for calibration."""
    rng = np.random.default_rng(0)
    for _ in range(8):
        yield [rng.uniform(-1, 1, (1, 224, 224, 3)).astype(np.float32)]


def write(model: tf.keras.Model, path: Path, *, int8: bool) -> None:
    """Writes `path_f32.tflite` and, on request, `path_int8.tflite`."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    path.with_name(f"{path.name}_f32.tflite").write_bytes(converter.convert())
    if int8:
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = images
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        path.with_name(f"{path.name}_int8.tflite").write_bytes(converter.convert())


def main() -> None:
    """Writes every file."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    write(resnet18(), folder / "resnet18", int8=True)
    for name, build in (
        ("mobilenet_v2", tf.keras.applications.MobileNetV2),
        ("mobilenet_v3_small", tf.keras.applications.MobileNetV3Small),
        ("mobilenet_v3_large", tf.keras.applications.MobileNetV3Large),
    ):
        inputs = tf.keras.Input((224, 224, 3), batch_size=1)
        model = tf.keras.Model(inputs, build(weights=None)(inputs))
        write(model, folder / name, int8=name == "mobilenet_v2")
    for module, names in ((lqz.literature, LITERATURE), (lqz.sota, SOTA)):
        for name in names:
            model = getattr(module, name)(weights=None)
            (folder / f"lce_{name}.tflite").write_bytes(lce.convert_keras_model(model))


if __name__ == "__main__":
    main()
