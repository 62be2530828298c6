"""The comparison with Keras passes what is right, and names the layer of every kind of mistake."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from bnnzoo import nn, runtime
from bnnzoo.conversion.keras_origin import layer_values
from bnnzoo.conversion.self_check import Check, check_layers, check_signs
from bnnzoo.graph import passes
from bnnzoo.graph.ir import Graph
from bnnzoo.graph.packing import pack
from bnnzoo.keras_bridge.from_keras import Trace, trace
from bnnzoo.keras_bridge.from_keras.values import KerasValues
from tests.keras_bridge.keras_networks import random_images, seed_weights

Values = dict[str, np.ndarray]


def network() -> keras.Model:
    inputs = x = keras.Input((8, 8, 6), name="images")
    for k, quantizer in enumerate((nn.SteSign(), nn.MagnitudeAwareSign()), start=1):
        y = nn.QuantConv2D(
            16,
            3,
            padding="same",
            use_bias=False,
            input_quantizer=nn.SteSign() if k == 1 else nn.DoReFa(2),
            kernel_quantizer=quantizer,
            kernel_constraint="weight_clip",
            name=f"conv{k}",
        )(x)
        y = layers.BatchNormalization(name=f"bn{k}")(y)
        x = layers.Add(name="add")([x, y]) if k > 1 else y
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.Conv2D(8, 1, name="real")(x)
    x = nn.QuantConv2D(
        12,
        3,
        padding="same",
        use_bias=False,
        input_quantizer="ste_sign",
        kernel_quantizer="ste_sign",
        kernel_constraint="weight_clip",
        name="conv3",
    )(x)
    x = layers.GlobalAveragePooling2D(name="mean")(layers.BatchNormalization(name="bn3")(x))
    x = layers.Dense(5, activation="softmax", name="scores")(x)
    return seed_weights(keras.Model(inputs, x))


@pytest.fixture(scope="module")
def converted() -> tuple[Trace, Graph, list[Values]]:
    model = network()
    traced = trace(model)
    graph, _ = passes.apply(traced.graph, passes.STORED)
    values = KerasValues(traced.walk)
    images = random_images(model, 3)
    return traced, graph, [layer_values(traced, *values(images[k : k + 1])) for k in range(3)]


def test_what_is_right_passes(converted: Any) -> None:
    traced, graph, samples = converted
    check = Check()
    check_layers(traced.graph, graph, samples, True, check)
    # Every node that is an output or a quantized input of a layer, in Keras and in the runtime.
    names = {name for name in samples[0] if name != "images"}
    assert names <= {node.name for node in graph.nodes}
    assert check.values == 2 * 3 * len(names)
    assert check.failure is None
    assert 0 < check.worst < 1
    assert check.worst_value in names
    signs = Check()
    check_signs(graph, samples, True, signs)
    assert signs.failure is None
    assert signs.values == 3 * 4  # three inputs of binary layers, and the output


def test_without_the_runtime_keras_is_compared_alone(converted: Any) -> None:
    traced, graph, samples = converted
    check = Check()
    check_layers(traced.graph, graph, samples, False, check)
    check_signs(graph, samples, False, check)
    assert check.values == 3 * (len(samples[0]) - 1)


def tensor(name: str, change: Callable[[Any], Any]) -> Callable[[Graph], Graph]:
    return lambda graph: dataclasses.replace(
        graph, tensors={**graph.tensors, name: change(graph.tensors[name])}
    )


def node(name: str, **attributes: Any) -> Callable[[Graph], Graph]:
    def change(graph: Graph) -> Graph:
        nodes = tuple(
            dataclasses.replace(n, attributes={**n.attributes, **attributes})
            if n.name == name
            else n
            for n in graph.nodes
        )
        return dataclasses.replace(graph, nodes=nodes)

    return change


def flip_one(kernel: Any) -> Any:
    signs = kernel.unpack()
    signs[2, 1, 1, 3] *= -1
    return pack(signs)


def one_channel(factor: float) -> Callable[[Any], Any]:
    return lambda vector: np.where(np.arange(len(vector)) == 1, factor * vector, vector)


MISTAKES: dict[str, tuple[Callable[[Graph], Graph], str]] = {
    "one sign": (tensor("conv1/kernel", flip_one), "'conv1'"),
    "border of ones": (node("conv1", pad_value=1), "'conv1'"),
    "shifted border": (node("conv2/conv", padding=(2, 0, 1, 1)), "'conv2'"),
    "levels": (node("conv2/quantize", bits=1), "'conv2/quantize'"),
    "scale of a filter": (tensor("conv2/kernel_scale", one_channel(1.001)), "'conv2'"),
    "scale of a batch norm": (tensor("bn1/scale", one_channel(-1)), "'bn1'"),
    "bias": (tensor("bn3/bias", one_channel(1.001)), "'bn3'"),
    "window": (node("pool", strides=(1, 1), pool=(5, 5)), "'pool'"),
    "real kernel": (tensor("real/kernel", lambda kernel: kernel * np.float32(1.001)), "'real'"),
    "bias of a real layer": (tensor("real/bias", one_channel(1.01)), "'real'"),
    "classifier": (tensor("scores/kernel", lambda kernel: kernel * np.float32(1.01)), "'scores'"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_the_first_layer_that_differs_is_named(name: str, converted: Any) -> None:
    traced, graph, samples = converted
    change, layer = MISTAKES[name]
    check = Check()
    check_layers(traced.graph, change(graph), samples, False, check)
    assert check.failure is not None
    assert check.failure.startswith(f"{layer} of Keras differs from the reference interpreter in ")


def test_not_a_number_is_a_difference(converted: Any) -> None:
    traced, graph, samples = converted
    broken = [{**samples[0], "bn3": np.full_like(samples[0]["bn3"], np.nan)}]
    check = Check()
    check_layers(traced.graph, graph, broken, False, check)
    assert check.failure is not None
    assert "nan" in check.failure


class Wrong:
    """A runtime that computes another network."""

    def __init__(self, model: Any, name: str) -> None:
        self.model = model
        self.name = name

    def run_values(self, x: Any, names: Any) -> Values:
        found = dict(self.model.run_values(x, names))
        if self.name in found:
            found[self.name] = -found[self.name]
        return found


@pytest.mark.parametrize("name", ["conv3/sign", "bn1", "scores"])
def test_a_wrong_runtime_is_found(
    name: str, converted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced, graph, samples = converted
    right = runtime.Model
    monkeypatch.setattr(runtime, "Model", lambda g: Wrong(right(g), name))
    check = Check()
    check_layers(traced.graph, graph, samples, True, check)
    assert check.failure is not None
    assert check.failure.startswith(
        f"'{name}' of the runtime differs from the reference interpreter in "
    )
    signs = Check()
    check_signs(graph, samples, True, signs)
    assert (signs.failure is None) == (name == "bn1")


def test_signs_next_to_zero_may_differ(converted: Any) -> None:
    """A runtime that rounds the other way where the reference is within rounding of zero."""
    _, graph, samples = converted
    nearly = {**graph.tensors}
    # Sums of signs times this scale, and this bias, are 0 up to rounding where the sum is 6.
    nearly["bn1/scale"] = np.full(16, 0.1, np.float32)
    nearly["bn1/bias"] = np.full(16, -0.6, np.float32)
    signed = next(n for n in graph.nodes if n.name == "conv2/quantize")
    sign = dataclasses.replace(signed, op="sign", attributes={})
    nodes = tuple(sign if n is signed else n for n in graph.nodes)
    changed = dataclasses.replace(graph, nodes=nodes, tensors=nearly)
    values = [{**s, "conv2/quantize": np.sign(s["bn1"]) + (s["bn1"] == 0)} for s in samples]
    check = Check()
    check_signs(changed, values, True, check)
    assert check.failure is None
