"""The summary counts what larq's counts, layer by layer, except for the named differences."""

from __future__ import annotations

import json
import math

import keras
import pytest

import bnnzoo
from bnnzoo import nn
from bnnzoo.model_summary import summary
from tests.conftest import DATA

GOLDEN = json.loads((DATA / "larq_summary.json").read_text())["layers"]
BINARY = {
    "input_quantizer": "ste_sign",
    "kernel_quantizer": "ste_sign",
    "kernel_constraint": "weight_clip",
}

# Where we count otherwise than larq: case -> our MACs by bits. The docstring of `summary` says why.
OTHER_MACS = {
    "conv3d_binary": {1: 864 * 6 * 5 * 4},
    "conv3d_transpose_binary": {1: 864 * 8 * 7 * 6},
    "conv2d_transpose_binary": {1: 432 * 12 * 10},
    "float_conv2d_transpose": {32: 432 * 12 * 10},
    "separable_conv2d_binary": {1: 108 * 5 * 4, 32: 96 * 5 * 4},
    "separable_conv1d_binary": {1: 18 * 10, 32: 48 * 10},
    "prelu": {},
    "embedding": {},
}
# Larq leaves the folded half of a batch normalization out of the parameters.
OTHER_PARAMS = {"batch_norm": {32: 24}, "batch_norm_no_scale": {32: 18}}
# Larq packs across the ends of tensors: half a byte more than ours here.
OTHER_BYTES = {"depthwise_binary": 62, "separable_conv2d_binary": 58, "separable_conv1d_binary": 41}


def by_bits(counts):
    return {int(bits): count for bits, count in counts.items()}


def larq_layer(case):
    """The layer of a golden case, with the constraints that keep ours from warning."""
    golden = GOLDEN[case]
    layer_class = getattr(nn, golden["class"], None) or getattr(keras.layers, golden["class"])
    constraints = {
        name.replace("quantizer", "constraint"): "weight_clip"
        for name in golden["arguments"]
        if name.endswith("_quantizer") and name != "input_quantizer"
    }
    return layer_class(**golden["arguments"], **constraints)


@pytest.mark.parametrize("case", GOLDEN)
def test_golden_of_larq(case):
    golden = GOLDEN[case]
    model = keras.Sequential([keras.Input(golden["input_shape"]), larq_layer(case)])
    row = summary(model).layers[-1]
    assert row.type == golden["class"]
    params = by_bits(golden["params"]) if "params" in golden else None
    assert row.params_by_bits == OTHER_PARAMS.get(case, params)
    assert row.packed_bytes == OTHER_BYTES.get(case, golden["packed_bytes"])
    assert row.input_bits == golden["input_bits"]
    assert list(row.output_shape)[1:] == golden["output_shape"][1:]
    macs = golden["macs"] and by_bits(golden["macs"])
    assert row.macs_by_bits == OTHER_MACS.get(case, macs or {})
    assert case not in OTHER_MACS or OTHER_MACS[case] != macs, "not a difference"


def small_model():
    x = inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = nn.QuantConv2D(8, 3, padding="same", use_bias=False, name="conv", **BINARY)(x)
    x = keras.layers.Flatten(name="flatten")(x)
    return keras.Model(inputs, keras.layers.Dense(10, name="head")(x), name="small")


def test_totals():
    report = summary(small_model())
    assert report.name == "small"
    assert [layer.name for layer in report.layers[1:]] == [
        "stem",
        "norm",
        "conv",
        "flatten",
        "head",
    ]
    assert report.params_by_bits == {1: 576, 32: 216 + 32 + 5130}
    assert report.params == small_model().count_params()
    assert report.packed_bytes == 576 // 8 + 4 * (216 + 16 + 5130)
    assert report.float32_bytes == 4 * (576 + 216 + 16 + 5130)
    assert report.compression == report.float32_bytes / report.packed_bytes
    assert report.macs_by_bits == {1: 576 * 64, 32: 216 * 64 + 5120}
    assert report.macs == 576 * 64 + 216 * 64 + 5120
    assert report.binary_mac_share == 576 * 64 / report.macs
    assert report.uncounted_layers == ()


