"""The 14 models of larq-zoo have its layers: order, type, settings, shapes, weights and wiring."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from bnnzoo.architectures.quicknet import BlurPool
from tests.architectures import larq_zoo

SETTINGS = (
    *("filters", "units", "kernel_size", "strides", "padding", "pad_values", "dilation_rate"),
    *("groups", "depth_multiplier", "activation", "use_bias", "axis", "momentum", "epsilon"),
    *("center", "scale", "input_quantizer", "kernel_quantizer", "depthwise_quantizer"),
    *("kernel_constraint", "depthwise_constraint", "kernel_regularizer"),
)
# Settings of quantizers that Larq does not have.
OWN_SETTINGS = ("scale_gradient",)
# Functions of larq-zoo that are quantizers here.
QUANTIZERS = {
    "magnitude_aware_sign_unclipped": ("DoReFaSign", {}),
    "xnor_weight_scale": ("XnorWeightScale", {}),
    "weight_clip": ("WeightClip", {"clip_value": 1}),
}


def described(config: dict[str, Any]) -> Any:
    """Returns a reference setting that is an object as (class, arguments)."""
    name = config["config"] if config["class_name"] == "function" else config["class_name"]
    return QUANTIZERS.get(name) or (name, rounded(config["config"]))


def rounded(arguments: dict[str, Any]) -> dict[str, Any]:
    """Returns arguments whose floats have lost what float32 added to them."""
    return {
        key: float(f"{value:.6g}") if isinstance(value, float) else value
        for key, value in arguments.items()
    }


def reference_settings(layer: dict[str, Any]) -> dict[str, Any]:
    config = {key: layer["config"].get(key) for key in SETTINGS}
    if layer["type"].endswith("DepthwiseConv2D"):
        config["groups"] = None  # Keras 3 has no such argument
    return {
        key: described(value) if isinstance(value, dict) else value for key, value in config.items()
    }


def settings(layer: keras.Layer) -> dict[str, Any]:
    return {key: plain(getattr(layer, key, None), layer, key) for key in SETTINGS}


def plain(value: Any, layer: keras.Layer, key: str) -> Any:
    if key == "axis" and value == -1:
        return [len(layer.output.shape) - 1]
    if key == "activation" and value is not None:
        return value.__name__
    if hasattr(value, "get_config"):
        config = {
            k: v for k, v in value.get_config().items() if k != "scale_gradient"
        }  # not Larq's
        return type(value).__name__, rounded(config)
    return list(value) if isinstance(value, tuple) else value


def weighted(model: keras.Model) -> list[keras.Layer]:
    return [layer for layer in model.layers if layer.weights]


def outline(model: keras.Model) -> list[tuple[str, list[tuple[int, ...]]]]:
    return [(la.name, [weight.shape for weight in la.weights]) for la in weighted(model)]


def sources(layer: keras.Layer) -> list[keras.Layer]:
    tensors = layer.input if isinstance(layer.input, list) else [layer.input]
    return [tensor._keras_history.operation for tensor in tensors]


class Wiring:
    """Writes what leads from the weighted layers to each of them as an expression."""

    def __init__(self, weighted_names: list[str]) -> None:
        self.numbers = {name: f"#{number}" for number, name in enumerate(weighted_names)}

    def ours(self, layer: keras.Layer) -> str:
        if layer.name in self.numbers:
            return self.numbers[layer.name]
        if isinstance(layer, keras.layers.InputLayer):
            return "images"
        return f"{OURS[type(layer).__name__](layer)}({', '.join(map(self.ours, sources(layer)))})"

    def theirs(self, layer: dict[str, Any], layers: dict[str, dict[str, Any]]) -> str:
        if layer["name"] in self.numbers:
            return self.numbers[layer["name"]]
        if layer["type"] == "InputLayer":
            return "images"
        inner = ", ".join(self.theirs(layers[name], layers) for name in layer["inputs"])
        # larq-zoo pools globally in two layers, and names the outputs of blocks with a third.
        if layer["name"].endswith("_out") or (
            layer["type"] == "Flatten" and inner.startswith("global_pool")
        ):
            return inner
        return f"{THEIRS[layer['type']](layer)}({inner})"


def pooling(kind: str, pool_size: Any, strides: Any, padding: str) -> str:
    return f"{kind}{list(pool_size)}{list(strides)}{padding}"


# The pooling of a shortcut is padded here in every model, which changes odd sizes only.
OURS = {
    "Activation": lambda layer: layer.activation.__name__,
    "Add": lambda _: "add",
    "AddToLastChannels": lambda _: "merge",
    "AveragePooling2D": lambda layer: pooling("avg", layer.pool_size, layer.strides, "any"),
    "Concatenate": lambda _: "concat",
    "Flatten": lambda _: "flatten",
    "GlobalAveragePooling2D": lambda _: "global_pool",
    "MaxPooling2D": lambda layer: pooling("max", layer.pool_size, layer.strides, layer.padding),
    "Multiply": lambda _: "multiply",
    "ReLU": lambda layer: f"clip[0, {layer.max_value}]",
    "Reshape": lambda layer: f"reshape{list(layer.output.shape[1:])}",
    "SplitChannels": lambda _: "split",
}
THEIRS = {
    "Activation": lambda layer: (
        "clip[0, 1.0]"
        if isinstance(layer["config"]["activation"], dict)
        else layer["config"]["activation"]
    ),
    "Add": lambda _: "add",
    "AveragePooling2D": lambda layer: (
        "global_pool"
        if layer["output"][1:3] == [1, 1]
        else pooling("avg", layer["config"]["pool_size"], layer["config"]["strides"], "any")
    ),
    "Concatenate": lambda _: "concat",
    "Flatten": lambda _: "flatten",
    "Lambda": lambda layer: layer["name"].rpartition("_")[2],
    "MaxPooling2D": lambda layer: pooling("max", **layer["config"]),
    "Multiply": lambda _: "multiply",
    "Reshape": lambda layer: f"reshape{layer['output'][1:]}",
    "TFOpLambda": lambda _: "add",
}


@pytest.mark.parametrize("name", larq_zoo.MODELS)
def test_weighted_layers_are_larq_zoos(name, build):
    ours, theirs = weighted(build(name)), larq_zoo.weighted_layers(name)
    assert [type(layer).__name__ for layer in ours] == [layer["type"] for layer in theirs]
    for layer, reference in zip(ours, theirs, strict=True):
        assert settings(layer) == reference_settings(reference), layer.name
        assert list(layer.output.shape) == reference["output"], layer.name
        shapes = [weight["shape"] for weight in reference["weights"]]
        assert [list(weight.shape) for weight in layer.weights] == shapes, layer.name


@pytest.mark.parametrize("name", larq_zoo.MODELS)
def test_wiring_is_larq_zoos(name, build):
    ours, theirs = weighted(build(name)), larq_zoo.weighted_layers(name)
    layers = {layer["name"]: layer for layer in larq_zoo.reference(name)["layers"]}
    our_wiring = Wiring([layer.name for layer in ours])
    their_wiring = Wiring([layer["name"] for layer in theirs])
    for layer, reference in zip(ours, theirs, strict=True):
        found = [our_wiring.ours(source) for source in sources(layer)]
        expected = [their_wiring.theirs(layers[source], layers) for source in reference["inputs"]]
        assert found == expected, layer.name


@pytest.mark.parametrize("name", larq_zoo.MODELS)
def test_totals_are_larq_zoos(name, build):
    assert build(name).count_params() == larq_zoo.reference(name)["totals"]["params"]


# Counted in larq-zoo with include_top=False: its `_notop` files end after so many layers.
NOTOP_LAYERS = {
    "binary_alexnet": 10,
    "binary_densenet28": 55,
    "binary_densenet37": 73,
    "binary_densenet37_dilated": 73,
    "binary_densenet45": 89,
    "birealnet18": 40,
    "dorefanet": 9,
    "meliusnet22": 91,
    "quicknet": 47,
    "quicknet_large": 79,
    "quicknet_small": 47,
    "real_to_binary": 89,
    "resnet_e18": 41,
    "xnornet": 13,
}


@pytest.mark.parametrize("name", larq_zoo.MODELS)
def test_a_model_without_its_top_has_the_layers_of_a_notop_file(name, build):
    full, notop = build(name), build(name, include_top=False)
    assert outline(notop) == outline(full)[: NOTOP_LAYERS[name]]


def test_blur_pool_is_a_normalized_binomial_filter_per_channel():
    kernel = keras.ops.convert_to_numpy(BlurPool()((3, 3, 5, 1), dtype="float32"))
    row = np.array([0.25, 0.5, 0.25], "float32")
    for channel in range(5):
        np.testing.assert_array_equal(kernel[:, :, channel, 0], np.outer(row, row))


def test_blur_pool_of_quicknet_is_not_trained(build):
    blurs = [layer for layer in build("quicknet").layers if layer.name.endswith("_blur")]
    assert len(blurs) == 3
    assert not any(layer.trainable_weights for layer in blurs)
