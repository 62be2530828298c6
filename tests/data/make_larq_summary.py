"""Writes larq_summary.json: what `larq.models.summary` counts, for golden tests.

Runs in the peer's environment, once (Python 3.11):
    pip install larq-zoo==2.4.0 larq==0.14.0 tensorflow-cpu==2.15.1
    python tests/data/make_larq_summary.py

`models` has the 14 models of larq-zoo at their default input, without weights: totals, and a row
for each layer that has weights, in the order of its weight files. `layers` has one-layer models,
each with the class, its arguments and its input shape, so that a test can build the same layer.
Bits are strings where they are keys of an object. `macs` is null where larq counts none ("?").
"""

import json
from collections.abc import Iterator
from pathlib import Path

import larq
import larq_zoo
import tensorflow as tf
from larq.models import LayerProfile, ModelProfile

MODELS = {
    "BinaryAlexNet": larq_zoo.literature.BinaryAlexNet,
    "BiRealNet": larq_zoo.literature.BiRealNet,
    "BinaryResNetE18": larq_zoo.literature.BinaryResNetE18,
    "BinaryDenseNet28": larq_zoo.literature.BinaryDenseNet28,
    "BinaryDenseNet37": larq_zoo.literature.BinaryDenseNet37,
    "BinaryDenseNet37Dilated": larq_zoo.literature.BinaryDenseNet37Dilated,
    "BinaryDenseNet45": larq_zoo.literature.BinaryDenseNet45,
    "DoReFaNet": larq_zoo.literature.DoReFaNet,
    "MeliusNet22": larq_zoo.literature.MeliusNet22,
    "RealToBinaryNet": larq_zoo.literature.RealToBinaryNet,
    "XNORNet": larq_zoo.literature.XNORNet,
    "QuickNet": larq_zoo.sota.QuickNet,
    "QuickNetSmall": larq_zoo.sota.QuickNetSmall,
    "QuickNetLarge": larq_zoo.sota.QuickNetLarge,
}
BINARY = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign"}
SEPARABLE = {
    "input_quantizer": "ste_sign",
    "depthwise_quantizer": "ste_sign",
    "pointwise_quantizer": "ste_sign",
}
IMAGE, SEQUENCE, VOLUME = (12, 10, 6), (12, 6), (8, 7, 6, 4)
# name: (class, arguments, input shape without the batch)
LAYERS = {
    "conv2d_binary": ("QuantConv2D", {"filters": 8, "kernel_size": 3, **BINARY}, IMAGE),
    "conv2d_strides_same": (
        "QuantConv2D",
        {"filters": 8, "kernel_size": 3, "strides": 2, "padding": "same", **BINARY},
        IMAGE,
    ),
    "conv2d_dilated": (
        "QuantConv2D",
        {"filters": 8, "kernel_size": 3, "dilation_rate": 2, **BINARY},
        IMAGE,
    ),
    "conv2d_groups": ("QuantConv2D", {"filters": 8, "kernel_size": 3, "groups": 2}, IMAGE),
    "conv2d_kernel_only": (
        "QuantConv2D",
        {"filters": 8, "kernel_size": 3, "kernel_quantizer": "ste_sign"},
        IMAGE,
    ),
    "conv2d_input_only": (
        "QuantConv2D",
        {"filters": 8, "kernel_size": 3, "input_quantizer": "ste_sign"},
        IMAGE,
    ),
    "conv2d_ternary": (
        "QuantConv2D",
        {
            "filters": 8,
            "kernel_size": 3,
            "input_quantizer": "ste_sign",
            "kernel_quantizer": "ste_tern",
        },
        IMAGE,
    ),
    "conv2d_dorefa": (
        "QuantConv2D",
        {
            "filters": 8,
            "kernel_size": 3,
            "input_quantizer": "dorefa_quantizer",
            "kernel_quantizer": "magnitude_aware_sign",
        },
        IMAGE,
    ),
    "conv1d_binary": ("QuantConv1D", {"filters": 8, "kernel_size": 3, **BINARY}, SEQUENCE),
    "conv3d_binary": ("QuantConv3D", {"filters": 8, "kernel_size": 3, **BINARY}, VOLUME),
    "depthwise_binary": (
        "QuantDepthwiseConv2D",
        {
            "kernel_size": 3,
            "depth_multiplier": 2,
            "input_quantizer": "ste_sign",
            "depthwise_quantizer": "ste_sign",
        },
        IMAGE,
    ),
    "separable_conv2d_binary": (
        "QuantSeparableConv2D",
        {"filters": 8, "kernel_size": 3, "strides": 2, "depth_multiplier": 2, **SEPARABLE},
        IMAGE,
    ),
    "separable_conv1d_binary": (
        "QuantSeparableConv1D",
        {"filters": 8, "kernel_size": 3, **SEPARABLE},
        SEQUENCE,
    ),
    "conv2d_transpose_binary": (
        "QuantConv2DTranspose",
        {"filters": 8, "kernel_size": 3, "strides": 2, **BINARY},
        IMAGE,
    ),
    "conv3d_transpose_binary": (
        "QuantConv3DTranspose",
        {"filters": 8, "kernel_size": 3, **BINARY},
        VOLUME,
    ),
    "dense_binary": ("QuantDense", {"units": 8, **BINARY}, (20,)),
    "dense_on_sequence": ("QuantDense", {"units": 8, **BINARY}, SEQUENCE),
    "dense_on_image": ("QuantDense", {"units": 8, **BINARY}, IMAGE),
    "float_conv2d": ("Conv2D", {"filters": 8, "kernel_size": 3}, IMAGE),
    "float_depthwise": ("DepthwiseConv2D", {"kernel_size": 3}, IMAGE),
    "float_dense": ("Dense", {"units": 8}, (20,)),
    "float_conv2d_transpose": ("Conv2DTranspose", {"filters": 8, "kernel_size": 3}, IMAGE),
    "batch_norm": ("BatchNormalization", {}, IMAGE),
    "batch_norm_no_scale": ("BatchNormalization", {"scale": False}, IMAGE),
    "batch_norm_no_center_no_scale": (
        "BatchNormalization",
        {"scale": False, "center": False},
        IMAGE,
    ),
    "prelu": ("PReLU", {"shared_axes": [1, 2]}, IMAGE),
    "max_pooling": ("MaxPooling2D", {}, IMAGE),
    "embedding": ("Embedding", {"input_dim": 50, "output_dim": 8}, (12,)),
}