def test_to_dict_is_json():
    report = summary(small_model())
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert data["name"] == "small"
    assert data["totals"] == {
        "params": report.params,
        "params_by_bits": {"1": 576, "32": 5378},
        "packed_bytes": report.packed_bytes,
        "float32_bytes": report.float32_bytes,
        "compression": report.compression,
        "macs": report.macs,
        "macs_by_bits": {"1": 36864, "32": 18944},
        "binary_mac_share": report.binary_mac_share,
        "uncounted_layers": [],
    }
    assert data["layers"][3] == {
        "name": "conv",
        "type": "QuantConv2D",
        "input_bits": 1,
        "output_shape": [None, 8, 8, 8],
        "params_by_bits": {"1": 576},
        "packed_bytes": 72,
        "float32_bytes": 2304,
        "macs_by_bits": {"1": 36864},
    }


def test_table():
    text = str(summary(small_model()))
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line.split()}
    conv = "QuantConv2D 1 (n, 8, 8, 8) 576 - 72 36,864 -"
    assert lines["conv"] == ["conv", *conv.split()]
    assert lines["total"] == ["total", "576", "5,378", "21,520", "36,864", "18,944"]
    assert "Packed: 21,520 bytes, 1.1 times smaller than 23,752 bytes of float32" in text
    assert "MACs: 55,808, 66.06 % binary" in text
    assert "MACs not counted" not in text
    assert "\x1b" not in text, "colours belong on a terminal"


def test_a_notebook_shows_the_same_table():
    found = summary(small_model())
    html = found._repr_html_()
    assert html.count("<tr>") == len(found.layers) + 2
    assert "5,378" in html and "MACs: 55,808, 66.06 % binary" in html
    assert repr(found).startswith(f"<ModelSummary: {found.name}, ")
    assert "\n" not in repr(found)


def test_public_name():
    assert bnnzoo.summary is summary


def test_a_name_is_enough():
    assert summary("binarynet_mlp").to_dict() == summary(bnnzoo.load("binarynet_mlp")).to_dict()


def test_nested_models_and_shared_layers():
    inner = keras.Sequential(
        [keras.Input((8, 8, 4)), nn.QuantConv2D(4, 3, padding="same", use_bias=False, **BINARY)],
        name="inner",
    )
    shared = keras.layers.Conv2D(4, 1, use_bias=False, name="shared")
    inputs = keras.Input((8, 8, 4))
    outputs = inner(shared(inner(shared(inputs))))
    report = summary(keras.Model(inputs, outputs))
    rows = {row.name: row for row in report.layers}
    assert rows["shared"].macs_by_bits == {32: 2 * 16 * 64}
    assert rows[f"inner/{inner.layers[0].name}"].macs_by_bits == {1: 2 * 144 * 64}
    assert report.params == 16 + 144


def test_a_layer_of_a_model_and_of_the_model_around_it():
    shared = keras.layers.Conv2D(4, 1, use_bias=False, name="shared")
    inner = keras.Sequential([keras.Input((8, 8, 4)), shared], name="inner")
    inputs = keras.Input((8, 8, 4))
    report = summary(keras.Model(inputs, shared(inner(inputs))))
    rows = [row for row in report.layers if row.params_by_bits]
    assert [row.macs_by_bits for row in rows] == [{32: 2 * 16 * 64}]


def test_calls_in_other_models_do_not_count():
    conv = keras.layers.Conv2D(4, 1, use_bias=False)
    inputs = keras.Input((8, 8, 4))
    once = keras.Model(inputs, conv(inputs))
    keras.Model(inputs, conv(conv(inputs)))
    assert summary(once).macs == 16 * 64


def test_several_inputs_and_outputs():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    x = keras.layers.Add()([a, b])
    model = keras.Model([a, b], [keras.layers.Dense(2, name="c")(x), keras.layers.Dense(3)(x)])
    assert summary(model).macs == 8 + 12


