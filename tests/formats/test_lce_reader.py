"""What is read from files of Larq Compute Engine.

`tests/data/lce` has files of its converter, with what its interpreter computed for them.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from bnnzoo.errors import MissingDependencyError, ModelFormatError
from bnnzoo.formats import lce, packed
from bnnzoo.formats.lce.folding import FOLD
from bnnzoo.formats.lce.folding_shapes import FOLD_SHAPES
from bnnzoo.formats.lce.model_file import OperatorEntry, Quantization, TensorEntry
from bnnzoo.formats.lce.parsing import parse
from bnnzoo.formats.lce.reading_operators import READ
from bnnzoo.formats.lce.schema import OPTIONS, schema
from bnnzoo.formats.lce.serializing import serialize
from bnnzoo.formats.lce.words import from_words, to_words
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.graph import interpreter, passes
from bnnzoo.runtime import Model
from tests.conftest import DATA
from tests.formats.lce_files import ABSENT, FLOAT, WORDS, FileBuilder
from tests.formats.lce_peer import named, quantized, unpacked
from tests.formats.lce_values import RELATIVE, assert_layers_agree, grids, native, reference

try:
    schema()
except MissingDependencyError as error:
    pytest.skip(str(error), allow_module_level=True)

# File of the converter -> operations that its graph has after reading.
CONVERTED = {
    "toy": {"add", "affine", "bconv2d", "clip", "conv2d", "global_avg_pool2d", "sign"},
    "toy_sequential": {"affine", "bconv2d", "bmax_pool2d", "conv2d", "global_avg_pool2d", "sign"},
    "thresholds": {"affine", "bconv2d", "sign"},
    "joined": {"affine", "avg_pool2d", "bconv2d", "clip", "concat", "conv2d", "prelu", "reshape",
               "sign", "softmax", "global_avg_pool2d"},
    "activated": {"affine", "bconv2d", "sign"},
    "dense": {"affine", "bconv2d", "max_pool2d", "reshape", "sign", "softmax"},
}  # fmt: skip


def golden(name):
    data = (DATA / "lce" / f"{name}.tflite").read_bytes()
    graph, info = lce.from_bytes(data)
    x = np.random.RandomState(1).standard_normal((3, *graph.input_shape)).astype(np.float32)
    with np.load(DATA / "lce" / "converted.npz") as outputs:
        return graph, info, x, outputs[name]


@pytest.mark.parametrize("name", CONVERTED)
def test_files_of_the_converter(name):
    graph, info, x, expected = golden(name)
    assert info == NetworkInfo("tflite")
    assert {node.op for node in graph.nodes} >= CONVERTED[name] - {"global_avg_pool2d"}
    assert not {node.op for node in graph.nodes} & {"dequantize", "batch_norm"}
    found = interpreter.run(graph, x)[graph.outputs[0]]
    np.testing.assert_allclose(found, expected, atol=RELATIVE * np.abs(expected).max())
    if graph.nodes[-1].op == "bconv2d":
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", CONVERTED)
def test_the_runtime_computes_what_the_interpreter_computed(name):
    graph, info, x, expected = golden(name)
    stored, _ = passes.apply(graph, passes.STORED)
    file = packed.from_bytes(packed.to_bytes(stored, info))
    found = Model(file.graph, file.info)(x)
    np.testing.assert_allclose(found, expected, atol=RELATIVE * np.abs(expected).max())


@pytest.mark.parametrize("name", CONVERTED)
def test_plain_data_is_written_as_the_converter_writes_it(name):
    data = (DATA / "lce" / f"{name}.tflite").read_bytes()
    file = parse(data)
    again = parse(serialize(file))
    assert again.operators == file.operators
    assert [(t.name, t.dtype, t.shape) for t in again.tensors] == [
        (t.name, t.dtype, t.shape) for t in file.tensors
    ]
    for one, two in zip(again.tensors, file.tensors, strict=True):
        np.testing.assert_array_equal(one.values, two.values)


def test_quantized_files_of_the_converter():
    """Compares layer by layer on equal inputs, within the rounding of the file's integers."""
    data = (DATA / "lce" / "quantized.tflite").read_bytes()
    graph, _ = lce.from_bytes(data)
    file, again = parse(data), parse(serialize(parse(data)))
    x = np.random.RandomState(1).standard_normal((3, *graph.input_shape))
    with np.load(DATA / "lce" / "converted.npz") as outputs:
        arrays = [outputs[f"quantized_{i}"] for i in range(len(file.operators))]
    theirs = named(file, quantized(x, file.tensors[file.inputs[0]]), arrays)
    assert {"bconv2d", "conv2d", "concat", "add", "sign", "softmax"} <= {
        node.op for node in graph.nodes
    }
    assert len(grids(again)) > 8
    for run in (reference,) if Model is None else (reference, native):
        assert assert_layers_agree(graph, theirs, run, grids(again)) > 8