def counts(profile: LayerProfile) -> dict:
    """Returns the bits, bytes and MACs that larq counts for one layer or model."""
    bits = [b for b in profile.unique_param_bidtwidths if profile.weight_count(b)]
    macs = profile.op_count("mac")
    precisions = [b for b in profile.unique_op_precisions if profile.op_count("mac", b)]
    return {
        "params": {str(b): profile.weight_count(b) for b in bits},
        "packed_bytes": profile.memory / 8,
        "macs": None if macs is None else {str(b): profile.op_count("mac", b) for b in precisions},
    }


def leaf_layers(model: tf.keras.Model) -> Iterator[tf.keras.layers.Layer]:
    """Yields every layer of a model, those of the models inside it too."""
    for layer in model.layers:
        if isinstance(layer, tf.keras.Model):
            yield from leaf_layers(layer)
        else:
            yield layer


def layer_row(layer: tf.keras.layers.Layer) -> dict:
    """Returns what larq's table says of one layer."""
    profile = LayerProfile(layer)
    return {
        "name": layer.name,
        "type": type(layer).__name__,
        "input_bits": profile.input_precision,
        "output_shape": list(profile.output_shape),
        **counts(profile),
    }


def model_summary(name: str) -> dict:
    """Returns the totals and the rows with weights of one larq-zoo model."""
    tf.keras.backend.clear_session()
    model = MODELS[name](weights=None)
    profile = ModelProfile(model)
    totals = {
        **counts(profile),
        "trainable_params": profile.weight_count(trainable=True),
        "float32_bytes": profile.fp_equivalent_memory / 8,
        "int8_bytes": profile.int8_fp_weights_memory / 8,
    }
    rows = [layer_row(layer) for layer in leaf_layers(model) if layer.weights]
    return {"totals": totals, "layers": rows}


def layer_summary(class_name: str, arguments: dict, input_shape: tuple[int, ...]) -> dict:
    """Returns the case and larq's row for a layer on its own."""
    tf.keras.backend.clear_session()
    layer_class = getattr(larq.layers, class_name, None) or getattr(tf.keras.layers, class_name)
    layer = layer_class(**arguments)
    tf.keras.Sequential([tf.keras.Input(input_shape), layer])
    case = {"class": class_name, "arguments": arguments, "input_shape": list(input_shape)}
    try:
        return {**case, **layer_row(layer)}
    except NotImplementedError:  # larq cannot summarise the output of a volume
        return {**case, "error": "NotImplementedError"}


def main() -> None:
    golden = {
        "source": "larq-zoo 2.4.0, larq 0.14.0, TensorFlow 2.15.1",
        "models": {name: model_summary(name) for name in MODELS},
        "layers": {name: layer_summary(*case) for name, case in LAYERS.items()},
    }
    path = Path(__file__).with_name("larq_summary.json")
    path.write_text(json.dumps(golden, indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
