"""`convert` writes a file that computes what the model computes, tells of it, or writes nothing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import bnnzoo
from bnnzoo import conversion, nn, registry, runtime
from bnnzoo.conversion.describe import describe
from bnnzoo.conversion.report import Sizes
from bnnzoo.data.preprocessing import PREPROCESSINGS
from bnnzoo.errors import ArgumentError, ConversionError, DataError, UnknownModelError
from bnnzoo.formats import packed
from bnnzoo.model_source import resolve_model
from tests.architectures.conftest import quick_initializers  # noqa: F401 (for every test here)
from tests.architectures.models import KINDS, LARGER, MODELS, swept
from tests.keras_bridge.keras_networks import random_images, seed_weights

SMALL = "binarynet.fashion_mnist_small"


@pytest.mark.parametrize("name", [*swept(KINDS), *swept(sorted(LARGER), (), rest="long")])
def test_every_architecture_converts_and_agrees(name: str) -> None:
    """On weights with negative gammas and channels of gamma 0, for the smallest images."""
    pixels = max(8, MODELS[name].least)
    model = registry.builder(name)(input_shape=(pixels, pixels, 3), num_classes=7)
    report = bnnzoo.convert(seed_weights(model), None, dry_run=True, check=1)
    assert report.check.failure is None
    assert report.check.values > 2 * len(report.layers)
    assert report.runtime == runtime.isas()[0]
    quantized = [la for la in model.layers if getattr(la, "input_quantizer", None) is not None]
    assert {la.name for la in report.layers if la.binary} == {la.name for la in quantized}
    assert report.path is None


def network(**arguments: Any) -> keras.Model:
    inputs = keras.Input((8, 8, 3), name="images")
    x = nn.QuantConv2D(
        16, 3, kernel_quantizer="ste_sign", kernel_constraint="weight_clip", name="first"
    )(inputs)
    x = layers.BatchNormalization(name="bn")(x)
    x = nn.QuantConv2D(
        16,
        3,
        padding="same",
        input_quantizer="ste_sign",
        kernel_quantizer="magnitude_aware_sign",
        kernel_constraint="weight_clip",
        name="binary",
    )(x)
    x = nn.QuantConv2D(8, 1, input_quantizer="ste_sign", name="half", **arguments)(x)
    x = nn.QuantDepthwiseConv2D(
        3,
        input_quantizer="ste_sign",
        depthwise_quantizer="ste_sign",
        depthwise_constraint="weight_clip",
        name="depthwise",
    )(x)
    x = nn.QuantConv2D(4, 1, name="none")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(4, activation="softmax", name="scores")(x)
    return seed_weights(keras.Model(inputs, x, name="net"))


@pytest.fixture(scope="module")
def net() -> keras.Model:
    return network()


def test_the_file_is_the_network(net: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    report = bnnzoo.convert(net, path, check=2)
    assert report.path == str(path)
    assert (report.model, report.weights_dtype, report.samples) == ("net", "float32", 2)
    assert report.output_difference is not None
    assert report.output_difference < 1e-5
    assert report.top1_agreement == 1
    x = random_images(net, 5)
    np.testing.assert_allclose(runtime.load(path)(x), net.predict_on_batch(x), rtol=1e-4, atol=1e-6)
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]


def test_the_report_counts_every_byte(net: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    report = bnnzoo.convert(net, path, check=0)
    sizes = report.sizes
    assert sizes.total == path.stat().st_size
    # first 16 x 27 bits, binary 16 x 144, depthwise 8 x 9; each filter in whole bytes.
    assert sizes.parts["binary kernels"] == 16 * 4 + 16 * 18 + 8 * 2
    assert sizes.parts["float kernels"] == 4 * (8 * 16 + 4 * 8 + 4 * 4)
    # biases of six layers, the scale and the bias of bn, the scale of binary
    assert sizes.parts["scales and biases"] == 4 * (16 + 16 + 8 + 8 + 4 + 4 + 32 + 16)
    assert sizes.origin == sum(weight.nbytes for weight in net.get_weights())
    assert sizes.ratio == sizes.origin / path.stat().st_size


def test_the_report_says_which_layers_are_not_binary_and_why(net: keras.Model) -> None:
    report = bnnzoo.convert(net, None, dry_run=True, check=0)
    found = {la.name: (la.binary, la.stored, la.reason, la.surprising) for la in report.layers}
    assert found == {
        "first": (
            False,
            ("bits",),
            "its input is real: it has a binary kernel, but no input quantizer",
            True,
        ),
        "binary": (True, ("bits",), None, False),
        "half": (
            False,
            ("float32",),
            "its kernel is real: it has an input quantizer, but no kernel quantizer",
            True,
        ),
        "depthwise": (
            False,
            ("bits",),
            "depthwise kernels have too few products per output to count bits",
            False,
        ),
        "none": (False, ("float32",), "it has no quantizers", False),
        "scores": (False, ("float32",), "Dense has no quantizers", False),
    }
    assert report.passes["fold_batch_norm"] == 1
    assert report.runtime_passes["sign_thresholds"] > 0


@pytest.mark.parametrize("weights_dtype", ["float32", "int8"])
@pytest.mark.parametrize("quantizer", [nn.SteTern(), nn.SteTern(ternary_weight_networks=True)])
def test_ternary_kernels_take_two_bits(quantizer: Any, weights_dtype: str, tmp_path: Path) -> None:
    path, inputs = tmp_path / "net.safetensors", keras.Input((50,))
    layer = nn.QuantDense(
        31, input_quantizer="ste_sign", kernel_quantizer=quantizer, use_bias=False, name="dense",
        kernel_constraint="weight_clip",
    )  # fmt: skip
    model = seed_weights(keras.Model(inputs, layer(inputs)))
    report = bnnzoo.convert(model, path, weights_dtype=weights_dtype, check=2)
    assert [(la.stored, la.surprising) for la in report.layers] == [(("ternary",), False)]
    assert report.sizes.parts["float kernels"] == 31 * 13  # 50 weights, four to a byte
    x = random_images(model, 4)
    expected = model.predict_on_batch(x)
    assert set(np.unique(np.asarray(quantizer(layer.kernel)))) == {-1, 0, 1}
    np.testing.assert_array_equal(runtime.load(path)(x), expected)
    np.testing.assert_array_equal(bnnzoo.open_model(path).predict_on_batch(x), expected)


def padded(border: Any, **arguments: Any) -> keras.Model:
    """A convolution of signs with a border between the two, as PyTorch's padding=1."""
    inputs = keras.Input((9, 8, 4))
    x = layers.BatchNormalization(name="bn")(inputs)
    x = border(layers.Activation(nn.SteSign())(x))
    x = nn.QuantConv2D(
        5, 3, strides=2, kernel_quantizer="ste_sign", kernel_constraint="weight_clip", name="conv",
        **arguments,
    )(x)  # fmt: skip
    return seed_weights(keras.Model(inputs, x))