def test_channels_first_has_the_same_macs():
    shapes = {"channels_last": (8, 6, 3), "channels_first": (3, 8, 6)}
    macs = []
    for data_format, shape in shapes.items():
        layer = keras.layers.Permute((1, 2, 3))
        conv = keras.layers.Conv2D(4, 1, data_format=data_format)
        output_shape = conv.compute_output_shape((None, *shape))
        assert math.prod(output_shape[1:]) == 4 * 8 * 6
        # Symbolic: a CPU of TensorFlow cannot run it.
        model = keras.Sequential([keras.Input(shape), layer, conv])
        macs.append(summary(model).macs)
    assert macs == [3 * 4 * 48] * 2


class Block(keras.layers.Layer):
    """A layer that has a weight and is made of layers."""

    def build(self, input_shape):
        self.conv = nn.QuantConv2D(4, 3, padding="same", use_bias=False, name="conv", **BINARY)
        self.conv.build(input_shape)
        self.scale = self.add_weight(shape=(4,), name="scale")

    def call(self, inputs):
        return self.conv(inputs) * self.scale


def test_layers_made_of_layers():
    model = keras.Sequential([keras.Input((8, 8, 4)), Block(name="block")])
    report = summary(model)
    assert [row.name for row in report.layers] == ["block", "block/conv"]
    assert [row.params_by_bits for row in report.layers] == [{32: 4}, {1: 144}]
    assert report.layers[0].output_shape == (None, 8, 8, 4)
    assert report.uncounted_layers == ("block/conv",)
    assert report.macs == 0
    assert report.binary_mac_share == 0.0
    assert "MACs not counted for: block/conv" in str(report)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.LSTM(4, name="layer"),
        keras.layers.EinsumDense("abc,cd->abd", (5, 4), name="layer"),
        keras.layers.TimeDistributed(keras.layers.Dense(4), name="layer"),
    ],
    ids=["lstm", "einsum", "time_distributed"],
)
def test_layers_whose_macs_are_not_known(layer):
    report = summary(keras.Sequential([keras.Input((5, 3)), layer]))
    assert len(report.uncounted_layers) == 1
    assert report.uncounted_layers[0].startswith("layer")
    assert report.params == layer.count_params()


def test_sides_that_are_not_fixed():
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3, name="conv")])
    report = summary(model)
    assert report.uncounted_layers == ("conv",)
    conv = next(line for line in str(report).splitlines() if line.split()[:1] == ["conv"])
    assert "(n, ?, ?, 4)" in conv


def test_smaller_data_types_count_by_their_bits():
    layer = keras.layers.Dense(4, dtype="float16", use_bias=False)
    report = summary(keras.Sequential([keras.Input((8,)), layer]))
    assert report.params_by_bits == {16: 32}
    assert report.packed_bytes == 64
    assert report.float32_bytes == 128


def test_model_without_parameters():
    report = summary(keras.Sequential([keras.Input((8,)), keras.layers.Flatten()]))
    assert (report.params, report.packed_bytes, report.macs) == (0, 0, 0)
    assert (report.compression, report.binary_mac_share) == (1.0, 0.0)


def test_model_that_is_not_built():
    model = keras.Sequential([keras.layers.Dense(3)], name="empty")
    with pytest.raises(ValueError, match="Model 'empty' must be built, got one without weights"):
        summary(model)


def test_updates_by_lora_are_parameters_that_fold_into_the_kernel():
    layer = nn.QuantDense(5, input_quantizer="ste_sign", kernel_quantizer="dorefa_sign")
    model = keras.Sequential([keras.Input((12,)), layer])
    before = summary(model)
    layer.enable_lora(2)
    after = summary(model)
    assert after.params_by_bits == {1: 60, 32: 5 + 2 * 12 + 2 * 5}
    assert after.macs_by_bits == before.macs_by_bits == {1: 60}
    assert after.packed_bytes == before.packed_bytes
