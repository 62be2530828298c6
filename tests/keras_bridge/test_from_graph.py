"""A packed network that came from no Keras model becomes one: the same outputs, and it trains."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from bnnzoo import nn
from bnnzoo.errors import MissingDependencyError, ModelFormatError
from bnnzoo.formats import lce, packed
from bnnzoo.formats.lce.schema import schema
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.graph import passes
from bnnzoo.graph.builder import GraphBuilder
from bnnzoo.graph.interpreter import run
from bnnzoo.graph.ir import Graph, Node
from bnnzoo.graph.packing import Int8Kernel
from bnnzoo.keras_bridge.from_keras import from_keras
from bnnzoo.keras_bridge.to_keras import to_keras
from bnnzoo.opening import open_model
from tests.backend import evaluate
from tests.conftest import DATA
from tests.formats.lce_networks import CASES, images, network
from tests.keras_bridge.keras_networks import random_images

try:
    schema()
except MissingDependencyError as error:
    pytest.skip(str(error), allow_module_level=True)

FILES = (
    *("tflite/signs", "tflite/borders", "tflite/quantizers", "tflite/classifier"),
    *("lce/thresholds", "lce/toy_sequential", "lce/joined", "lce/quantized"),
)


def stored(graph: Graph) -> Graph:
    graph, _ = passes.apply(graph, passes.STORED)
    return packed.from_bytes(packed.to_bytes(graph, NetworkInfo("net"))).graph


def assert_converts(model: keras.Model, graph: Graph, x: np.ndarray) -> None:
    """Checks that the graph of a model computes what the one does that it was built for."""
    again = from_keras(model)
    output = run(again, x)[again.outputs[0]]
    expected = run(graph, x)[graph.outputs[0]]
    np.testing.assert_allclose(output, expected, atol=2e-5 * np.abs(expected).max())


def assert_same(model: keras.Model, graph: Graph, x: np.ndarray) -> None:
    expected = run(graph, x)[graph.outputs[0]]
    np.testing.assert_allclose(evaluate(model, x), expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", FILES)
def test_files_of_other_tools_become_models(name):
    graph, info = lce.read(DATA / f"{name}.tflite")
    graph = stored(graph)
    model = to_keras(graph, info)
    assert_same(model, graph, np.random.RandomState(1).standard_normal((3, *graph.input_shape)))
    assert model.model_spec.input_shape == graph.input_shape
    binary = sum(node.op == "bconv2d" for node in graph.nodes)
    assert len(nn.binary_weights(model)) == binary


@pytest.mark.parametrize("name", CASES)
def test_every_operation_has_a_layer(name):
    graph = stored(network(name))
    model = to_keras(graph, NetworkInfo("net"))
    assert_same(model, graph, images(graph))
    assert_converts(model, graph, images(graph))


def test_an_average_over_odd_borders_has_no_layer():
    builder = GraphBuilder({"x": (5, 5, 2)})
    window = {"pool": (3, 3), "strides": (1, 1), "padding": (2, 0, 1, 1)}
    graph = builder.graph(builder.add("avg_pool2d", "x", **window))
    with pytest.raises(ModelFormatError, match=r"no layer for node '.*' \(avg_pool2d\)"):
        to_keras(graph, NetworkInfo("net"))


@pytest.mark.parametrize(
    "name",
    ["zero-padding unlike same", "depthwise", "flatten of parts of words", "real operations"],
)
def test_such_a_model_is_channels_last_whatever_the_settings_say(name, channels_first):
    graph = stored(network(name))
    assert_same(to_keras(graph, NetworkInfo("net")), graph, images(graph))


def test_names_that_meet_in_keras_are_told_apart():
    """Keras allows fewer characters than the format, and gives names of its own."""
    ops = {"a/b": "sigmoid", "a b": "tanh", "add": "softmax", "clip": "sigmoid", "2nd": "sigmoid"}
    nodes = [Node("c", "clip", ("a_b",), {"low": -1.0, "high": 0.5})]
    for name, op in ops.items():
        nodes.append(Node(name, op, (nodes[-1].name,)))
    nodes.append(Node("sum", "add", ("2nd", "a_b")))
    graph = Graph({"a_b": (3, 2, 4)}, tuple(nodes), ("sum",), {})
    model = to_keras(graph, NetworkInfo("net"))
    assert_same(model, graph, np.random.RandomState(1).standard_normal((3, 3, 2, 4)))
    assert model.output_names == ["sum"]


def test_bounds_on_one_side_are_converted_again():
    nodes = (
        Node("upper", "clip", ("x",), {"low": -np.inf, "high": 0.5}),
        Node("lower", "clip", ("upper",), {"low": -1.0, "high": np.inf}),
    )
    graph = Graph({"x": (3, 2, 4)}, nodes, ("lower",), {})
    x = np.random.RandomState(1).standard_normal((3, 3, 2, 4))
    assert_converts(to_keras(graph, NetworkInfo("net")), graph, x)


def test_inputs_in_8_bits_are_refused():
    rng = np.random.default_rng(0)
    kernel = Int8Kernel(rng.integers(-127, 128, (3, 1, 1, 4), np.int8), np.full(3, 0.5, np.float32))
    settings = {"strides": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0), "groups": 1}
    node = Node("conv", "conv2d", ("x",), {**settings, "input_bits": 8}, {"kernel": "k"})
    graph = Graph({"x": (2, 2, 4)}, (node,), ("conv",), {"k": kernel})
    with pytest.raises(
        ModelFormatError, match=r"Keras has no layer for node 'conv' \(conv2d\) with"
    ):
        to_keras(graph, NetworkInfo("net"))


def test_such_a_model_is_saved_and_trains(tmp_path):
    graph, info = lce.read(DATA / "tflite" / "signs.tflite")
    path = tmp_path / "net.safetensors"
    graph = stored(graph)
    path.write_bytes(packed.to_bytes(graph, dataclasses.replace(info, preprocessing="scale_pm1")))
    model = open_model(path)
    model.save(tmp_path / "net.keras")
    again = open_model(tmp_path / "net.keras")
    assert again.model_spec.preprocessing == "scale_pm1"
    x = random_images(model, 20)
    np.testing.assert_array_equal(evaluate(again, x), evaluate(model, x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    again.compile(keras.optimizers.Adam(0.01), loss)
    losses = again.fit(x, np.arange(20) % 10, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 2
