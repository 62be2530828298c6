"""Every supported layer, converted, gives what it gives in Keras; others say why."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from bnnzoo import nn
from bnnzoo.errors import ConversionError
from bnnzoo.graph.interpreter import run
from bnnzoo.keras_bridge.from_keras import HANDLERS, from_keras, trace
from bnnzoo.keras_bridge.from_keras.normalizing import AUGMENTING
from tests.backend import evaluate
from tests.keras_bridge.keras_cases import BINARY, CASES, IMAGE, VECTOR, model_of
from tests.keras_bridge.keras_networks import random_images, seed_weights

pytestmark = pytest.mark.filterwarnings("ignore::bnnzoo.nn.StarvedWeightsWarning")


def assert_equal_outputs(model: keras.Model, tolerance: float = 1e-5) -> None:
    """The reference interpreter's outputs are Keras's up to the rounding of float32."""
    graph = from_keras(model)
    x = random_images(model, 3)
    several = len(model.outputs) > 1
    quick = [] if several else [evaluate(partial(model, training=False), x)]
    outputs = model.predict_on_batch(x) if several else quick
    values = run(graph, x)
    for name, output in zip(graph.outputs, outputs, strict=True):
        found = values[name]
        np.testing.assert_allclose(found, output, rtol=0, atol=tolerance * np.abs(output).max())


@pytest.mark.parametrize("name", CASES)
def test_layer_gives_what_keras_gives(name: str) -> None:
    assert_equal_outputs(model_of(name))


def test_every_supported_layer_has_a_case() -> None:
    names = {name.split()[0] for name in CASES}
    assert {kind.__name__ for kind in HANDLERS if kind not in AUGMENTING} <= names


def test_negative_axes_count_from_the_end() -> None:
    """Compared with NumPy: TensorFlow 2.16 reads past the end for them."""
    inputs = keras.Input(IMAGE)
    model = keras.Model(inputs, keras.ops.transpose(inputs, (0, 3, 1, -2)))
    graph, x = from_keras(model), random_images(model, 3)
    np.testing.assert_array_equal(run(graph, x)[graph.outputs[0]], x.transpose(0, 3, 1, 2))


def test_integers_are_exact() -> None:
    model = model_of("QuantConv2D integers")
    graph = from_keras(model)
    x = random_images(model, 3)
    np.testing.assert_array_equal(run(graph, x)[graph.outputs[0]], evaluate(model, x))
    assert [node.op for node in graph.nodes] == ["sign", "bconv2d"]
    assert graph.tensors[graph.nodes[1].tensors["kernel"]].dtype == np.int8


@pytest.mark.parametrize("name, op", [
    ("QuantConv2D dorefa", "bconv2d"),
    ("QuantDense dorefa", "bconv2d"),
    ("QuantConv2D scaled", "bconv2d"),
    ("QuantConv2D centered", "bconv2d"),
    ("QuantConv2D real input", "conv2d"),
])  # fmt: skip
def test_kernels_of_signs_are_stored_as_bits(name: str, op: str) -> None:
    graph = from_keras(model_of(name))
    (node,) = (n for n in graph.nodes if n.name.endswith(("conv", name.split()[0].lower())) and
               n.tensors.get("kernel", "").endswith("/kernel"))  # fmt: skip
    assert node.op == op
    assert graph.tensors[node.tensors["kernel"]].dtype == np.int8


def block(x: Any, filters: int, name: str) -> Any:
    y = nn.QuantConv2D(filters, 3, padding="same", name=f"{name}_conv", **BINARY)(x)
    return layers.BatchNormalization(name=f"{name}_bn")(y)


def test_names_are_those_of_the_layers() -> None:
    inputs = keras.Input(IMAGE, name="images")
    x = nn.QuantConv2D(
        4, 3, kernel_quantizer="magnitude_aware_sign", input_quantizer="ste_sign", name="conv"
    )(inputs)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(3, activation="softmax", name="logits")(x)
    graph = from_keras(keras.Model(inputs, x))
    assert [node.name for node in graph.nodes] == [
        *("conv/sign", "conv/conv", "conv", "bn", "flat"),
        *("logits/image", "logits/conv", "logits/scale", "logits/softmax", "logits"),
    ]
    assert sorted(graph.tensors) == [
        *("bn/beta", "bn/gamma", "bn/mean", "bn/variance"),
        *("conv/bias", "conv/kernel", "conv/kernel_scale", "logits/bias", "logits/kernel"),
    ]
    assert graph.input == "images"


def test_nested_models_are_taken_apart() -> None:
    inner_input = keras.Input(IMAGE)
    inner = keras.Model(inner_input, block(inner_input, 4, "a"), name="inner")
    sequence = keras.Sequential([inner, layers.ReLU(name="relu")], name="sequence")
    inputs = keras.Input(IMAGE)
    model = seed_weights(keras.Model(inputs, sequence(layers.Dropout(0.1)(inputs))))
    assert_equal_outputs(model)
    names = [node.name for node in from_keras(model).nodes]
    assert names[-2:] == ["sequence/inner/a_bn", "sequence/relu"]


def test_shared_layers_share_their_tensors() -> None:
    inputs = keras.Input(IMAGE)
    shared = nn.QuantConv2D(4, 3, padding="same", name="shared", **BINARY)
    slope = layers.LeakyReLU(0.3, name="slope")
    x = shared(slope(shared(inputs)))
    narrow = slope(layers.GlobalAveragePooling2D()(layers.Conv2D(2, 1, name="thin")(x)))
    model = seed_weights(keras.Model(inputs, [x, narrow]))
    assert_equal_outputs(model)
    graph = from_keras(model)
    first, second = (node for node in graph.nodes if node.op == "bconv2d")
    assert first.tensors == second.tensors == {"kernel": "shared/kernel"}
    assert {"shared", "shared:2", "slope", "slope:2"} <= {node.name for node in graph.nodes}
    assert graph.tensors["slope/alpha"].shape == (4,)
    assert graph.tensors["slope:2/alpha"].shape == (2,)


def test_a_shared_nested_model() -> None:
    inner_input = keras.Input(IMAGE)
    inner = keras.Model(inner_input, block(inner_input, 4, "a"), name="inner")
    inputs = keras.Input(IMAGE)
    model = seed_weights(keras.Model(inputs, layers.Add()([inner(inner(inputs)), inputs])))
    assert_equal_outputs(model)
    nodes = {node.name: node for node in from_keras(model).nodes}
    assert nodes["inner:2/a_bn"].tensors == nodes["inner/a_bn"].tensors


def test_several_outputs_and_an_input_that_is_one() -> None:
    inputs = keras.Input(IMAGE)
    x = layers.Activation(nn.SteSign())(inputs)
    model = seed_weights(keras.Model(inputs, [block(x, 3, "b"), x, layers.Identity()(inputs)]))
    assert_equal_outputs(model)


def test_part_of_a_model_and_its_copy() -> None:
    """Layers that other models have called before: their nodes are told apart."""
    inputs = keras.Input(IMAGE)
    x = block(inputs, 4, "a")
    whole = seed_weights(keras.Model(inputs, block(x, 4, "b")))
    part = keras.Model(inputs, x)
    other = keras.Input(IMAGE)
    again = keras.Model(other, whole(other))
    for model in (whole, part, again):
        assert_equal_outputs(model)
    assert [node.name for node in from_keras(part).nodes][-1] == "a_bn"


def test_sequential_models() -> None:
    model = keras.Sequential(
        [keras.Input(VECTOR), nn.QuantDense(6, **BINARY), layers.BatchNormalization()]
    )
    assert_equal_outputs(seed_weights(model))


def test_the_model_stays_as_it_was() -> None:
    model = model_of("QuantConv2D scaled")
    before = [np.array(w) for w in model.get_weights()], model.to_json()
    from_keras(model)
    for weight, value in zip(model.get_weights(), before[0], strict=True):
        np.testing.assert_array_equal(weight, value)
    assert model.to_json() == before[1]
    assert len(model.layers[-1]._inbound_nodes) == 1


def test_calls_know_their_values() -> None:
    inputs = keras.Input(IMAGE, name="images")
    x = layers.Dropout(0.5, name="drop")(inputs)
    traced = trace(keras.Model(inputs, block(x, 4, "a")))
    assert [(c.call.path, c.inputs, c.outputs, c.quantized) for c in traced.calls] == [
        ("drop", ("images",), ("images",), None),
        ("a_conv", ("images",), ("a_conv",), "a_conv/sign"),
        ("a_bn", ("a_conv",), ("a_bn",), None),
    ]


class HalfSign(nn.Quantizer):
    """A quantizer of a user: half the sign."""

    bits = 1

    def __call__(self, x: Any) -> Any:
        return 0.5 * nn.SteSign()(x)


class HalfTern(HalfSign):
    """One that is not binary, whatever it says."""

    def __call__(self, x: Any) -> Any:
        return 0.5 * nn.SteTern()(x)


class RandomSign(HalfSign):
    """One that rolls dice at every call."""

    def __call__(self, x: Any) -> Any:
        return nn.SteSign()(x + keras.random.normal(x.shape))


def user_quantizer(x: Any) -> Any:
    return keras.ops.sign(x)


class OwnConv2D(layers.Conv2D):
    """A layer of a user, which may compute anything."""


def conv(**arguments: Any) -> Callable[[], keras.Model]:
    return lambda: of(nn.QuantConv2D(2, 3, name="layer", **arguments))


def of(layer: Any, shape: tuple[int | None, ...] = IMAGE) -> keras.Model:
    inputs = keras.Input(shape)
    return keras.Model(inputs, layer(inputs))


def broken() -> keras.Model:
    model = of(layers.Conv2D(2, 1, name="layer"))
    model.layers[-1].kernel.assign(np.full((1, 1, 4, 2), np.nan))
    return model


REFUSED: dict[str, tuple[Callable[[], keras.Model], str]] = {
    "kind": (
        lambda: of(layers.LayerNormalization(name="layer")),
        r"Cannot convert layer 'layer' \(LayerNormalization\): this kind of layer is not supported."
        r" Supported: .*QuantConv2D.* Replace it, or convert the part of the model before it.",
    ),
    "activation": (
        lambda: of(layers.Activation("gelu", name="layer")),
        r"Cannot convert layer 'layer' \(Activation\): activation 'gelu' is not supported. "
        r"Supported: .*leaky_tanh.*relu.*quantizers. Replace it and train again.",
    ),
    "subclass": (lambda: of(OwnConv2D(2, 1, name="layer")), r"'layer' \(OwnConv2D\): this kind"),
    "lambda": (lambda: of(layers.Lambda(lambda x: x, name="layer")), r"'layer' \(Lambda\)"),
    "bicubic": (
        lambda: of(layers.UpSampling2D(2, interpolation="bicubic", name="layer")),
        r"interpolation must be 'nearest' or 'bilinear', got 'bicubic'. Choose one of them",
    ),
    "antialias": (
        lambda: of(layers.Resizing(3, 3, antialias=True, name="layer")),
        r"'layer' \(Resizing\): antialias must be False, got True. Resize images before",
    ),
    "mirrored border": (
        lambda: of(lambda x: keras.ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="reflect")),
        r"'pad.*' \(Pad\): it must pad rows and columns with one number, got mode 'reflect' and "
        r"pad_width .*Use keras.layers.ZeroPadding2D",
    ),
    "border of channels": (
        lambda: of(lambda x: keras.ops.pad(x, [[0, 0], [0, 0], [0, 0], [1, 1]])),
        r"'pad.*' \(Pad\): it must pad rows and columns with one number, got mode 'constant' and",
    ),
    "operation": (
        lambda: of(lambda x: x // 2),
        r"'floor_divide.*' \(FloorDivide\): this operation of keras.ops is not supported. "
        r"Supported: Add, .*, Transpose, TrueDivide. Use one of them, or a layer.",
    ),
    "operands of other axes": (
        lambda: of(lambda x: x * layers.GlobalMaxPooling2D()(x)),
        r"with the same number of axes, got \(6, 7, 4\) and \(4,\). Reshape one of them",
    ),
    "a quotient of values": (
        lambda: of(lambda x: x / x),
        r"\(TrueDivide\): it must be of a value and",
    ),
    "a number divided by a value": (
        lambda: of(lambda x: 1 / x),
        r"\(TrueDivide\): it must be of a value and a finite number, not divided by it, got 1. Use",
    ),
    "a number per channel": (
        lambda: of(lambda x: x * np.ones(4, np.float32)),
        r"\(Multiply\): it must be of a value and a finite number.* Use keras.layers.Normalization",
    ),
    "every second row": (
        lambda: of(lambda x: x[:, ::2]),
        r"\(GetItem\): it must be ranges without steps .* for axis 1. Slice with",
    ),
    "a part of the batch": (lambda: of(lambda x: x[1:, 0]), r"\(GetItem\): .* for axis 0"),
    "a maximum with a start": (
        lambda: of(lambda x: keras.ops.max(x, axis=(1, 2), initial=0.0)),
        r"\(Max\): initial must be None, got 0.0. Use keras.ops.maximum",
    ),
    "the larger of two values": (
        lambda: of(lambda x: keras.ops.maximum(x, -x)),
        r"\(Maximum\): it must be of a value and a number. Use keras.layers.ReLU",
    ),
    "a mean of rows": (
        lambda: of(lambda x: keras.ops.mean(x, axis=1)),
        r"\(Mean\): axis must be all axes between batch and channels, got \[1\]. Use keras.layers",
    ),
    "softmax of rows": (
        lambda: of(lambda x: keras.ops.softmax(x, axis=1)),
        r"\(Softmax\): axis must be the last one, got 1",
    ),
    "reshape of the batch": (
        lambda: of(lambda x: keras.ops.reshape(x, (-1, 4))),
        r"\(Reshape\): it must keep the batch axis, got \(4,\). Begin newshape with -1",
    ),
    "volumes": (
        lambda: of(nn.QuantConv3D(2, 3, **BINARY, name="layer"), (5, 5, 5, 2)),
        r"'layer' \(QuantConv3D\): volumes are not supported, only sequences and images. Use",
    ),
    "real volumes": (
        lambda: of(layers.MaxPooling3D(name="layer"), (5, 5, 5, 2)),
        r"'layer' \(MaxPooling3D\): volumes are not supported",
    ),
    "function as input quantizer": (
        conv(input_quantizer=user_quantizer),
        r"'layer' \(QuantConv2D\): quantizer of activations must be one of SteSign, ApproxSign, "
        r"SwishSign, ErrorDecaySign, AdaptiveSign, DoReFa, NoOp, got function .*user_quantizer.*"
        r"use that one instead",
    ),
    "function as kernel quantizer": (
        conv(kernel_quantizer=user_quantizer),
        r"quantizer of kernels must be one of SteSign, .*custom one with bits = 1, got function",
    ),
    "own input quantizer": (
        conv(input_quantizer=HalfSign()),
        r"of activations .*got .*HalfSign.*The values of a custom quantizer are unknown",
    ),
    "own ternary kernel": (
        conv(kernel_quantizer=HalfTern()),
        r"must return two values per output channel, the same at every call, got .*HalfTern",
    ),
    "own random kernel": (
        conv(kernel_quantizer=RandomSign()),
        r"must return two values per output channel, the same at every call, got .*RandomSi",
    ),
    "2-bit kernel": (
        conv(kernel_quantizer=nn.DoReFa(2, "weights")),
        r"got DoReFa\(k_bit=2, mode='weights'\). Kernels must have 1 bit",
    ),
    "ternary input": (conv(input_quantizer="ste_tern"), r"of activations .*got SteTern"),
    "heaviside input": (conv(input_quantizer="ste_heaviside"), r"of activations .*got SteHeav"),
    "scaled input": (conv(input_quantizer="magnitude_aware_sign"), r"activations .*got Magnitude"),
    "weights as input": (
        conv(input_quantizer=nn.DoReFa(2, "weights")),
        r"of activations .*got DoReFa\(k_bit=2, mode='weights'\)",
    ),
    "9-bit input": (
        conv(input_quantizer=nn.DoReFa(9)),
        r"DoReFa activations must have at most 8 bits, got 9. Train with fewer bits",
    ),
    "channels first": (
        lambda: of(layers.GlobalMaxPooling2D(data_format="channels_first", name="layer")),
        r"data_format must be 'channels_last', got 'channels_first'. Build the model with",
    ),
    "axis of batch norm": (
        lambda: of(layers.BatchNormalization(axis=1, name="layer")),
        r"'layer' \(BatchNormalization\): axis must be the last one, got 1. Build it with axis=-1",
    ),
    "axis of softmax": (
        lambda: of(layers.Softmax(axis=(1, 2), name="layer")),
        r"'layer' \(Softmax\): axis must be the last one, got \(1, 2\)",
    ),
    "alpha": (
        lambda: of(layers.PReLU(name="layer")),
        r"alpha must be one number per channel, got \(6, 7, 4\). "
        r"Build it with shared_axes=\[1, 2\]",
    ),
    "training": (
        lambda: of(lambda x: layers.Dropout(0.5, name="layer")(x, training=True)),
        r"'layer' \(Dropout\): it is called with training=True. Call it without",
    ),
    "normalization of pixels": (
        lambda: of(layers.Normalization(axis=(1, 2, 3), name="layer")),
        r"'layer' \(Normalization\): mean and variance must be one number per channel, got "
        r"\(6, 7, 4\). Build it with axis=-1 or None",
    ),
    "open shape": (
        lambda: of(layers.ReLU(), (None, None, 3)),
        r"must have a fixed shape, got \(None, None, 3\). Build the model with the size of its",
    ),
    "not built": (
        lambda: keras.Sequential([layers.Dense(2)], name="net"),
        r"'net' \(Sequential\) must be a functional or built Sequential model.*Add a keras.Input",
    ),
    "no model": (lambda: object(), r"'object' \(object\) must be a functional or built"),
    "not finite": (
        broken,
        r"'layer' \(Conv2D\): its kernel has values that are not finite. Train it again",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_converted_says_why(name: str) -> None:
    build, match = REFUSED[name]
    with pytest.raises(ConversionError, match=match):
        from_keras(build())


def test_keras_quantized_layers_are_refused() -> None:
    model = of(layers.Dense(3, name="layer"), VECTOR)
    model.layers[-1].quantize("int8")
    with pytest.raises(ConversionError, match=r"it is quantized by Keras \(int8\)"):
        from_keras(model)


def test_names_of_layers_that_look_like_calls() -> None:
    """`a:2` may be a layer's own name; the second call of `a` takes the next free number."""
    inputs = keras.Input(IMAGE)
    a = layers.ReLU(name="a")
    x = layers.LeakyReLU(0.5, name="a:2")(a(inputs))
    model = keras.Model(inputs, a(x))
    assert [node.name for node in from_keras(model).nodes] == ["a", "a:2", "a:3"]
