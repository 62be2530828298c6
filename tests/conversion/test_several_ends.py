"""Models of several inputs and outputs, from Keras to the runtime and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import bnnzoo
from bnnzoo import nn, runtime
from bnnzoo.errors import ArgumentError
from bnnzoo.formats import packed
from tests.keras_bridge.keras_cases import BINARY
from tests.keras_bridge.keras_networks import seed_weights

pytestmark = pytest.mark.filterwarnings("ignore::bnnzoo.nn.StarvedWeightsWarning")

SHAPE = (6, 5, 3)


def image(name: str, shape: tuple[int, ...] = SHAPE) -> Any:
    return keras.Input(shape, name=name)


def conv(x: Any, filters: int = 4, name: str | None = None) -> Any:
    return nn.QuantConv2D(filters, 3, padding="same", name=name, **BINARY)(x)


def pooled(x: Any, name: str | None = None) -> Any:
    return layers.GlobalAveragePooling2D(name=name)(x)


def stereo() -> keras.Model:
    """The same layer on both images, which are merged."""
    left, right = image("left"), image("right")
    shared = nn.QuantConv2D(4, 3, name="shared", **BINARY)
    merged = layers.Concatenate()([shared(right), shared(left)])
    return keras.Model([right, left], pooled(merged))


def image_and_facts() -> keras.Model:
    """Inputs and outputs in dicts, those of outputs nested."""
    photo, facts = image("photo"), image("facts", (4,))
    features = conv(photo, name="features")
    both = layers.Concatenate()([pooled(features), facts])
    heads = {"b": layers.Dense(2)(both), "a": [layers.Dense(3)(both), features]}
    outputs = {"scores": heads, "mask": layers.Activation("sigmoid")(features)}
    return keras.Model({"photo": photo, "facts": facts}, outputs)


def autoencoder() -> keras.Model:
    x = image("image")
    return keras.Model(x, [conv(x, name="code"), x])


def nothing() -> keras.Model:
    x = image("image")
    return keras.Model(x, layers.Dropout(0.5)(x))


def repeated() -> keras.Model:
    """A value twice, a sign twice, an input twice."""
    x, y = image("x"), image("y")
    bits = layers.Activation(nn.SteSign(), name="bits")(x)
    code = conv(bits, name="code")
    return keras.Model([x, y], [code, bits, y, code, bits, y, code])


def unused() -> keras.Model:
    x, mask = image("x"), image("mask", (7,))
    return keras.Model([mask, x], conv(x + x))


def named() -> keras.Model:
    """Layers that do nothing but name outputs, behind operators."""
    x = image("image")
    code = conv(0.5 - x[:, 1:, ..., :2] / 255)
    outputs = [layers.Activation("linear", name="mask")(code), pooled(code, name="scores")]
    return keras.Model(x, outputs)


def nested() -> keras.Model:
    """A model inside a model, called with a dict in another order than its inputs."""
    a, b = image("a"), image("b")
    inner = keras.Model([b, a], {"difference": layers.Subtract()([b, a]), "b": b}, name="inner")
    x, y = image("x"), image("y")
    first = inner({"a": x, "b": y})
    second = inner([first["difference"], x])
    return keras.Model([x, y], [first["difference"], second["difference"], second["b"]])


MODELS: dict[str, tuple[Callable[[], keras.Model], tuple[str, ...], tuple[str, ...] | None]] = {
    "stereo": (stereo, ("right", "left"), None),
    "image and facts": (
        image_and_facts, ("facts", "photo"), ("mask", "scores/a/0", "scores/a/1", "scores/b")
    ),
    "autoencoder": (autoencoder, ("image",), ("code", "image")),
    "nothing": (nothing, ("image",), ("image",)),
    "repeated": (
        repeated, ("x", "y"), ("code", "bits/dequantize", "y", "code:2", "bits/dequantize:2", "y:2",
                               "code:3"),
    ),
    "unused": (unused, ("mask", "x"), None),
    "named": (named, ("image",), ("mask", "scores")),
    "nested": (nested, ("x", "y"), None),
}  # fmt: skip
# What Keras 3.12 does not build: an input that is an output, and one that nothing uses.
NEWER = ("repeated", "unused")
OLD = keras.__version__ < "3.13"


@pytest.fixture(scope="module", params=[name for name in MODELS if not (OLD and name in NEWER)])
def converted(request, tmp_path_factory):
    """A model of the table, and the file that it was converted to."""
    build, inputs, outputs = MODELS[request.param]
    model = seed_weights(build())
    path = tmp_path_factory.mktemp("packed") / "net.safetensors"
    bnnzoo.convert(model, path, check=2)
    return model, path, inputs, outputs


def given(model: keras.Model, count: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    return [rng.standard_normal((count, *x.shape[1:])).astype(np.float32) for x in model.inputs]


def by_keras(model: keras.Model, x: list[np.ndarray]) -> list[np.ndarray]:
    arguments = x
    if isinstance(model.input, dict):
        arguments = {tensor.name: array for tensor, array in zip(model.inputs, x, strict=True)}
    elif len(x) == 1:
        (arguments,) = x
    return keras.tree.flatten(model.predict_on_batch(arguments))


def assert_close(found: Any, expected: list[np.ndarray]) -> None:
    found = list(found) if isinstance(found, tuple) else [found]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max(initial=1e-9))


def test_the_runtime_gives_what_keras_gives_in_its_order(converted):
    model, path, inputs, outputs = converted
    net, x = runtime.load(path), given(model)
    assert net.input_names == inputs
    assert outputs is None or net.output_names == outputs
    assert net.input_shapes == tuple(tuple(tensor.shape[1:]) for tensor in model.inputs)
    assert net.output_shapes == tuple(tuple(tensor.shape[1:]) for tensor in model.outputs)
    expected = by_keras(model, x)
    assert_close(net(*x), expected)
    assert_close(net(dict(zip(inputs, x, strict=True))), expected)
    if len(x) > 1:
        assert_close(net(x), expected)
    assert_close(net(*(array[:0] for array in x)), [array[:0] for array in expected])


def test_the_file_becomes_the_model_again(converted):
    model, path, _, _ = converted
    again = bnnzoo.open_model(path)
    x = given(model)
    assert [tensor.name for tensor in again.inputs] == [tensor.name for tensor in model.inputs]
    assert_close(tuple(by_keras(again, x)), by_keras(model, x))
    before, after = (keras.tree.map_structure(lambda t: 0, m.output) for m in (model, again))
    assert before == after


def test_only_several_inputs_take_a_newer_format(converted):
    model, path, _, _ = converted
    version = 1 if len(model.inputs) == 1 else 2
    assert packed.open_file(path).format == f"bnnzoo-packed/{version}"


def test_wrong_calls_say_what_is_wrong(tmp_path):
    path = tmp_path / "stereo.safetensors"
    bnnzoo.convert(seed_weights(stereo()), path, check=0)
    net = runtime.load(path)
    x = np.zeros((2, *SHAPE), np.float32)
    with pytest.raises(ArgumentError, match="same number of images, got right 2, left 1"):
        net(x, x[:1])
    with pytest.raises(ArgumentError, match=r"left must be \(n, 6, 5, 3\), got \(2, 6, 5, 2\)"):
        net(x, x[..., :2])
    with pytest.raises(ArgumentError, match="right must be float32, got uint8"):
        net(x.astype(np.uint8), x)
    with pytest.raises(ArgumentError, match=r"with 2 inputs \(right, left\), got 1"):
        net(x)
    for wants_one in (net.predict, net.preprocess):
        with pytest.raises(ArgumentError, match="one input for this, got 2: right, left"):
            wants_one(x.astype(np.uint8))
    assert sum(time.macs for time in net.profile(runs=1)) == net.macs


def test_what_takes_single_images_refuses(tmp_path):
    model, path = seed_weights(stereo()), tmp_path / "stereo.safetensors"
    bnnzoo.convert(model, path, check=0)
    data = np.zeros((2, *SHAPE), np.uint8), np.zeros(2, int)
    for runtime_name, network in (("packed", path), ("keras", model)):
        with pytest.raises(ArgumentError, match="Use a .*classifier with one input and one"):
            bnnzoo.evaluate(network, data, runtime=runtime_name, preprocessing="raw")
    with pytest.raises(ArgumentError, match=r"single input, got right, left. Leave data out"):
        bnnzoo.convert(model, None, dry_run=True, data=data)
