"""Networks read from ONNX files compute the same as ONNX Runtime, Brevitas, PyTorch and Keras."""

from __future__ import annotations

import dataclasses
import importlib
import re

import numpy as np
import onnx
import pytest

from bnnzoo.errors import ModelFormatError
from bnnzoo.formats import Network, packed, qonnx
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.formats.qonnx.reading_operators import READ
from bnnzoo.graph import interpreter, passes
from bnnzoo.graph.ir import Graph
from tests.architectures.models import swept
from tests.conftest import DATA
from tests.formats.exact_networks import NETWORKS, exact_input
from tests.formats.files import INFO, tiny_graph
from tests.formats.onnx_cases import CASES, MAP, Case, model_of
from tests.formats.test_fuzz import RUNTIME
from tests.graph.graphs import with_more_ends
from tests.runtime.exact_graphs import exact_graph, exact_inputs

# Float32 rounds each of the few numbers that one of these is the sum of.
RELATIVE = 2e-6
# Network -> operations of its graph; every convolution of signs by signs has bits.
EXPORTED = {
    "brevitas_levels": {"quantize", "bconv2d", "sign", "max_pool2d"},
    "brevitas_residual": {"bconv2d", "prelu", "add", "global_avg_pool2d"},
    "torch_estimated": {"bconv2d", "sign", "avg_pool2d", "concat"},
    "torch_estimated_dynamo": {"bconv2d", "sign", "avg_pool2d", "concat"},
    "keras_plain": {"bconv2d", "sign", "tanh"},
    "keras_signs": {"quantize", "bconv2d", "sign", "softmax"},
}
BINARY = {"brevitas_levels": 2, "brevitas_residual": 3, "torch_estimated": 1,
          "torch_estimated_dynamo": 1, "keras_plain": 1, "keras_signs": 3}  # fmt: skip


def read(model: onnx.ModelProto) -> Graph:
    return qonnx.from_bytes(model.SerializeToString())[0]


def of_case(name: str, **changes) -> Graph:
    return read(model_of(dataclasses.replace(CASES[name], **changes)))


def from_onnx(x: np.ndarray) -> np.ndarray:
    """Returns images channels last, others as they are."""
    return x.transpose(0, 2, 3, 1) if x.ndim == 4 else x


def images(shape) -> np.ndarray:
    """Returns eighths, including zeros of both signs and halves of levels."""
    rng = np.random.default_rng(4)
    x = (rng.integers(-12, 13, (1, *shape)) / 8).astype(np.float32)
    x.ravel()[::7], x.ravel()[1::7] = 0.0, -0.0
    return x


def by_onnxruntime(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {session.get_inputs()[0].name: x})[0]