BORDERS = {
    "ZeroPadding2D": layers.ZeroPadding2D(1),
    "ops.pad": lambda x: keras.ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-1),
    "zeros, then a sign": lambda x: layers.Activation(nn.SteSign())(layers.ZeroPadding2D(1)(x)),
}


@pytest.mark.parametrize("name", BORDERS)
def test_a_border_of_its_own_keeps_a_convolution_binary(name: str, tmp_path: Path) -> None:
    path, model = tmp_path / "net.safetensors", padded(BORDERS[name])
    report = bnnzoo.convert(model, path, check=2)
    assert [(la.name, la.binary) for la in report.layers] == [("conv", True)]
    x = random_images(model, 3)
    np.testing.assert_allclose(runtime.load(path)(x), model.predict_on_batch(x), atol=1e-5)


def test_a_border_that_bits_cannot_have_is_named() -> None:
    model = padded(layers.ZeroPadding2D(1), padding=1, pad_values=1)
    (layer,) = bnnzoo.convert(model, None, dry_run=True, check=1).layers
    assert not layer.binary
    assert layer.reason is not None
    assert layer.reason.startswith("its input is padded with 1, but signs")


def test_the_report_is_text(net: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    lines = str(bnnzoo.convert(net, path, check=1)).splitlines()
    assert lines[0].startswith(f"net: {path.stat().st_size:,} bytes (binary kernels 368, float k")
    assert lines[0].endswith(", 1.4 times larger than before.")  # its graph, above all
    assert lines[1] == (
        "5 of 6 layers compute in real numbers: first, half, depthwise, none, scores."
    )
    assert [line.split(" looks")[0] for line in lines[2:4]] == ["Note: first", "Note: half"]
    assert lines[4].startswith("Checked each layer on 1 image: Keras, the reference")
    assert lines[5].startswith("Whole network: outputs differ by ")
    assert lines[6:] == [f"Wrote {path}."]
    dry = str(bnnzoo.convert(net, None, dry_run=True, check=0)).splitlines()
    assert dry[-1] == "Nothing was written (dry run)."


def test_the_report_is_json(net: keras.Model) -> None:
    report = bnnzoo.convert(net, None, dry_run=True, check=1)
    again = json.loads(json.dumps(report.to_dict()))
    assert again["sizes"]["total"] == report.sizes.total
    assert again["check"]["failure"] is None
    assert again["layers"][0]["name"] == "first"


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_fewer_bits_are_checked_too(dtype: str, net: keras.Model, tmp_path: Path) -> None:
    """The graph with Keras before the rounding, the runtime with the reference after it."""
    path = tmp_path / "net.safetensors"
    report = bnnzoo.convert(net, path, weights_dtype=dtype, check=1)
    assert report.check.values > 20
    kernels = {la.name: la.stored for la in report.layers}
    assert kernels["scores"] == (dtype,)
    assert kernels["binary"] == ("bits",)
    whole = bnnzoo.convert(net, None, dry_run=True, check=0)
    assert report.sizes.parts["float kernels"] < whole.sizes.parts["float kernels"]


@pytest.mark.parametrize(("dtype", "dead"), [("float16", 1e-6), ("int8", 1e-37)])
def test_a_kernel_that_stays_wide_is_named(dtype: str, dead: float) -> None:
    model = network()
    kernel, bias = model.get_layer("scores").get_weights()
    kernel[:, 2] = dead
    model.get_layer("scores").set_weights([kernel, bias])
    report = bnnzoo.convert(model, None, weights_dtype=dtype, dry_run=True, check=0)
    assert {la.name: la.stored for la in report.layers}["scores"] == ("float32",)
    assert f"Note: scores stays float32: in {dtype} an output channel would lose" in str(report)
    assert "none stays float32" not in str(report)


@pytest.mark.parametrize(
    "name", ["birealnet20", pytest.param("real_to_binary", marks=pytest.mark.slow)]
)
def test_inputs_in_8_bits_are_checked_too(name: str) -> None:
    """Stems, shortcuts and dense layers, whose inputs both compute alike."""
    pixels = max(32, MODELS[name].least)
    model = registry.builder(name)(input_shape=(pixels, pixels, 3), num_classes=33)
    report = bnnzoo.convert(seed_weights(model), None, weights_dtype="int8", dry_run=True, check=2)
    assert report.check.failure is None
    assert {la.name for la in report.layers if la.input_bits} >= {"logits"}
    assert not any(la.input_bits for la in report.layers if "int8" not in la.stored)
    assert "multiply in 8 bits" in str(report)


def test_a_zoo_model_is_named_by_its_builder(tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    report = bnnzoo.convert(SMALL, path, check=1)
    assert report.model == SMALL
    info = packed.read(path)[1]
    record = bnnzoo.info(SMALL).weights[0]
    assert info.architecture is not None
    assert info.architecture["name"] == "binarynet"
    assert info.architecture["arguments"]["width"] == record.arguments["width"]
    assert info.keras_config is None
    assert (info.tag, info.preprocessing) == ("fashion_mnist_small", record.preprocessing)
    assert info.licence == record.licence
    assert info.labels is not None
    assert len(info.labels) == 10
    assert info.weights_sha256 in {file.sha256 for file in record.files}
    assert set(info.versions) == {"bnnzoo", "keras", "backend", "numpy"}


@pytest.mark.parametrize(
    ("arguments", "short"),
    [
        ({"include_top": False}, True),
        ({"num_classes": 3, "input_shape": (16, 20, 3)}, True),
        ({"width": 16}, False),
    ],
)
def test_other_arguments_of_a_builder(arguments: dict[str, Any], short: bool) -> None:
    """Those that cannot be told from the model are kept as its whole config."""
    model = registry.builder("xnornet_vgg")(**{"input_shape": (16, 16, 3), **arguments})
    info = describe(model, resolve_model(model))
    assert (info.architecture is not None) == short
    assert (info.keras_config is None) == short


def test_a_frozen_model_is_still_its_builders() -> None:
    model = registry.builder("birealnet20")(input_shape=(16, 16, 3))
    model.trainable = False
    assert describe(model, resolve_model(model)).architecture is not None


def test_a_changed_model_is_not_its_builders() -> None:
    model = registry.builder("birealnet20")(input_shape=(16, 16, 3))
    head = layers.Dense(3, name="mine")(model.get_layer("pool").output)
    changed = type(model)(model.input, head, name="birealnet20")
    info = describe(changed, resolve_model(changed))
    assert info.architecture is None
    assert info.keras_config is not None


def test_keras_files_convert_and_are_named_by_their_digest(
    net: keras.Model, tmp_path: Path
) -> None:
    net.save(tmp_path / "net.keras")
    bnnzoo.convert(tmp_path / "net.keras", tmp_path / "a.safetensors", check=0)
    bnnzoo.convert(net, tmp_path / "b.safetensors", check=0)
    (graph, info), (other, unnamed) = (
        packed.read(tmp_path / f"{name}.safetensors") for name in "ab"
    )
    assert graph.nodes == other.nodes
    assert info.weights_sha256 is not None
    assert unnamed.weights_sha256 is None


def test_a_converted_file_becomes_a_keras_model_again(net: keras.Model, tmp_path: Path) -> None:
    bnnzoo.convert(net, tmp_path / "net.safetensors", check=0)
    again = bnnzoo.open_model(tmp_path / "net.safetensors")
    x = random_images(net, 3)
    np.testing.assert_allclose(
        again.predict_on_batch(x), net.predict_on_batch(x), rtol=1e-4, atol=1e-6
    )


def test_mixed_precision_is_converted_as_float32(tmp_path: Path) -> None:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = network()
    finally:
        keras.config.set_dtype_policy("float32")
    report = bnnzoo.convert(model, tmp_path / "net.safetensors", check=1)
    assert report.check.failure is None
    assert report.output_difference is not None
    assert report.output_difference < 1e-5


def test_data_measures_the_accuracy(tmp_path: Path) -> None:
    report = bnnzoo.convert(
        SMALL, tmp_path / "small.safetensors", check=2, data="sample:fashion_mnist", limit=300
    )
    assert report.data is not None
    assert report.data.n == 300
    assert report.data.packed == report.data.origin > 80
    assert report.data.agreement == 100
    assert report.top1_agreement == 1


def test_images_of_the_data_are_those_that_layers_are_compared_on(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    model = network()
    images = rng.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    seen = []
    right = conversion.check_layers
    monkeypatch.setattr(
        conversion,
        "check_layers",
        lambda source, graph, each, *rest: (
            seen.extend(v["images"] for v in each),
            right(source, graph, each, *rest),
        ),
    )
    preprocessing = PREPROCESSINGS["scale_pm1"]
    report = bnnzoo.convert(
        model,
        None,
        dry_run=True,
        check=2,
        data=(images, np.zeros(6, int)),
        preprocessing=preprocessing,
    )
    np.testing.assert_array_equal(np.concatenate(seen), preprocessing(images[:2]))
    assert report.data is not None
    assert report.data.n == 6


def altered(data: bytes, right: Any) -> bytes:
    """A file whose network is another one: the scales of its batch norm are negative."""
    file = packed.from_bytes(data)
    tensors = {**file.graph.tensors, "bn/scale": -file.graph.tensors["bn/scale"]}
    return right(dataclasses.replace(file.graph, tensors=tensors), file.info)


def test_a_difference_is_an_error_and_nothing_is_written(
    net: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = packed.to_bytes
    monkeypatch.setattr(
        conversion.packed, "to_bytes", lambda *a, **k: altered(right(*a, **k), right)
    )
    with pytest.raises(
        ConversionError,
        match=r"The packed net must compute the same as Keras, but 'bn' of Keras differs from the "
        r"reference interpreter in .* numbers: .* Nothing was written. Please report this",
    ):
        bnnzoo.convert(net, tmp_path / "net.safetensors", check=1)
    assert not list(tmp_path.iterdir())


def test_a_loss_of_accuracy_is_an_error_with_real_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = conversion.evaluate

    def worse(model: Any, *args: Any, **options: Any) -> Any:
        report = right(model, *args, **options)
        if isinstance(model, Path):  # the packed file
            wrong = dataclasses.replace(
                report.predictions, labels=(report.predictions.labels + np.arange(100) // 80) % 10
            )
            report = dataclasses.replace(report, predictions=wrong)
        return report

    monkeypatch.setattr(conversion, "evaluate", worse)
    options = {"check": 0, "data": "sample:fashion_mnist", "limit": 100}
    with pytest.raises(ConversionError, match=r"must have top-1 .* %. Nothing was written"):
        bnnzoo.convert(SMALL, tmp_path / "a.safetensors", **options)
    assert not list(tmp_path.iterdir())
    report = bnnzoo.convert(SMALL, tmp_path / "a.safetensors", weights_dtype="int8", **options)
    assert report.data is not None
    assert report.data.packed < report.data.origin


def test_what_cannot_be_converted_is_not_written(tmp_path: Path) -> None:
    inputs = keras.Input((4, 4, 2))
    model = keras.Model(inputs, layers.Activation("gelu", name="gelu_3")(inputs))
    with pytest.raises(ConversionError, match=r"Cannot convert layer 'gelu_3' \(Activation\)"):
        bnnzoo.convert(model, tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


def test_the_report_names_the_instruction_set_that_was_compared(
    net: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BNNZOO_FORCE_ISA", "portable")
    assert bnnzoo.convert(net, None, dry_run=True, check=1).runtime == "portable"


def test_without_the_engine_the_oracle_alone_is_compared(
    net: keras.Model, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from bnnzoo.runtime.extension import MissingEngineError

    def missing() -> Any:
        raise MissingEngineError("not built")

    monkeypatch.setattr(runtime, "isas", missing)
    report = bnnzoo.convert(net, None, dry_run=True, check=1)
    assert report.runtime is None
    assert report.check.values > 5
    assert "engine is not built" in caplog.text


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        (
            {"path": "net.h5"},
            ArgumentError,
            r"path must end in \.safetensors.*, got net\.h5.*list-f",
        ),
        ({"format": "h5"}, ArgumentError, "format must be the name of a format, got 'h5'"),
        (
            {"path": "net.onnx", "format": "packed"},
            ArgumentError,
            r"must end in \.safetensors for packed, got net\.onnx",
        ),
        ({"path": None}, ArgumentError, "path must be a file to write, got None"),
        ({"path": "no/net.safetensors"}, ArgumentError, "cannot be written: the folder no"),
        ({"random_weights": True}, ArgumentError, "require a name in the zoo, got Functional"),
        ({"path": "there.safetensors"}, ArgumentError, "there.safetensors already exists. Use --f"),
        (
            {"weights_dtype": "int4"},
            ArgumentError,
            "must be one of float32, float16, int8 for packed, got 'in",
        ),
        ({"check": -1}, ArgumentError, "check must be an integer of at least 0, got -1"),
        ({"check": 1.5}, ArgumentError, "check must be an integer of at least 0, got 1.5"),
        ({"data": np.zeros((3, 4, 4, 1), np.uint8)}, ArgumentError, "or a pair .*, got ndarray"),
        ({"limit": 5}, ArgumentError, "limit must be None without data, got 5"),
        ({"data": "nowhere"}, DataError, "There is no folder or file nowhere"),
        ({"preprocessing": "scale_pm"}, ArgumentError, "Did you mean 'scale_pm1'"),
        ({"model": "binarynett"}, UnknownModelError, "Did you mean 'binarynet'"),
        ({"model": "birealnet34"}, UnknownModelError, "no pretrained weights"),
        ({"model": 3}, ConversionError, r"'int' \(int\) must be a functional or built Sequential"),
    ],
    ids=str,
)
def test_arguments_that_are_wrong(
    options: dict[str, Any],
    error: type[Exception],
    match: str,
    tmp_path: Path,
    net: keras.Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.safetensors").touch()
    arguments = {"model": net, "path": "net.safetensors", **options}
    with pytest.raises(error, match=match):
        bnnzoo.convert(**arguments)
    assert [p.name for p in tmp_path.iterdir()] == ["there.safetensors"]


def test_what_is_converted_is_not_overwritten(net: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    bnnzoo.convert(net, path, check=0)
    before = path.read_bytes()
    with pytest.raises(ArgumentError, match="is an input of this command. Choose another path"):
        bnnzoo.convert(path, path, weights_dtype="int8", check=0, force=True)
    assert path.read_bytes() == before
    with pytest.raises(ArgumentError, match="require a name in the zoo, got .*net.safetensors"):
        bnnzoo.convert(path, tmp_path / "other.safetensors", random_weights=True)


def test_sizes_in_words() -> None:
    words = {1150: "23.0 times smaller", 50: "as large", 25: "2.0 times larger", 0: "no weights"}
    for origin, expected in words.items():
        assert Sizes({"all": 50}, origin).comparison.startswith(expected)


def test_force_overwrites(net: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.touch()
    bnnzoo.convert(net, path, check=0, force=True)
    assert packed.read(path)[1].name == "net"
