"""QONNX files compute the same values as the reference interpreter, and have its types."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

pytest.importorskip("keras")

import bnnzoo
from bnnzoo.errors import ConversionError
from bnnzoo.formats import FORMATS, Network, packed, qonnx
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.formats.qonnx import model_proto
from bnnzoo.formats.qonnx.operations import OPERATIONS
from bnnzoo.graph import passes
from bnnzoo.graph.interpreter import run
from bnnzoo.graph.ir import Graph
from bnnzoo.graph.ops import OPS
from bnnzoo.graph.packing import quantize
from bnnzoo.keras_bridge.from_keras import trace
from tests.architectures.models import MODELS, swept
from tests.formats.exact_networks import NETWORKS, exact_input
from tests.formats.files import INFO, tiny_graph
from tests.formats.onnx_runs import (
    assert_agrees,
    by_onnxruntime,
    file_of,
    to_onnx,
)
from tests.graph.graphs import GraphBuilder, random_graph, with_more_ends
from tests.keras_bridge.keras_cases import CASES, model_of
from tests.keras_bridge.keras_networks import counting, every_count
from tests.runtime.exact_graphs import exact_graph, exact_inputs

pytestmark = pytest.mark.filterwarnings("ignore::bnnzoo.nn.StarvedWeightsWarning")

DATA = Path(__file__).parents[1] / "data"
# Made with the package qonnx: outputs of `NETWORKS`, and costs of the architectures.
PEER_OUTPUTS = DATA / "qonnx_outputs.npz"
PEER_COSTS = json.loads((DATA / "qonnx_costs.json").read_text())
SHIPPED = sorted((Path(bnnzoo.__file__).parent / "pretrained").glob("*.safetensors"))


class RealBuilder(GraphBuilder):
    in_8_bits = False


def source_graph(seed: list[int]) -> Graph:
    """A random graph without inputs in 8 bits, which QONNX cannot express."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GraphBuilder, "in_8_bits", False)
        return random_graph(np.random.default_rng(seed))


def inputs_of(graph: Graph, seed: int = 5) -> np.ndarray:
    images = np.random.default_rng(seed).standard_normal((1, *graph.input_shape))
    return images.astype(np.float32)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def annotations(model: onnx.ModelProto, key: str) -> dict[str, str]:
    return {
        annotation.tensor_name: entry.value
        for annotation in model.graph.quantization_annotation
        for entry in annotation.quant_parameter_tensor_names
        if entry.key == key
    }


def datatypes(model: onnx.ModelProto) -> dict[str, str]:
    return annotations(model, "finn_datatype")


def ops(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


# Values ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_graphs_of_several_inputs_and_outputs(seed):
    """Compares exact numbers. Inputs and outputs have the names of the graph."""
    import onnxruntime

    rng = np.random.default_rng(seed)
    graph = with_more_ends(rng, exact_graph(rng))
    x = exact_inputs(rng, graph, count=1)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file_of(graph).SerializeToString(), options)
    assert [entry.name for entry in session.get_inputs()] == list(graph.inputs)
    found = session.run(None, {name: to_onnx(array) for name, array in x.items()})
    expected = run(graph, x)
    for entry, array in zip(session.get_outputs(), found, strict=True):
        np.testing.assert_array_equal(array, to_onnx(expected[entry.name]), err_msg=entry.name)
    assert [entry.name for entry in session.get_outputs()] == list(graph.outputs)


def test_every_operation_is_drawn():
    assert set(OPERATIONS) == set(OPS)


@pytest.mark.parametrize("seed", range(6))
def test_random_graphs_agree_with_the_oracle(seed):
    for number in range(20):
        graph = source_graph([seed, number])
        assert_agrees(graph, inputs_of(graph))
        stored, _ = passes.apply(graph, passes.STORED)
        assert_agrees(stored, inputs_of(graph))


@pytest.mark.parametrize("name", CASES)
def test_every_layer_agrees_with_the_oracle(name):
    graph = trace(model_of(name)).graph
    # ONNX Runtime runs no file without nodes.
    assert_agrees(graph, inputs_of(graph)) if graph.nodes else file_of(graph)


# With random weights, the products of the other BNexts' attention overflow.
AGREEING = [name for name in MODELS if name == "bnext_tiny" or not name.startswith("bnext")]