def quantized_layer(b, kernel_scale, **changes):
    """A layer of uint8 in and out, whose kernel has a scale per output channel."""
    b.tensors[0] = TensorEntry("images", "UINT8", (1, 4, 3, 2), None, steps(0.5, 3))
    kernel = np.arange(-6, 6, dtype=np.int8).reshape(3, 2, 1, 2)
    bias = np.int32([100, 0, -7])
    b.tensors += [
        TensorEntry("kernel", "INT8", kernel.shape, kernel, steps(kernel_scale, [0, 0, 1])),
        TensorEntry("bias", "INT32", bias.shape, bias, steps([0.25] * 3, [0, 0, 0])),
        TensorEntry("sums", "INT8", (1, 3, 3, 3), None, steps(2.0, -1)),
    ]
    settings = {"padding": 1, "strideH": 1, "strideW": 1}
    b.operators.append(OperatorEntry("CONV_2D", (0, 1, 2), (3,), settings))
    last = b.add("DEQUANTIZE", [3], (1, 3, 3, 3))
    for name, change in changes.items():
        place = [entry.name for entry in b.tensors].index(name)
        b.tensors[place] = dataclasses.replace(b.tensors[place], **change)
    return b.bytes(last)


def steps(scale, zero_point, axis=0):
    return Quantization(np.atleast_1d(np.float32(scale)), np.atleast_1d(zero_point), axis)


WIDER = {
    "images": {"dtype": "INT16"},
    "bias": {"dtype": "INT64", "values": np.int64([100, 0, -7])},
    "sums": {"dtype": "INT16"},
}


@pytest.mark.parametrize("changes", [{}, WIDER], ids=["8 bits", "16 bits"])
def test_quantized_constants_become_the_real_numbers_they_represent(changes):
    scale = np.float32([0.5, 0.25, 2])
    graph, _ = lce.from_bytes(quantized_layer(FileBuilder((1, 4, 3, 2)), scale, **changes))
    kernel = np.arange(-6, 6).reshape(3, 2, 1, 2) - np.reshape([0, 0, 1], (3, 1, 1, 1))
    kernel = kernel * scale.reshape(3, 1, 1, 1)
    sums = sum(X[:, i : i + 3] @ kernel[:, i, 0].T for i in (0, 1))
    expected = sums + np.array([25, 0, -1.75])
    found = interpreter.run(graph, X)[graph.outputs[0]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)  # float32 sums of four products


