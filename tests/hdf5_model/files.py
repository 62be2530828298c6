"""Whole models in the HDF5 format of Keras 2, built by hand."""

from __future__ import annotations

import io
import json
from typing import Any

import h5py
import numpy as np

SIGN = {"class_name": "SteSign", "config": {"name": "ste_sign", "clip_value": 1.0}}
CLIP = {"class_name": "WeightClip", "config": {"clip_value": 1}}
BINARY = {"input_quantizer": SIGN, "kernel_quantizer": SIGN, "kernel_constraint": CLIP}
Weights = dict[str, dict[str, Any]]


def layer(kind: str, name: str, *sources: Any, **config: Any) -> dict[str, Any]:
    """Returns a layer with one call per source. A list of names is a call with several inputs."""
    calls = [[[n, 0, 0, {}] for n in ([source] if isinstance(source, str) else source)]
             for source in sources]  # fmt: skip
    value = {"class_name": kind, "config": {"name": name, **config}, "name": name}
    return {**value, "inbound_nodes": calls}


def sequential(*layers: dict[str, Any], shape: Any = (None, 5, 4, 2)) -> dict[str, Any]:
    first = layer("InputLayer", "images", batch_input_shape=list(shape))
    return {"class_name": "Sequential", "config": {"name": "net", "layers": [first, *layers]}}


def functional(*layers: dict[str, Any], output: Any) -> dict[str, Any]:
    first = layer("InputLayer", "images", batch_input_shape=[None, 5, 4, 2])
    return {
        "class_name": "Functional",
        "config": {
            "name": "net",
            "layers": [first, *layers],
            "input_layers": [["images", 0, 0]],
            "output_layers": [output],
        },
    }


def file_of(config: Any, weights: Weights) -> bytes:
    """Returns the bytes of a file; weights by layer and name."""
    file = io.BytesIO()
    with h5py.File(file, "w") as opened:
        opened.attrs["model_config"] = json.dumps(config)
        opened.attrs["keras_version"] = "2.15.0"
        opened.create_group("model_weights")
        for name, arrays in weights.items():
            group = opened.create_group(f"model_weights/{name}")
            group.attrs["weight_names"] = [f"{name}/{key}:0" for key in arrays]
            for key, array in arrays.items():
                group.create_dataset(f"{name}/{key}:0", data=np.asarray(array, "f4"))
    return file.getvalue()


def convolution() -> tuple[dict[str, Any], Weights]:
    """Returns a small sequential network with a binary layer."""
    rng = np.random.default_rng(1)
    conv = layer(
        "QuantConv2D",
        "conv",
        filters=3,
        kernel_size=[3, 3],
        padding="same",
        use_bias=False,
        kernel_initializer={"class_name": "Zeros", "config": {}},
        **BINARY,
    )
    norm = layer("BatchNormalization", "norm", axis=[3], epsilon=0.001)
    config = sequential(conv, norm, layer("Flatten", "flatten"))
    vectors = {key: rng.random(3) for key in ("gamma", "beta", "moving_mean", "moving_variance")}
    return config, {"conv": {"kernel": rng.standard_normal((3, 3, 2, 3))}, "norm": vectors}


def branches() -> tuple[dict[str, Any], Weights]:
    """Returns a small functional network with a shared layer and a nested model."""
    rng = np.random.default_rng(2)
    inner = sequential(layer("DepthwiseConv2D", "deep", kernel_size=[1, 1]), shape=(None, 5, 4, 2))
    inner = {**inner, "name": "inner", "inbound_nodes": [[["images", 0, 0, {}]]]}
    inner["config"]["name"] = "inner"
    dense = layer(
        "QuantDense",
        "dense",
        "pooled",
        "images_pooled",
        units=3,
        activation="hard_tanh",
        kernel_quantizer="ste_sign",
        kernel_constraint="weight_clip",
    )
    config = functional(
        inner,
        layer("SteSign", "sign", ["inner"]),
        layer("GlobalMaxPooling2D", "pooled", "sign"),
        layer("GlobalAveragePooling2D", "images_pooled", "images"),
        dense,
        layer("Concatenate", "joined", [], axis=-1),
        layer("LeakyReLU", "leaky", "joined", alpha=0.25),
        output=["leaky", 0, 0],
    )  # fmt: skip
    layers = {entry["config"]["name"]: entry for entry in config["config"]["layers"]}
    layers["sign"]["inbound_nodes"] = [[["inner", 1, 0, {}]]]
    layers["joined"]["inbound_nodes"] = [[["dense", 0, 0, {}], ["dense", 1, 0, {}]]]
    weights = {
        "inner": {
            "deep/depthwise_kernel": rng.standard_normal((1, 1, 2, 1)),
            "deep/bias": [0.1, -0.2],
        },
        "dense": {"kernel": rng.standard_normal((2, 3)), "bias": rng.standard_normal(3)},
    }
    return config, weights