@pytest.mark.parametrize("name", swept(AGREEING))
def test_every_architecture_agrees_with_the_oracle(name, traced):
    graph = traced(name).graph
    assert_agrees(graph, inputs_of(graph))


@pytest.mark.parametrize("name", swept(PEER_COSTS))
def test_an_architecture_costs_what_summary_says(name, traced):
    network = traced(name)
    graph = network.graph
    model = file_of(graph)
    assert "Transpose" not in ops(model)
    normed = sum(node.op == "batch_norm" for node in graph.nodes)
    assert ops(model).count("BatchNormalization") == normed
    summary, cost = network.summary, PEER_COSTS[name]
    assert cost["pixels"] == network.pixels
    assert cost["binary_macs"] == summary.macs_by_bits.get(1, 0)
    assert cost["binary_weights"] == summary.params_by_bits[1]
    assert sum(cost["macs"].values()) == summary.macs


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_trained_networks_agree_on_real_images(path):
    graph, info = packed.read(path)
    images = [image for image, _, _ in bnnzoo.data.open_source("sample:fashion_mnist")][:5]
    x = bnnzoo.data.preprocessing.get(info.preprocessing, graph.input_shape)(images)
    for image in x[:2]:
        model = assert_agrees(graph, image[None])
    best = [
        by_onnxruntime(model, graph.input, to_onnx(image[None]))[graph.outputs[0]].argmax()
        for image in x
    ]
    assert best == run(graph, x)[graph.outputs[0]].argmax(axis=1).tolist()


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_to_the_bit_those_of_the_package_qonnx(name):
    graph = NETWORKS[name]
    with np.load(PEER_OUTPUTS) as outputs:
        expected = outputs[name]
    found = by_onnxruntime(file_of(graph), graph.input, to_onnx(exact_input(graph)))
    assert np.array_equal(found[graph.outputs[0]], expected)
    assert np.array_equal(to_onnx(run(graph, exact_input(graph))[graph.outputs[0]]), expected)


def test_sign_of_zero_is_plus_one():
    graph = RealBuilder(np.random.default_rng(0), (4,))
    model = file_of(graph.graph(graph.add("dequantize", graph.add("sign", "images"))))
    x = np.float32([[0.0, -0.0, -1e-45, 1e-45]])
    found = by_onnxruntime(model, "images", x)
    assert found[model.graph.output[0].name].tolist() == [[1, 1, -1, 1]]


@pytest.mark.parametrize("stored", [False, True])
def test_signs_of_counts_are_those_of_the_network(stored):
    graph = trace(counting(1152)).graph
    graph = passes.apply(graph, passes.STORED)[0] if stored else graph
    model, (signs, _) = file_of(graph), graph.outputs
    x = every_count(1152)
    expected = run(graph, x)[signs]
    # Where a channel changes its sign.
    for k in np.flatnonzero((np.diff(expected, axis=0) != 0).any(axis=1)):
        for place in (k, k + 1):
            found = by_onnxruntime(model, graph.input, x[place : place + 1])[signs]
            np.testing.assert_array_equal(found[0], expected[place])


# What a file says --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny() -> onnx.ModelProto:
    return file_of(tiny_graph())


def test_every_tensor_has_its_shape_and_few_bits_are_annotated(tiny):
    known = {v.name for v in (*tiny.graph.input, *tiny.graph.output, *tiny.graph.value_info)}
    named = {name for node in tiny.graph.node for name in (*node.input, *node.output)}
    assert named <= known
    assert datatypes(tiny) == {
        "binary/sign": "BIPOLAR",
        "binary/kernel/signs": "BIPOLAR",
        "binary/kernel": "BIPOLAR",
        "binary": "INT6",  # -27 to 27
    }
    assert annotations(tiny, "tensor_layout") == {"images": "['N', 'C', 'H', 'W']"}


def test_kernels_of_bits_are_plus_and_minus_one_behind_a_quantizer(tiny):
    node = next(n for n in tiny.graph.node if n.output[0] == "binary/kernel")
    assert (node.op_type, node.domain) == ("BipolarQuant", "qonnx.custom_op.general")
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in tiny.graph.initializer}
    kernel = tiny_graph().tensors["binary/kernel"].unpack()
    assert np.array_equal(constants[node.input[0]], kernel.transpose(0, 3, 1, 2))
    assert constants[node.input[1]] == 1 and constants[node.input[1]].shape == ()