WRONG_QUANTIZATION = {
    "two scales for three": (
        {"kernel": {"quantization": steps([1, 2], [0, 0])}},
        "got 2 on axis 0",
    ),
    "no such axis": ({"kernel": {"quantization": steps(1, 0, axis=4)}}, "got 1 on axis 4"),
    "an axis below 0": ({"kernel": {"quantization": steps(1, 0, axis=-1)}}, "got 1 on axis -1"),
    "zero points": (
        {"kernel": {"quantization": steps([1] * 3, [0])}},
        "a zero point for each scale",
    ),
    "a scale of 0": (
        {"images": {"quantization": steps(0, 0)}},
        "'images' must have scales above 0",
    ),
    "NaN": ({"sums": {"quantization": steps(np.nan, 0)}}, "'sums' must have scales above 0"),
    "numbers too large": ({"bias": {"quantization": steps(3e38, 0)}}, "must be finite numbers"),
    "an input of plain integers": (
        {"images": {"quantization": None}},
        "quantized numbers or words of bits, got UINT8",
    ),
    "a result of plain integers": (
        {"sums": {"quantization": None}},
        "must be FLOAT32 or quantized",
    ),
    "a kernel of plain integers": (
        {"kernel": {"quantization": None}},
        "must be computed before it",
    ),
}


@pytest.mark.parametrize("name", WRONG_QUANTIZATION)
def test_wrong_quantization(name):
    changes, message = WRONG_QUANTIZATION[name]
    with pytest.raises(ModelFormatError, match=message) as error:
        lce.from_bytes(quantized_layer(FileBuilder((1, 4, 3, 2)), [1, 1, 1], **changes))
    assert "\n" not in str(error.value)


def test_ranges_of_float_tensors_are_ignored():
    """Converters leave the ranges of the calibration in float tensors."""
    b = FileBuilder((1, 4, 3, 2))
    b.tensors[0] = dataclasses.replace(b.tensors[0], quantization=steps(0, 0))
    graph, _ = lce.from_bytes(b.bytes(b.add("ABS", [0], (1, 4, 3, 2))))
    assert [node.op for node in graph.nodes] == ["prelu"]


def test_float16_constants():
    b = FileBuilder((1, 4, 3, 2))
    b.tensors.append(TensorEntry("half", "FLOAT16", (2,), np.float16([0.5, -3])))
    numbers = b.add("DEQUANTIZE", [1], (2,))
    product = b.add("MUL", [0, numbers], (1, 4, 3, 2))
    graph, _ = lce.from_bytes(b.bytes(product))
    found = interpreter.run(graph, X)[graph.outputs[0]]
    np.testing.assert_array_equal(found, X.astype(np.float64) * [0.5, -3])


def test_an_input_of_words_is_the_signs_of_real_numbers(rng):
    b = FileBuilder((1, 4, 3, 2))
    b.tensors[0] = TensorEntry("images", WORDS, (1, 4, 3, 2))
    graph, _ = lce.from_bytes(b.bytes(b.add("LceDequantize", [0], (1, 4, 3, 64))))
    x = rng.standard_normal((2, 4, 3, 64)).astype(np.float32)
    found = interpreter.run(graph, x)[graph.outputs[0]]
    np.testing.assert_array_equal(found, np.where(x < 0, -1, 1))

    b.tensors, b.operators = b.tensors[:1], []
    signs = rng.choice(np.float32([-1, 1]), (5, 1, 1, 40))  # of 64 bits, 40 are channels
    operands = [0, *map(b.constant, (to_words(signs), np.ones(5), np.zeros(5)))]
    settings = {"channels_in": 40, "dilation_height_factor": 1, "dilation_width_factor": 1,
                "fused_activation_function": 0, "pad_values": 0, "padding": 1, "stride_height": 1,
                "stride_width": 1}  # fmt: skip
    sums = b.add("LceBconv2d", [*operands, ABSENT], (1, 4, 3, 5), **settings)
    graph, _ = lce.from_bytes(b.bytes(sums))
    x = rng.standard_normal((2, 4, 3, 40)).astype(np.float32)
    found = interpreter.run(graph, x)[graph.outputs[0]]
    np.testing.assert_array_equal(found, np.where(x < 0, -1, 1) @ signs[:, 0, 0].T)


