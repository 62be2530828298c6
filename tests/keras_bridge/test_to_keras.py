"""A packed network becomes a Keras model again: the same outputs, and weights that can flip."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from bnnzoo import nn, registry
from bnnzoo.architectures.meliusnet import SplitChannels
from bnnzoo.errors import ConversionError, ModelFormatError
from bnnzoo.formats import packed
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.graph import passes
from bnnzoo.graph.interpreter import run
from bnnzoo.graph.ir import Graph
from bnnzoo.graph.passes.steady_signs import steady_signs
from bnnzoo.keras_bridge.float32_copy import computing_in_float32
from bnnzoo.keras_bridge.from_keras import from_keras
from bnnzoo.keras_bridge.to_keras import LATENT_MAGNITUDE, recalibrate, to_keras
from bnnzoo.keras_bridge.to_keras.config import from_config, to_config
from tests.architectures.conftest import quick_initializers  # noqa: F401 (for every test here)
from tests.backend import evaluate
from tests.keras_bridge.keras_cases import BINARY, CASES, IMAGE, model_of
from tests.keras_bridge.keras_networks import counting, every_count, random_images, seed_weights

pytestmark = pytest.mark.filterwarnings("ignore::bnnzoo.nn.StarvedWeightsWarning")


def stored(model: keras.Model) -> tuple[Graph, NetworkInfo]:
    """The graph of a model as a reader of its file sees it."""
    graph, _ = passes.apply(from_keras(model), passes.STORED)
    info = NetworkInfo("net", keras_config=to_config(model))
    file = packed.from_bytes(packed.to_bytes(graph, info))
    return file.graph, file.info


def round_trip(model: keras.Model) -> keras.Model:
    return to_keras(*stored(model))


def assert_same_outputs(found: keras.Model, expected: keras.Model) -> None:
    x = random_images(expected, 2)
    ours, theirs = evaluate(found, x), evaluate(expected, x)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5 * np.abs(theirs).max())


def assert_same_network(found: keras.Model, expected: Graph) -> None:
    """Both compute the same: sharper than outputs, where a sign may flip at a rounding."""
    graph, _ = passes.apply(from_keras(found), passes.STORED)
    expected = steady_signs(expected)
    assert graph.nodes == expected.nodes
    assert graph.tensors.keys() == expected.tensors.keys()
    for name, tensor in expected.tensors.items():
        if isinstance(tensor, np.ndarray):
            # The mean of equal numbers is theirs up to the rounding of its sum.
            bound = 5e-6 * np.abs(tensor).max()
            np.testing.assert_allclose(graph.tensors[name], tensor, rtol=0, atol=bound)
        else:
            np.testing.assert_array_equal(graph.tensors[name].bits, tensor.bits, err_msg=name)


@pytest.mark.parametrize("name", CASES)
def test_every_layer_comes_back(name: str) -> None:
    if name.startswith("activation that is a") and keras.__version__.startswith("3.5."):
        pytest.skip("Keras 3.5 does not read its own configs of activations that are layers")
    model = model_of(name)
    graph, info = stored(model)
    again = to_keras(graph, info)
    assert_same_network(again, graph)
    assert [w.path for w in again.weights] == [w.path for w in model.weights]


@pytest.mark.parametrize(
    "name", ["QuantConv2D dorefa", "QuantSeparableConv2D", "QuantConv2D scaled", "Softmax"]
)
def test_outputs_are_the_same(name: str) -> None:
    model = model_of(name)
    assert_same_outputs(round_trip(model), model)


def zoo_model(name: str, **arguments: Any) -> tuple[keras.Model, NetworkInfo]:
    model = seed_weights(registry.builder(name)(**arguments))
    shape = list(model.input_shape[1:])
    architecture = {"name": name, "arguments": {**arguments, "input_shape": shape}}
    return model, NetworkInfo(name, "tag", "scale_pm1", architecture=architecture)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("birealnet20", {"input_shape": (16, 16, 3)}),
        ("xnornet_vgg", {"input_shape": (16, 16, 3), "width": 16}),
        ("binarynet_mlp", {"width": 32}),
        ("dorefanet", {"input_shape": (44, 44, 3), "include_top": False}),
        ("quicknet_small", {"input_shape": (8, 8, 3), "num_classes": 3}),
    ],
)
def test_zoo_models_come_back(name: str, arguments: dict[str, Any]) -> None:
    model, info = zoo_model(name, **arguments)
    graph, _ = passes.apply(from_keras(model), passes.STORED)
    again = to_keras(graph, info)
    assert type(again) is type(model)
    assert again.model_spec.to_dict() == {
        **{"name": name, "tag": "tag", "preprocessing": "scale_pm1", "labels": None},
        **{"weights_sha256": None, "input_shape": list(model.input_shape[1:])},
        "num_classes": model.output_shape[-1] if len(model.output_shape) == 2 else None,
        "task": "classification",
    }
    assert_same_network(again, graph)


@pytest.mark.parametrize(
    ("quantizer", "magnitude"),
    [("ste_sign", LATENT_MAGNITUDE), ("swish_sign", LATENT_MAGNITUDE), ("xnor_weight_scale", None)],
)
def test_latent_weights_have_the_stated_magnitude(quantizer: str, magnitude: float | None) -> None:
    inputs = keras.Input(IMAGE)
    layer = nn.QuantConv2D(3, 3, input_quantizer="ste_sign", kernel_quantizer=quantizer)
    model = seed_weights(keras.Model(inputs, layer(inputs)))
    found = round_trip(model).layers[-1].get_weights()[0]
    latent = layer.get_weights()[0]
    if magnitude is None:
        magnitude = np.abs(np.clip(latent, -1, 1)).mean(axis=(0, 1, 2))
    np.testing.assert_allclose(found, np.where(latent < 0, -1, 1) * magnitude, rtol=1e-6)


COUNTING: dict[str, Callable[[], keras.Model]] = {
    "plain": lambda: counting(1152),
    "without scale": lambda: counting(600, norm=layers.BatchNormalization(scale=False)),
    "without center": lambda: counting(600, norm=layers.BatchNormalization(center=False)),
    "counts of equal signs": lambda: counting(999, layers.Rescaling(0.5, 999 / 2), unit=0.5),
    "a bias": lambda: counting(700, use_bias=True, origin=1),
    "a scale per filter": lambda: counting(
        500, kernel_quantizer="magnitude_aware_sign", unit=float(np.float32(0.03))
    ),
    "moved": lambda: counting(200, layers.Reshape((1, 8, 8)), layers.Flatten()),
    "rescaled": lambda: counting(
        800, layers.Rescaling(3.0), unit=3, norm=layers.BatchNormalization(center=False)
    ),
}


@pytest.mark.parametrize("name", COUNTING)
def test_signs_of_counts_are_those_of_the_file(name: str) -> None:
    model = COUNTING[name]()
    graph, info = stored(model)
    x = every_count(model.input_shape[1])
    expected = run(graph, x)
    signs, norms = to_keras(graph, info).predict(x, verbose=0)
    np.testing.assert_array_equal(signs, expected[graph.outputs[0]])
    largest = np.abs(expected[graph.outputs[1]]).max()
    np.testing.assert_allclose(norms, expected[graph.outputs[1]], rtol=0, atol=2e-5 * largest)


@keras.saving.register_keras_serializable(package="test")
class HalfSign(nn.Quantizer):
    """Half the sign: a quantizer of a user."""

    bits = 1

    def __call__(self, x: Any) -> Any:
        return 0.5 * nn.SteSign()(x)


@keras.saving.register_keras_serializable(package="test")
class LargestSign(HalfSign):
    """The sign times the largest magnitude of the filter, twice."""

    def __call__(self, x: Any) -> Any:
        axes = tuple(range(len(x.shape) - 1))
        scale = 2 * keras.ops.max(keras.ops.abs(x), axis=axes, keepdims=True)
        return scale * nn.SteSign()(x)


class Unregistered(HalfSign):
    """One that Keras cannot find by name."""


def own_quantizer(quantizer: Any) -> keras.Model:
    inputs = keras.Input(IMAGE)
    layer = nn.QuantConv2D(3, 3, input_quantizer="ste_sign", kernel_quantizer=quantizer)
    return seed_weights(keras.Model(inputs, layer(inputs), name="net"))


def test_quantizers_of_the_users_own_come_back() -> None:
    model = own_quantizer(HalfSign())
    graph, _ = stored(model)
    assert [node.op for node in graph.nodes] == ["sign", "bconv2d", "affine"]
    assert_same_outputs(round_trip(model), model)


def test_latent_weights_that_no_one_knows_are_refused() -> None:
    graph, info = stored(own_quantizer(LargestSign()))
    match = r"kernel' must have the scales of .*LargestSign.*, got others"
    with pytest.raises(ModelFormatError, match=match):
        to_keras(graph, info)
    with pytest.raises(ConversionError, match=r"Unregistered in its config.*must be an nn.Quanti"):
        stored(own_quantizer(Unregistered()))
    unknown = (info.keras_config or "").replace("LargestSign", "LostSign")
    with pytest.raises(ModelFormatError, match=r"got .*LostSign. If it is your quantizer"):
        from_config(unknown)


def test_kernels_that_an_optimizer_keeps_binary_are_theirs() -> None:
    inputs = keras.Input(IMAGE)
    layer = nn.QuantConv2D(3, 3, input_quantizer="ste_sign", kernel_quantizer=nn.NoOp(1))
    model = seed_weights(keras.Model(inputs, layer(inputs)))
    layer.kernel.assign(np.sign(np.array(layer.kernel)))
    np.testing.assert_array_equal(round_trip(model).layers[-1].get_weights()[0], layer.kernel)


@pytest.mark.parametrize("axis", [-1, None])
@pytest.mark.parametrize("invert", [False, True])
def test_an_adapted_normalization_comes_back(axis: int | None, invert: bool) -> None:
    layer = layers.Normalization(axis, invert=invert, dtype="mixed_float16")
    layer.adapt(np.random.default_rng(0).normal(3, [1, 5, 9, 0], (64, *IMAGE)))
    model = computing_in_float32(keras.Sequential([keras.Input(IMAGE), layer]))
    again = round_trip(model)
    x = 20 * random_images(model, 2)
    found, expected = again.predict_on_batch(x), model.predict_on_batch(x)
    assert np.abs(expected - x).max() > 1
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_updates_by_lora_come_back_in_the_kernels(dtype: str) -> None:
    inputs = keras.Input(IMAGE)
    adapted = [
        layers.Conv2D(4, 2, dtype=dtype),
        nn.QuantConv2D(5, 3, kernel_quantizer="dorefa_sign", dtype=dtype),
        nn.QuantDense(3, input_quantizer="ste_sign", kernel_quantizer="dorefa_sign", dtype=dtype),
    ]
    x = inputs
    for layer in adapted:
        x = layer(x)
        layer.enable_lora(2)
        layer.lora_kernel_b.assign(np.random.default_rng(1).normal(size=layer.lora_kernel_b.shape))
    model = computing_in_float32(keras.Model(inputs, x))
    again = round_trip(model)
    assert_same_outputs(again, model)
    assert not any(layer.lora_enabled for layer in again.layers[1:])


def test_nested_and_shared_layers_come_back() -> None:
    inner_input = keras.Input(IMAGE)
    x = nn.QuantConv2D(4, 3, padding="same", name="conv", **BINARY)(inner_input)
    inner = keras.Model(inner_input, layers.BatchNormalization(name="bn")(x), name="inner")
    sequence = keras.Sequential([layers.PReLU(shared_axes=[1, 2])], name="sequence")
    inputs = keras.Input(IMAGE)
    model = keras.Model(inputs, sequence(layers.Add()([inner(inner(inputs)), inputs])))
    model = seed_weights(model)
    assert_same_outputs(round_trip(model), model)


def small_network() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    x = inputs
    for k, filters in enumerate((8, 16)):
        x = nn.QuantConv2D(
            filters,
            3,
            padding="same",
            input_quantizer="ste_sign",
            kernel_quantizer=("ste_sign", "magnitude_aware_sign")[k],
            kernel_constraint="weight_clip",
            use_bias=False,
        )(x)
        x = layers.BatchNormalization()(x)
    x = layers.Flatten()(x)
    return seed_weights(keras.Model(inputs, layers.Dense(4, activation="softmax")(x)))


def test_training_flips_signs() -> None:
    model = round_trip(small_network())
    before = nn.binary_weights(model)
    model.compile(keras.optimizers.Adam(0.03), "sparse_categorical_crossentropy")
    x, y = random_images(model, 32), np.arange(32) % 4
    losses = [model.train_on_batch(x, y) for _ in range(12)]
    flipped = [
        (kernel.values != before[path].values).mean()
        for path, kernel in nn.binary_weights(model).items()
    ]
    assert all(0.01 < share < 0.9 for share in flipped), flipped
    assert losses[-1] < losses[0]


def test_recalibration_keeps_the_outputs_and_brings_statistics_back() -> None:
    model = small_network()
    again = round_trip(model)
    norms = [la for la in again.layers if isinstance(la, layers.BatchNormalization)]
    assert all(np.all(np.array(norm.moving_mean) == 0) for norm in norms)
    x = random_images(again, 64)
    assert recalibrate(again, x) is again
    assert_same_outputs(again, model)
    inputs = keras.Model(again.input, [norm.input for norm in norms]).predict_on_batch(x)
    for norm, value in zip(norms, inputs, strict=True):
        np.testing.assert_allclose(norm.moving_mean, value.mean((0, 1, 2)), atol=1e-4)
        np.testing.assert_allclose(norm.moving_variance, value.var((0, 1, 2)), rtol=1e-4)


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("center", [True, False])
def test_recalibration_of_every_batch_norm(scale: bool, center: bool) -> None:
    inputs = keras.Input(IMAGE)
    norm = layers.BatchNormalization(scale=scale, center=center)
    model = seed_weights(keras.Model(inputs, norm(inputs)))
    again = recalibrate(round_trip(model), 3 + 2 * random_images(model, 16))
    assert_same_outputs(again, model)


def test_a_config_computes_in_float32_and_keeps_the_constraints() -> None:
    inputs = keras.Input(IMAGE)
    layer = nn.QuantConv2D(
        3, 3, kernel_constraint="weight_clip", kernel_regularizer="l2", dtype="mixed_float16"
    )
    model = keras.Model(inputs, layer(inputs))
    model.compile("adam", "mse")
    again = from_config(to_config(model)).layers[-1]
    assert again.compute_dtype == "float32"
    assert again.kernel_constraint.get_config() == nn.WeightClip().get_config()
    assert isinstance(again.kernel_regularizer, keras.regularizers.L2)
    assert "optimizer" not in to_config(model)


class Own(keras.constraints.Constraint):
    """A constraint of a user."""

    def __call__(self, w: Any) -> Any:
        return w


def test_what_only_training_needs_is_left_out_where_it_is_not_known() -> None:
    inputs = keras.Input(IMAGE)
    model = keras.Model(inputs, layers.Conv2D(2, 1, kernel_constraint=Own())(inputs))
    assert from_config(to_config(model)).layers[-1].kernel_constraint is None


def test_a_config_with_an_unknown_object_is_not_written() -> None:
    inputs = keras.Input(IMAGE)
    model = keras.Model(inputs, layers.LayerNormalization()(inputs), name="net")
    with pytest.raises(ConversionError, match=r"net: keras.layers.LayerNormalization in its con"):
        to_config(model)


ATTACKS = {
    "module": {"module": "os", "class_name": "system", "config": {}, "registered_name": None},
    "lambda": {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"function": "x"},
        "registered_name": None,
    },
    "function": {
        "module": "builtins",
        "class_name": "function",
        "config": "eval",
        "registered_name": "function",
    },
    "other function": {
        "module": "subprocess",
        "class_name": "function",
        "config": "run",
        "registered_name": "function",
    },
    "posed as ours": {
        "module": "os",
        "class_name": "system",
        "config": {},
        "registered_name": "bnnzoo>system",
    },
    "posed as Keras's": {
        "module": "os",
        "class_name": "Dense",
        "config": {},
        "registered_name": None,
    },
    "lambda object": {"class_name": "__lambda__", "config": {"value": "x"}},
    "registered by others": {
        "module": "keras.layers",
        "class_name": "Dense",
        "config": {},
        "registered_name": "evil>Dense",
    },
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_config_names_only_known_objects(name: str) -> None:
    config = json.loads(to_config(model_of("Conv2D")))
    config["config"]["layers"][1]["config"]["activation"] = ATTACKS[name]
    with pytest.raises(ModelFormatError, match="must name only layers of Keras and bnnzoo, got "):
        from_config(json.dumps(config))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "must be JSON"),
        ("[" * 100_000, "must be JSON"),
        ("[]", "must describe a model, got list"),
        ('{"module": "keras", "class_name": "Functional", "config": {}}', "does not describe"),
        (
            '{"module": "keras.layers", "class_name": "ReLU", "config": {}, '
            '"registered_name": null}',
            "must describe a model, got ReLU",
        ),
    ],
)
def test_configs_that_are_none(text: str, match: str) -> None:
    with pytest.raises(ModelFormatError, match=match):
        from_config(text)


def renamed(graph: Graph, old: str, new: str) -> Graph:
    nodes = tuple(
        dataclasses.replace(node, tensors={r: t.replace(old, new) for r, t in node.tensors.items()})
        for node in graph.nodes
    )
    tensors = {name.replace(old, new): tensor for name, tensor in graph.tensors.items()}
    return Graph(graph.inputs, nodes, graph.outputs, tensors)


def test_files_that_describe_another_network() -> None:
    graph, info = stored(model_of("BatchNormalization without scale"))
    (name,) = {tensor.rpartition("/")[0] for tensor in graph.tensors}
    with pytest.raises(ModelFormatError, match=f"Tensor '{name}/bias' is missing"):
        to_keras(renamed(graph, f"{name}/bias", "other/bias"), info)
    with pytest.raises(ModelFormatError, match=f"Tensor '{name}/scale' must be positive"):
        negative = {f"{name}/scale": -graph.tensors[f"{name}/scale"]}
        to_keras(dataclasses.replace(graph, tensors={**graph.tensors, **negative}), info)
    three, four = (
        stored(keras.Sequential([keras.Input((6,)), layers.Dense(units, name="dense")]))
        for units in (3, 4)
    )
    with pytest.raises(
        ModelFormatError, match=r"'dense/kernel' must be \(6, 4\), got \(1, 1, 6, 3\)"
    ):
        to_keras(three[0], four[1])
    other = Graph({graph.input: (6, 7, 5)}, graph.nodes, graph.outputs, graph.tensors)
    with pytest.raises(ModelFormatError, match=r"net must take \(6, 7, 5\), as its graph"):
        to_keras(other, info)


@pytest.mark.parametrize(
    ("architecture", "match"),
    [
        ({"name": "resnet50"}, "architecture 'resnet50' cannot be built"),
        ({"name": "birealnet20", "arguments": {"depth": 9}}, "unexpected keyword argument 'depth'"),
        ({"name": "birealnet20", "arguments": {"input_shape": [9, 9, 3]}}, "as in its graph"),
        ({"name": "birealnet20", "arguments": {"num_classes": "x"}}, "cannot be built"),
        (
            {"name": "binarynet", "arguments": {"width": 10**6}},
            "width of binarynet must be at most 64, the largest axis of the file's tensors",
        ),
    ],
)
def test_architectures_that_cannot_be_built(architecture: dict[str, Any], match: str) -> None:
    tensors = {"conv/kernel": np.ones((64, 3, 3, 16), np.float32)}
    graph = Graph({"images": (16, 16, 3)}, (), ("images",), tensors)
    with pytest.raises(ModelFormatError, match=match):
        to_keras(graph, NetworkInfo("net", architecture=architecture))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Dense", {"units": 10**9}),
        ("Dense", {"units": 10**30}),
        ("Dense", {"lora_rank": 10**9}),
        ("Conv2D", {"filters": 10**9}),
        ("Conv2D", {"kernel_size": [9, 10**9]}),
        ("DepthwiseConv2D", {"depth_multiplier": 10**9}),
    ],
)
def test_a_config_asks_for_no_more_memory_than_the_file_has(
    name: str, settings: dict[str, Any]
) -> None:
    graph, info = stored(model_of(name))
    config = json.loads(info.keras_config or "")
    config["config"]["layers"][1]["config"] |= settings
    message = "must have at most .* weights, as its file holds|does not describe a model"
    with pytest.raises(ModelFormatError, match=message):
        to_keras(graph, NetworkInfo("net", keras_config=json.dumps(config)))


def keras_layer(kind: str, **settings: Any) -> dict[str, Any]:
    place = {"module": "keras.layers", "class_name": kind, "registered_name": None}
    return {**place, "config": {"name": kind.lower(), **settings}}


def test_shapes_that_a_config_derives_ask_for_no_more_memory_either() -> None:
    sequence = [keras.Input((4, 4, 2)), layers.Flatten(), layers.Dense(3)]
    graph, info = stored(keras.Sequential(sequence, name="net"))
    config = json.loads(info.keras_config or "")
    padding = keras_layer("ZeroPadding2D", padding=[[0, 10**8], [0, 0]])
    config["config"]["layers"][1:1] = [padding, keras_layer("PReLU")]
    with pytest.raises(
        ModelFormatError, match=r"net must have at most 4,294 weights.* got 3,200,0"
    ):
        to_keras(graph, NetworkInfo("net", keras_config=json.dumps(config)))


@pytest.mark.parametrize(
    "settings",
    [
        {"padding": [[2**20, 2**20]] * 2, "strides": [2**20, 2**20]},
        {"padding": "same", "dilation_rate": [2**20, 2**20]},
    ],
    ids=["padding", "dilation"],
)
def test_borders_ask_for_no_more_memory_than_a_graph_may(settings: dict[str, Any]) -> None:
    layer = nn.QuantConv2D(3, 3, padding=1, **BINARY)
    graph, info = stored(keras.Sequential([keras.Input((4, 4, 2)), layer], name="net"))
    config = json.loads(info.keras_config or "")
    config["config"]["layers"][1]["config"] |= settings
    with pytest.raises(ModelFormatError, match=r"must compute at most 67,108,864 numbers, got \(2"):
        to_keras(graph, NetworkInfo("net", keras_config=json.dumps(config)))


def test_values_of_operations_are_no_larger_than_those_of_a_graph_either() -> None:
    x = keras.Input((4, 4, 2))
    y = keras.ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    graph, info = stored(keras.Model(x, y, name="net"))
    config = json.loads(info.keras_config or "")
    config["config"]["layers"][1]["config"]["pad_width"][1:3] = [[0, 10**7], [10**7, 0]]
    with pytest.raises(
        ModelFormatError, match=r"must compute at most .*got \(10000004, 10000004, 2"
    ):
        to_keras(graph, NetworkInfo("net", keras_config=json.dumps(config)))


def test_a_config_makes_no_more_values_than_a_graph_may() -> None:
    x = model = keras.Input((2, 2, 8))
    y = layers.ReLU()(x)
    for _ in range(12):
        model = keras.Model(x, y)
        x = keras.Input((2, 2, 8))
        y = model(model(x))
    graph, info = stored(model)
    again = to_keras(graph, info)
    assert again.count_params() == 0
    config = text = json.loads(info.keras_config or "")
    while text["config"]["layers"][1]["class_name"] == "Functional":
        text = text["config"]["layers"][1]
    text["config"]["layers"][1] = keras_layer("ReLU") | {"inbound_nodes": [{}] * 10_000}
    with pytest.raises(ModelFormatError, match=r"must have at most 100,000 values, got "):
        to_keras(graph, NetworkInfo("net", keras_config=json.dumps(config)))


def test_groups_of_channels_are_counted_as_values() -> None:
    x = keras.Input((1, 1, 8))
    graph, info = stored(keras.Model(x, SplitChannels(2)(x)[0], name="net"))
    config = json.loads(info.keras_config or "")
    config["config"]["layers"][1]["config"]["groups"] = 2**26
    with pytest.raises(ModelFormatError, match=r"must have at most 100,000 values, got 67,108,865"):
        to_keras(graph, NetworkInfo("net", keras_config=json.dumps(config)))


def test_arguments_of_an_architecture_ask_for_no_more_memory_than_the_file_has() -> None:
    tensors = {"long/bias": np.ones(10**6, np.float32)}
    graph = Graph({"images": (28, 28, 1)}, (), ("images",), tensors)
    wide = {"name": "binarynet_mlp", "arguments": {"width": 10**6}}
    with pytest.raises(ModelFormatError, match=r"must have at most 2,004,096 weights"):
        to_keras(graph, NetworkInfo("net", architecture=wide))


def test_a_sequential_model_says_its_input() -> None:
    graph, info = stored(keras.Sequential([keras.Input((5,)), layers.Dense(3)], name="net"))
    config = json.loads(info.keras_config or "")
    del config["config"]["layers"][0], config["config"]["build_input_shape"]
    with pytest.raises(ModelFormatError, match="must give the input shape, got none for net"):
        to_keras(graph, NetworkInfo("net", keras_config=json.dumps(config)))