def test_facts_about_the_network_are_metadata():
    network = Network(
        tiny_graph(), INFO, np.zeros((1, 4, 4, 2), np.float32), (1.0, 2.0), (3.0, 4.0)
    )
    model = onnx.load_from_string(qonnx.write(network).files[""])
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["name"] == "tiny" and facts["licence"] == "CC0-1.0"
    assert json.loads(facts["labels"]) == ["cat", "dög"]
    assert json.loads(facts["pixel_std"]) == [3.0, 4.0]
    assert "architecture" not in facts
    assert model.producer_name == "bnnzoo" and model.graph.name == "tiny"


def test_the_same_network_gives_the_same_bytes():
    network = Network(tiny_graph(), INFO, np.zeros((1, 4, 4, 2), np.float32))
    written = qonnx.write(network)
    assert written.files == qonnx.write(network).files
    assert written.bytes["binary kernels"] == 81 * 4
    assert written.bytes["float kernels"] == (54 + 6) * 4
    assert written.notes == (
        "The input 'images' is (1, 2, 4, 4): channels first, float32, preprocessed.",
    )


@pytest.fixture
def builder(rng) -> GraphBuilder:
    return RealBuilder(rng, (5, 6, 4))


WINDOW = {"strides": (1, 2), "dilation": (2, 1), "padding": (0, 1, 2, 3), "groups": 2}


@pytest.mark.parametrize("pad_value", [-1, 0, 1])
def test_conv_pads_zeros_and_pad_all_else(builder, pad_value):
    kernel = builder.signs(6, 2, 3, 2)
    bits = builder.add("sign", "images")
    y = builder.add("bconv2d", bits, tensors={"kernel": kernel}, pad_value=pad_value, **WINDOW)
    graph = builder.graph(y)
    model = assert_agrees(graph, inputs_of(graph))
    (conv,) = (attributes(node) for node in model.graph.node if node.op_type == "Conv")
    assert conv["strides"] == [1, 2] and conv["dilations"] == [2, 1] and conv["group"] == 2
    assert conv["kernel_shape"] == [2, 3]
    # ONNX has top, left, bottom, right.
    assert conv["pads"] == ([0, 0, 0, 0] if pad_value else [0, 2, 1, 3])
    assert ops(model).count("Pad") == (pad_value != 0)
    padded = [name for name in datatypes(model) if name.endswith("/padded")]
    assert len(padded) == (pad_value != 0)


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_levels_are_integers_between_quant_nodes(builder, bits):
    levels = builder.add("quantize", "images", bits=bits)
    y = builder.conv(levels, binary=True, filters=3)
    graph = builder.graph(y, builder.add("dequantize", levels))
    model = assert_agrees(graph, inputs_of(graph))
    (quant,) = (node for node in model.graph.node if node.op_type == "Quant")
    assert attributes(quant) == {"signed": 0, "narrow": 0, "rounding_mode": b"ROUND"}
    assert datatypes(model)[levels] == ("BINARY" if bits == 1 else f"UINT{bits}")


def test_a_kernel_in_8_bits_is_a_quant_node(builder):
    kernel = quantize(builder.reals(6, 3, 3, 4))
    y = builder.add("conv2d", "images", tensors={"kernel": kernel},
                    **{**WINDOW, "groups": 1, "dilation": (1, 1)})  # fmt: skip
    graph = builder.graph(y)
    model = assert_agrees(graph, inputs_of(graph))
    (quant,) = (node for node in model.graph.node if node.op_type == "Quant")
    assert attributes(quant) == {"signed": 1, "narrow": 1, "rounding_mode": b"ROUND"}
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in model.graph.initializer}
    x, scale, zero_point, bits = (constants[name] for name in quant.input)
    assert (zero_point, bits) == (0, 8) and scale.shape == (6, 1, 1, 1)
    assert np.array_equal(np.rint(x / scale), kernel.levels.transpose(0, 3, 1, 2))


def test_a_packed_batch_norm_is_a_product_and_a_sum(builder):
    graph, _ = passes.apply(builder.graph(builder.batch_norm("images")), passes.STORED)
    assert ops(assert_agrees(graph, inputs_of(graph))) == ["Mul", "Add"]