@pytest.mark.parametrize("shape", [(1, 4, 3, 2), (4, 3, 2), (4, 1, 1), (1, 1, 3, 2), (4, 1, 2)])
@pytest.mark.parametrize("kind", ["ADD", "SUB", "MUL"])
def test_constants_of_more_than_channels(kind, shape):
    numbers = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) - 3
    compute = {"ADD": np.add, "SUB": np.subtract, "MUL": np.multiply}[kind]
    for order in (1, -1):
        b = FileBuilder((1, 4, 3, 2))
        result = b.add(kind, [0, b.constant(numbers)][::order], (1, 4, 3, 2))
        graph, _ = lce.from_bytes(b.bytes(result))
        found = interpreter.run(graph, X)[graph.outputs[0]]
        np.testing.assert_array_equal(found, compute(*[X.astype(np.float64), numbers][::order]))


@pytest.mark.parametrize("channels", [1, 31, 32, 33, 64, 70])
def test_words_have_the_first_channel_in_the_lowest_bit(rng, channels):
    signs = rng.choice(np.float32([-1, 1]), (2, 3, channels))
    packed_words = to_words(signs)
    assert packed_words.shape == (2, 3, -(-channels // 32)) and packed_words.dtype == np.int32
    np.testing.assert_array_equal(unpacked(packed_words, channels), signs)
    np.testing.assert_array_equal(from_words(packed_words, channels), signs < 0)
    if channels % 32:
        assert from_words(packed_words | np.int32(-(2**31)), channels) is None


X = np.random.default_rng(5).standard_normal((2, 4, 3, 2)).astype(np.float32)
NONE, RELU, RELU1, RELU6 = range(4)


def leaky(b):
    return b.add("LEAKY_RELU", [0], (1, 4, 3, 2), alpha=0.25)


def dense(keep):
    def build(b):
        weights = b.constant(np.arange(6, dtype=np.float32).reshape(3, 2) - 2)
        bias = b.constant(np.float32([0.5, -1, 2]))
        flat = b.add("RESHAPE", [0, b.constant([1, 12, 2])], (1, 12, 2))
        flat = (
            flat
            if keep
            else b.add("SLICE", [flat, b.constant([0, 3, 0]), b.constant([1, 1, -1])], (1, 1, 2))
        )
        return b.add("FULLY_CONNECTED", [flat, weights, bias], (1, 12, 3) if keep else (1, 3),
                     keepNumDims=keep, fusedActivationFunction=RELU)  # fmt: skip

    return build


def dense_numbers(x):
    return np.maximum(x @ (np.arange(6).reshape(3, 2) - 2).T + [0.5, -1, 2], 0)


def two(kind, swapped=False, activation=NONE, values=(0.5, 2.0)):
    def build(b):
        inputs = [0, b.constant(np.float32(values))]
        inputs = inputs[::-1] if swapped else inputs
        return b.add(kind, inputs, (1, 4, 3, 2), fusedActivationFunction=activation)

    return build


def pooled_and_widened(b):
    pooled = b.add("MEAN", [0, b.constant([-3, -2])], (1, 2), keepDims=False)
    return b.add("SUB", [0, pooled], (1, 4, 3, 2))


def folded(b):
    """The nodes for a kernel in XNOR-Net's files: its scale from its magnitudes, and its signs."""
    kernel = b.constant(np.linspace(-1.5, 1.2, 16).reshape(2, 2, 2, 2).astype(np.float32))
    clipped = b.add("RELU_N1_TO_1", [kernel], (2, 2, 2, 2))
    size = b.add("ABS", [clipped], (2, 2, 2, 2))
    mean = b.add("MEAN", [size, b.constant([0, 1, 2])], (1, 1, 1, 2), keepDims=True)
    signs = b.add("LceQuantize", [clipped], (2, 2, 2, 1), WORDS)
    signs = b.add("LceDequantize", [signs], (2, 2, 2, 2))
    scaled = b.add("MUL", [mean, signs], (2, 2, 2, 2))
    scaled = b.add("ADD", [scaled, b.constant(np.float32(0))], (2, 2, 2, 2))
    scaled = b.add("SUB", [scaled, b.constant(np.float32([0]))], (2, 2, 2, 2))
    scaled = b.add("RESHAPE", [scaled, b.constant([2, 2, 2, 2])], (2, 2, 2, 2))
    scaled = b.add("TRANSPOSE", [scaled, b.constant([3, 0, 1, 2])], (2, 2, 2, 2))
    bits = b.add("LceQuantize", [0], (1, 4, 3, 1), WORDS)
    numbers = b.add("LceDequantize", [bits], (1, 4, 3, 2))
    return b.add("CONV_2D", [numbers, scaled, ABSENT], (1, 3, 2, 2), padding=1, strideH=1,
                 strideW=1)  # fmt: skip


def folded_numbers(x):
    kernel = np.clip(np.linspace(-1.5, 1.2, 16).reshape(2, 2, 2, 2), -1, 1)
    kernel = np.abs(kernel).mean(axis=(0, 1, 2)) * np.where(kernel < 0, -1, 1)
    x = np.where(x < 0, -1, 1)
    return sum(x[:, i : i + 3, j : j + 2] @ kernel[i, j] for i in (0, 1) for j in (0, 1))


def mean_kept(b):
    return b.add("MEAN", [0, b.constant([2, 1])], (1, 1, 1, 2), keepDims=True)


def squeezed(b):
    largest = b.add("REDUCE_MAX", [0, b.constant([1, 2])], (1, 1, 1, 2), keepDims=True)
    return b.add("SQUEEZE", [largest], (1, 2))


def sliced(b):
    tables = [b.constant([0, 1, 2, 0]), b.constant([-1, 2, 1, -1])]
    return b.add("SLICE", [0, *tables], (1, 2, 1, 2))


def strided(b):
    tables = [b.constant(t) for t in ([7, -3, 0, 1], [0, 9, -1, 1], [1, 1, 1, 1])]
    return b.add("STRIDED_SLICE", [0, *tables], (1, 3, 2, 1), beginMask=0b0001, endMask=0b1001)


def padded_channels(b):
    table = b.constant([[0, 0], [1, 0], [0, 0], [3, 2]])
    return b.add("PADV2", [0, table, b.constant(np.float32(0.5))], (1, 5, 3, 7))


def split(b):
    """The second of two parts of the height, and the first of it."""
    parts = (FLOAT, (1, 2, 3, 2))
    b.tensors += [TensorEntry(f"part{i}", *parts) for i in range(2)]
    inputs = (b.constant(1), 0)
    b.operators.append(OperatorEntry("SPLIT", inputs, (1, 2), {"numSplits": 2}))
    return b.add("SUB", [2, 1], (1, 2, 3, 2))


def bounded(b):
    return b.add("MAXIMUM", [b.constant(np.float32(0.25)), 0], (1, 4, 3, 2))


# Operators that the writer does not write, or not like this: how to build, and what they compute.
OPERATORS = {
    "ABS": (lambda b: b.add("ABS", [0], (1, 4, 3, 2)), np.abs),
    "HARD_SWISH": (
        lambda b: b.add("HARD_SWISH", [0], (1, 4, 3, 2)),
        lambda x: x * np.clip(x + 3, 0, 6) / 6,
    ),
    "LEAKY_RELU": (leaky, lambda x: np.where(x < 0, 0.25 * x, x)),
    "FULLY_CONNECTED": (dense(False), lambda x: dense_numbers(x.reshape(-1, 12, 2)[:, 3])),
    "FULLY_CONNECTED keeps axes": (dense(True), lambda x: dense_numbers(x.reshape(-1, 12, 2))),
    "ADD a constant": (two("ADD"), lambda x: x + np.array([0.5, 2])),
    "SUB a constant": (two("SUB", activation=RELU), lambda x: np.maximum(x - [0.5, 2], 0)),
    "SUB from a constant": (two("SUB", True, RELU1), lambda x: np.clip([0.5, 2] - x, -1, 1)),
    "MUL by a number": (two("MUL", True, RELU6, [3.0]), lambda x: np.clip(3 * x, 0, 6)),
    "SUB of another rank": (pooled_and_widened, lambda x: x - x.mean((1, 2), keepdims=True)),
    "MEAN keeps axes": (mean_kept, lambda x: x.mean(axis=(1, 2), keepdims=True)),
    "SQUEEZE": (squeezed, lambda x: x.max(axis=(1, 2))),
    "EXPAND_DIMS": (
        lambda b: b.add("EXPAND_DIMS", [0, b.constant(1)], (1, 1, 4, 3, 2)),
        lambda x: x[:, None],
    ),
    "SLICE of two axes": (sliced, lambda x: x[:, 1:3, 2:3]),
    "PADV2 of channels": (
        padded_channels,
        lambda x: np.pad(x, ((0, 0), (1, 0), (0, 0), (3, 2)), constant_values=0.5),
    ),
    "SPLIT": (split, lambda x: x[:, 2:] - x[:, :2]),
    "STRIDED_SLICE": (strided, lambda x: x[:, -3:9, 0:-1, 1:]),
    "MAXIMUM of a number": (bounded, lambda x: np.maximum(x, 0.25)),
    "a folded kernel": (folded, folded_numbers),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_compute_their_definition(name):
    build, meaning = OPERATORS[name]
    b = FileBuilder((1, 4, 3, 2))
    graph, _ = lce.from_bytes(b.bytes(build(b)))
    found = interpreter.run(graph, X)[graph.outputs[0]]
    np.testing.assert_allclose(found, meaning(X.astype(np.float64)), atol=1e-6)


def test_a_folded_kernel_is_binary():
    b = FileBuilder((1, 4, 3, 2))
    graph, _ = lce.from_bytes(b.bytes(folded(b)))
    assert [node.op for node in graph.nodes] == ["sign", "bconv2d", "affine"]


def test_every_supported_operator_has_its_options_in_the_table():
    custom = {kind for kind in READ if kind.startswith("Lce")}
    assert (set(READ) | set(FOLD) | set(FOLD_SHAPES)) - custom == set(OPTIONS)


def test_a_file_without_metadata_gets_the_name_of_the_file(tmp_path):
    path = tmp_path / "toy_net.tflite"
    path.write_bytes((DATA / "lce" / "toy.tflite").read_bytes())
    graph, info = lce.read(path)
    assert info == NetworkInfo("toy_net") and graph.nodes
    with pytest.raises(ModelFormatError, match="There is no file .*none.tflite"):
        lce.read(tmp_path / "none.tflite")


def test_equal_names_become_different():
    b = FileBuilder((1, 2, 2, 2))
    first = b.add("RELU", [0], (1, 2, 2, 2))
    second = b.add("TANH", [first], (1, 2, 2, 2))
    for index, name in ((0, "x\n"), (first, ""), (second, "x\n")):
        entry = b.tensors[index]
        b.tensors[index] = type(entry)(name, entry.dtype, entry.shape)
    graph, _ = lce.from_bytes(b.bytes(second))
    assert [graph.input, *(node.name for node in graph.nodes)] == ["x?", "value", "x?_2"]


def test_the_docs_list_the_supported_operators():
    page = (Path(__file__).parents[2] / "docs" / "larq_compute_engine.md").read_text()
    table = page.split("| Operators | Notes |", 1)[1].split("\n\n", 1)[0]
    first = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert {name for cell in first for name in re.findall(r"`(\w+)`", cell)} == (
        set(READ) | set(FOLD) | set(FOLD_SHAPES)
    )