@pytest.mark.parametrize("name", CASES)
def test_operators_compute_what_onnxruntime_computes(name):
    case = CASES[name]
    model = model_of(case)
    x = images(case.shape[1:])
    expected = by_onnxruntime(model, x)
    graph = read(model)
    if x.ndim == 4 and not name.startswith("channels last"):
        x, expected = from_onnx(x), from_onnx(expected)
    found = interpreter.run(graph, x)[graph.outputs[0]]
    atol = RELATIVE * max(1, np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


QUANTIZERS = {
    "bipolar": ("y = BipolarQuant(x, s)", {}, lambda x, s: np.where(x < 0, -s, s)),
    "2 bits": ("y = Quant<signed=0>(x, s, z, b)", {"b": 2},
               lambda x, s: s * np.clip(np.rint(x / s), 0, 3)),
    "8 signed bits": ("y = Quant<signed=1, narrow=0>(x, s, z, b)", {"b": 8},
                      lambda x, s: s * np.clip(np.rint(x / s), -128, 127)),
    "2 bits of a multiple": ("t = Mul(x, m) y = Quant<signed=0>(t, s, z, b)", {"b": 2},
                             lambda x, s: s * np.clip(np.rint(x * 3 / s), 0, 3)),
    "2 bits with a zero point": ("y = Quant<signed=0>(x, s, o, b)", {"b": 2},
                                 lambda x, s: s * (np.clip(np.rint(x / s + 1), 0, 3) - 1)),
    "3 levels": ("y = Quant<signed=1, narrow=1>(x, s, z, b)", {"b": 2},
                 lambda x, s: s * np.clip(np.rint(x / s), -1, 1)),
    "1 threshold": ("y = MultiThreshold<out_scale=2.0, out_bias=-1.0>(x, t)",
                    {"t": [[0.5], [-0.25], [0]]},
                    lambda x, s: np.where(x >= np.reshape([0.5, -0.25, 0], (3, 1, 1)), 1, -1)),
    "3 thresholds": ("y = MultiThreshold(x, t)", {"t": [[-0.5, 0.125, 0.5]]},
                     lambda x, s: sum((x >= t).astype(float) for t in (-0.5, 0.125, 0.5))),
    "thresholds channels last": (
        'u = Transpose<perm=[0,2,3,1]>(x) v = MultiThreshold<data_layout="NHWC">(u, t) '
        "y = Transpose<perm=[0,3,1,2]>(v)", {"t": [[0.5, 1], [-0.25, 1], [0, 0.125]]},
        lambda x, s: sum((x >= np.reshape(t, (3, 1, 1))).astype(float)
                         for t in ([0.5, -0.25, 0], [1, 1, 0.125]))),
}  # fmt: skip


@pytest.mark.parametrize("name", QUANTIZERS)
def test_quantizers_compute_their_formula(name):
    """With a scale for which no eighth is halfway between two levels."""
    (text, given, formula), scale = QUANTIZERS[name], 0.7
    text = re.sub(r"= (BipolarQuant|Quant|MultiThreshold)", r"= qonnx.custom_op.general.\1", text)
    numbers = {"s": scale, "z": 0, "o": 1, "m": 3, **given}
    constants = {key: np.float32(value) for key, value in numbers.items()}
    graph, x = read(model_of(Case(text, constants))), images(MAP)
    found = interpreter.run(graph, from_onnx(x))[graph.outputs[0]]
    # 255 * 0.7 is rounded to float32 for the levels of 8 bits: by 2^-17 at most.
    np.testing.assert_allclose(found, from_onnx(formula(x, scale)), rtol=0, atol=2.0**-17)


@pytest.mark.parametrize("name", ["convolution of signs", "product of signs"])
def test_signs_that_may_be_zero_are_two_binary_layers(name):
    ops = [node.op for node in of_case(name).nodes]
    assert ops.count("bconv2d") == ops.count("sign") == 2 and "conv2d" not in ops


def test_every_operator_has_a_case():
    tested = {node.op_type for case in CASES.values() for node in model_of(case).graph.node}
    quantizers = {"BipolarQuant", "MultiThreshold", "Quant"}  # below
    assert READ.keys() - tested - quantizers - {"GlobalAveragePool"} == set()


# Files of others ---------------------------------------------------------------------------------


def exported(name: str):
    graph, info = qonnx.from_bytes((DATA / "onnx" / f"{name}.onnx").read_bytes())
    with np.load(DATA / "onnx" / "outputs.npz") as archive:
        outputs = dict(archive)
    with np.load(DATA / "onnx" / "keras_outputs.npz") as archive:
        outputs |= dict(archive)
    return graph, info, from_onnx(outputs["images"]), outputs[name.removesuffix("_dynamo")]


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_networks_compute_what_their_framework_computed(name):
    graph, info, x, expected = exported(name)
    assert info == NetworkInfo("onnx") and graph.input_shape == (16, 16, 3)
    ops = [node.op for node in graph.nodes]
    assert set(ops) >= EXPORTED[name] and ops.count("bconv2d") == BINARY[name]
    found = interpreter.run(graph, x)[graph.outputs[0]]
    np.testing.assert_allclose(found, expected, atol=RELATIVE * np.abs(expected).max())


@pytest.mark.skipif(not RUNTIME, reason="the engine is not built")
@pytest.mark.parametrize("name", EXPORTED)
def test_the_runtime_computes_what_their_framework_computed(name):
    from bnnzoo.runtime import Model

    graph, info, x, expected = exported(name)
    file = packed.from_bytes(packed.to_bytes(passes.apply(graph, passes.STORED)[0], info))
    found = Model(file.graph, file.info)(x)
    np.testing.assert_allclose(found, expected, atol=RELATIVE * np.abs(expected).max())


# Files of our own --------------------------------------------------------------------------------


def written_and_read(graph: Graph) -> Graph:
    return qonnx.from_bytes(qonnx.write(Network(graph, NetworkInfo("net"), {})).files[""])[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_small_networks_are_read_back(name):
    graph = NETWORKS[name]
    found, x = written_and_read(graph), exact_input(graph)
    expected = interpreter.run(graph, x)[graph.outputs[0]]
    np.testing.assert_array_equal(interpreter.run(found, x)[found.outputs[0]], expected)


@pytest.mark.parametrize("seed", range(20))
def test_graphs_of_several_inputs_and_outputs_are_read_back(seed):
    rng = np.random.default_rng(seed)
    graph = with_more_ends(rng, exact_graph(rng))
    found, x = written_and_read(graph), exact_inputs(rng, graph, count=2)
    assert found.inputs == graph.inputs
    ours, theirs = interpreter.run(graph, x), interpreter.run(found, x)
    for name, output in zip(graph.outputs, found.outputs, strict=True):
        np.testing.assert_array_equal(theirs[output], ours[name], err_msg=name)


@pytest.mark.parametrize("name", swept())
def test_every_architecture_is_read_back_to_the_same_integers(name, traced):
    graph = qonnx.drawn(traced(name).graph).graph
    found = written_and_read(traced(name).graph)
    x = np.random.default_rng(5).standard_normal((1, *graph.input_shape)).astype(np.float32)
    theirs = interpreter.run(found, x)
    # Where one rounding turned a sign, what comes after would differ in many.
    parts = {"sign": "signs/bits", "quantize": "levels"}
    given = {
        node.name: theirs[f"{node.name}/{parts[node.op]}"]
        for node in graph.nodes
        if node.op in parts
    }
    ours = interpreter.run(graph, x)
    assert given
    for value, array in given.items():
        np.testing.assert_array_equal(ours[value], array, err_msg=value)
    (output,), (again,) = graph.outputs, found.outputs
    # The file rounds parameters to float32. Of logits around 100, that is 1e-5 in a probability.
    atol = 1e-4 * np.abs(ours[output]).max()
    np.testing.assert_allclose(theirs[again], ours[output], rtol=0, atol=atol)
    found, _ = passes.apply(found, passes.STORED)
    counts = [sum(node.op == "bconv2d" for node in each.nodes) for each in (graph, found)]
    assert counts[0] <= counts[1]


def test_metadata_is_read_back():
    data = qonnx.write(Network(tiny_graph(), INFO, {})).files[""]
    expected = dataclasses.replace(INFO, keras_config=None, architecture=None)
    assert qonnx.from_bytes(data)[1] == expected
    # Others mean something else by the same words.
    model = onnx.load_from_string(data)
    model.producer_name = "other"
    assert qonnx.from_bytes(model.SerializeToString())[1] == NetworkInfo("onnx")


def test_a_file_becomes_a_packed_file(tmp_path):
    from bnnzoo.conversion import convert

    source, target = DATA / "onnx" / "brevitas_residual.onnx", tmp_path / "out.safetensors"
    report = convert(source, target)
    assert report.model == "brevitas_residual"
    assert sum(layer.binary for layer in report.layers) == 3
    assert packed.read(target)[1].name == "brevitas_residual"


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_networks_are_written_in_other_formats(name):
    graph, info, x, _ = exported(name)
    for kind in ("c_source", "lce", "qonnx"):
        writer = importlib.import_module(f"bnnzoo.formats.{kind}")
        if kind != "lce" or name in ("brevitas_residual", "torch_estimated"):
            assert writer.write(Network(graph, info, x[:1])).files
    again = written_and_read(graph)
    expected = interpreter.run(graph, x)[graph.outputs[0]]
    found = interpreter.run(again, x)[again.outputs[0]]
    np.testing.assert_allclose(found, expected, atol=RELATIVE * np.abs(expected).max())


def test_other_commands_say_to_convert_first():
    from bnnzoo.errors import ArgumentError
    from bnnzoo.model_source import resolve_model

    with pytest.raises(ArgumentError, match=r"bnnzoo convert NAME.onnx NAME.safetensors"):
        resolve_model("net.onnx")
    for name in EXPORTED:
        with pytest.raises(ModelFormatError, match=r"an ONNX file. Convert it: bnnzoo convert"):
            packed.from_bytes((DATA / "onnx" / f"{name}.onnx").read_bytes())