CLIPS = {
    (0.0, float("inf")): ["Relu"],
    (-1.0, 1.0): ["Clip"],
    (0.5, float("inf")): ["Max"],
    (-float("inf"), 0.5): ["Min"],
    (-float("inf"), float("inf")): ["Identity"],
}


@pytest.mark.parametrize("ends", CLIPS, ids=str)
def test_a_clip_is_the_simplest_operator(builder, ends):
    graph = builder.graph(builder.add("clip", "images", low=ends[0], high=ends[1]))
    assert ops(assert_agrees(graph, inputs_of(graph))) == CLIPS[ends]


def test_outputs_have_their_names_and_their_usual_order(builder):
    turned = builder.add("permute", "images", axes=(1, 0, 2))
    again = builder.add("permute", turned, axes=(1, 0, 2))
    flat = builder.add("reshape", "images", shape=(120,))
    short = builder.add("affine", "images", tensors={"scale": builder.reals(4)})
    row = builder.add("reshape", builder.add("global_max_pool2d", short), shape=(1, 1, 4))
    graph = builder.graph(short, turned, again, flat, row)
    x = inputs_of(graph)
    model = assert_agrees(graph, x)
    found = by_onnxruntime(model, graph.input, to_onnx(x))
    for name, value in run(graph, x).items():
        if name in graph.outputs:
            np.testing.assert_allclose(found[name], to_onnx(value), rtol=1e-6)


# What cannot be said -----------------------------------------------------------------------------


def written(graph: Graph) -> Any:
    return qonnx.write(Network(graph, NetworkInfo("net"), inputs_of(graph)))


def test_inputs_in_8_bits_are_refused_by_name(builder):
    tensors = {"kernel": quantize(builder.reals(6, 3, 3, 2))}
    y = builder.add("conv2d", "images", tensors=tensors, input_bits=8, **WINDOW)
    message = re.escape(
        f"Cannot write node '{y}' (conv2d) as QONNX: its input is quantized to 8 bits with a scale "
        "per image, and a Quant node has one scale for all images. Convert the network without "
        "--weights-dtype int8."
    )
    with pytest.raises(ConversionError, match=message):
        written(builder.graph(y))


def test_what_a_runtime_adds_is_refused_by_name(builder):
    vectors = {"threshold": builder.reals(4), "direction": builder.reals(4)}
    bits = builder.add("sign", "images", tensors=vectors)
    with pytest.raises(ConversionError, match=rf"node '{bits}' \(sign\) as QONNX: it has a thres"):
        written(builder.graph(builder.add("dequantize", bits)))


def test_a_file_that_onnx_cannot_hold_is_refused(monkeypatch):
    monkeypatch.setattr(model_proto, "MAX_BYTES", 500)
    with pytest.raises(ConversionError, match=r"at most 500 bytes, got 596 for the weights of net"):
        written(tiny_graph())


def test_a_missing_onnx_is_one_line_that_names_the_extra():
    code = (
        "import sys; sys.modules['onnx'] = None\n"
        "from tests.formats.files import tiny_graph, INFO\n"
        "from bnnzoo.formats import Network, qonnx\n"
        "from bnnzoo.errors import MissingDependencyError\n"
        "try: qonnx.write(Network(tiny_graph(), INFO, None))\n"
        "except MissingDependencyError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "onnx is needed to write QONNX files" in done.stdout, done.stderr
    assert "pip install '.[qonnx]'" in done.stdout


def test_the_format_is_in_the_table():
    (row,) = (row for row in FORMATS if row.name == "qonnx")
    assert row.suffix == ".onnx" and row.is_read
    assert row.module == qonnx.__name__


# The pass ----------------------------------------------------------------------------------------


def test_flattening_takes_no_transposition_where_only_dense_layers_read_it(builder):
    flat = builder.add("reshape", builder.batch_norm("images"), shape=(120,))
    bits = builder.add("sign", builder.affine(flat))
    dense = builder.dense(bits, 7, binary=True)
    other = builder.dense(flat, 3, binary=False)
    graph = builder.graph(dense, other)
    assert ops(assert_agrees(graph, inputs_of(graph))).count("Transpose") == 0
    kept = builder.graph(dense, flat)
    assert ops(assert_agrees(kept, inputs_of(kept))).count("Transpose") == 1
