"""Files written for Larq Compute Engine are read back and compute the same.

`tests/data/lce/written.npz` has what Larq Compute Engine's interpreter computed for these files;
`test_lce_peer.py` asks it again.
"""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

from bnnzoo.errors import ConversionError, MissingDependencyError
from bnnzoo.formats import FORMATS, Network, lce
from bnnzoo.formats.lce.parsing import parse
from bnnzoo.formats.lce.preparing import prepare
from bnnzoo.formats.lce.schema import schema
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.graph import interpreter
from bnnzoo.graph.ir import Graph
from bnnzoo.graph.packing import quantize
from tests.conftest import DATA
from tests.formats.lce_networks import (
    CASES,
    SHAPE,
    Builder,
    images,
    network,
    random_network,
)
from tests.formats.lce_values import RELATIVE
from tests.graph.graphs import with_more_ends

try:
    schema()
except MissingDependencyError as error:
    pytest.skip(str(error), allow_module_level=True)

INFO = NetworkInfo("tiny", labels=None, preprocessing="scale_pm1", licence="CC0-1.0")


def written(graph: Graph, info: NetworkInfo = INFO):
    return lce.write(Network(graph, info, images(graph, 1)))


def kinds(graph: Graph) -> list[str]:
    return [operator.kind for operator in parse(written(graph).files[""]).operators]


def builder(shape=SHAPE) -> Builder:
    return Builder(np.random.default_rng(3), shape)


# Case -> the operators that it becomes: what is fused, and what is not.
OPERATORS = {
    "one-padding": "LceQuantize LceBconv2d LceBconv2d",
    "zero-padding": "LceQuantize LceBconv2d LceQuantize LceBconv2d",
    "minus-padding": "LceQuantize LceDequantize PADV2 LceQuantize LceBconv2d LceBconv2d",
    "zero-padding unlike same": "LceQuantize LceDequantize PAD CONV_2D LceQuantize LceBconv2d",
    "relu": "LceQuantize LceBconv2d",
    "relu, zero-padding": "LceQuantize LceBconv2d RELU MUL ADD",
    "bits pooled": "LceQuantize LceBconv2d LceBMaxPool2d LceBconv2d",
    "sums pooled": "LceQuantize LceBconv2d MAX_POOL_2D MUL ADD LceQuantize LceBconv2d",
    "residual": "MUL ADD LceQuantize LceBconv2d ADD LceQuantize LceBconv2d ADD",
    "depthwise": "DEPTHWISE_CONV_2D LceQuantize LceBconv2d",
    "wide depthwise": "CONV_2D LceQuantize LceBconv2d",
    "a sum for two": "MUL ADD ADD RELU CONCATENATION",
    "batch norm for two": "LceQuantize LceBconv2d LceQuantize LceBconv2d ADD",
    "flatten of words": "LceQuantize LceBconv2d RESHAPE LceBconv2d RESHAPE",
    "flatten of parts of words":
        "LceQuantize LceBconv2d LceDequantize RESHAPE LceQuantize LceBconv2d RESHAPE",
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_affines_signs_and_activations_are_fused(name):
    assert kinds(network(name)) == OPERATORS[name].split()


@pytest.fixture(scope="module")
def peer_outputs():
    with np.load(DATA / "lce" / "written.npz") as outputs:
        return dict(outputs)


@pytest.mark.parametrize("name", CASES)
def test_the_interpreter_computed_what_the_oracle_computes(name, peer_outputs):
    """Integers are equal, and real numbers agree within float32 rounding. No sign flips."""
    graph = network(name)
    expected = interpreter.run(graph, images(graph))[graph.outputs[0]]
    tolerance = RELATIVE * np.abs(expected).max()
    np.testing.assert_allclose(peer_outputs[name], expected, rtol=0, atol=tolerance)
    if graph.nodes[-1].op == "bconv2d":
        np.testing.assert_array_equal(peer_outputs[name], expected)


@pytest.mark.parametrize("name", CASES)
def test_written_files_are_read_back(name):
    graph = network(name)
    again, info = lce.from_bytes(written(graph).files[""])
    assert info == INFO
    assert (again.input, again.input_shape) == (graph.input, graph.input_shape)
    x = images(graph)
    expected = interpreter.run(graph, x)[graph.outputs[0]]
    found = interpreter.run(again, x)[again.outputs[0]]
    np.testing.assert_allclose(found, expected, atol=RELATIVE * np.abs(expected).max())


@pytest.mark.parametrize("ends", ["one input", "several inputs"])
def test_random_graphs_are_read_back(monkeypatch, ends):
    monkeypatch.setattr("tests.graph.graphs.GraphBuilder.in_8_bits", False)
    checked = 0
    for seed in range(50):
        graph = random_network(seed)
        if graph is None:
            continue
        if ends == "several inputs":
            graph = with_more_ends(np.random.default_rng(seed), graph)
        try:
            again, _ = lce.from_bytes(written(graph).files[""])
        except ConversionError as error:
            assert "must be that of 'same' or 'valid'" in str(error)
            continue
        assert list(again.inputs.items()) == list(graph.inputs.items())
        x = images(graph)
        values = interpreter.run(graph, x)
        for name, other in zip(graph.outputs, again.outputs, strict=True):
            found = interpreter.run(again, x)[other]
            np.testing.assert_allclose(
                found, values[name], atol=RELATIVE * max(1.0, np.abs(values[name]).max())
            )
        checked += 1
    assert checked > 10


def test_prepare_does_not_change_the_results_of_the_oracle():
    for name in CASES:
        graph = network(name)
        expected = interpreter.run(graph, images(graph))[graph.outputs[0]]
        found = interpreter.run(prepare(graph), images(graph))[graph.outputs[0]]
        # Parameters are float64 here; only the order of products differs.
        np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())


def test_thresholds_beyond_all_sums_are_always_and_never():
    b = builder((3, 3, 16))
    x = b.bconv(b.sign("images"), 4, (1, 1))
    vectors = {"scale": np.float32([1, -1, 0, 0]), "bias": np.float32([100, 100, -1, 1])}
    x = b.add("affine", x, tensors=vectors)
    graph = b.graph(b.bconv(b.sign(x), 2))
    file = parse(written(graph).files[""])
    (thresholds,) = (t.values for t in file.tensors if t.name.endswith("/threshold"))
    # K is 16: 17 of 16 products are never -1, and more than -1 always.
    np.testing.assert_array_equal(thresholds, [16, 16, -1, 16])


def test_constants_lie_at_multiples_of_16_bytes():
    data = written(network("one-padding")).files[""]
    for tensor in parse(data).tensors:
        if tensor.values is not None:
            offset = tensor.values.__array_interface__["data"][0]
            start = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
            assert (offset - start) % 16 == 0, tensor.name


def test_equal_networks_give_equal_bytes():
    assert written(network("residual")) == written(network("residual"))


def test_the_report_counts_every_byte():
    result = written(network("groups"))
    assert sum(result.bytes.values()) == len(result.files[""])
    assert set(result.bytes) == {"real kernels", "scales, biases and thresholds", "structure"}
    assert result.bytes["real kernels"] == 8 * 3 * 3 * 3 * 4
    (note,) = result.notes
    assert "'n1_bconv2d' has groups" in note and "float32" in note
    assert written(network("residual")).bytes["binary kernels"] == 2 * 40 * 3 * 3 * 2 * 4


def test_the_way_back_to_keras_is_left_out():
    info = NetworkInfo("tiny", tag="t", architecture={"name": "tiny", "arguments": {}}, labels=None)
    graph, found = lce.from_bytes(written(network("relu"), info).files[""])
    assert found == NetworkInfo("tiny", tag="t")
    assert graph.nodes


def test_the_table_of_formats_knows_it():
    (row,) = (row for row in FORMATS if row.module == lce.__name__)
    assert (row.suffix, row.is_read) == (".tflite", True)


def levels(b):
    return b.bconv(b.add("quantize", "images", bits=2), 3, pad_value=0)


def eight_bits(b):
    kernel = quantize(b.reals(4, 1, 1, 40))
    window = {"strides": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0), "groups": 1}
    return b.add("conv2d", "images", tensors={"kernel": kernel}, input_bits=8, **window)


def mean(b):
    window = {"pool": (3, 3), "strides": (1, 1), "padding": (0, 2, 1, 1)}
    return b.add("avg_pool2d", "images", **window)


def minimum(b):
    window = {"pool": (3, 3), "strides": (1, 1), "padding": (1, 1, 1, 1)}
    direction = np.where(np.arange(40) % 2, -1, 1).astype(np.int8)
    tensors = {"direction": direction}
    return b.add("dequantize", b.add("bmax_pool2d", b.sign("images"), tensors=tensors, **window))


def other_pixels(b):
    """Pixel 20 of 41 is at 1 of 2 rows, which float32 rounds down."""
    rows = b.add("slice", "images", axis=0, begin=0, size=2)
    return b.add("nearest_resize2d", rows, pixels=(41, 7))


def transposed(b):
    settings = {"strides": (2, 2), "dilation": (1, 1), "crop": (0, 0), "pixels": (18, 14)}
    kernel = {"kernel": b.signs(3, 2, 2, 40)}
    return b.add("bconv2d_transpose", b.sign("images"), tensors=kernel, **settings)


def five_axes(b):
    x = b.add("reshape", "images", shape=(3, 3, 7, 40))
    return b.add("softmax", x)


REFUSED = {
    "levels": (levels, "'n0_quantize' (quantize)", "it quantizes to 2 bits"),
    "inputs in 8 bits": (eight_bits, "'n0_conv2d' (conv2d)", "its input is quantized to 8 bits"),
    "a mean over odd padding": (mean, "'n0_avg_pool2d'", "its padding (0, 2, 1, 1) must be"),
    "the least of bits": (minimum, "'n1_bmax_pool2d'", "has no minimum"),
    "another size": (other_pixels, "'n1_nearest_resize2d'", "rounds to other pixels from 2 to 41"),
    "transposed": (transposed, "'n1_bconv2d_transpose'", "no binary transposed convolution"),
    "five axes": (five_axes, "'n1_softmax'", "at most 4 axes with the batch, got 5"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unsupported_nodes_are_named(name):
    build, node, why = REFUSED[name]
    b = builder()
    with pytest.raises(ConversionError, match=re.escape(node)) as error:
        written(b.graph(build(b)))
    assert why in str(error.value) and "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated:UserWarning")
@pytest.mark.parametrize("pixels", [(18, 14), (5, 3), (9, 7), (31, 20)])
@pytest.mark.parametrize("kind", ["nearest", "bilinear"])
def test_tensorflow_lite_resizes_to_the_same_pixels(kind, pixels):
    tensorflow = pytest.importorskip("tensorflow.lite.python.interpreter")
    b = builder()
    graph = b.graph(b.add(f"{kind}_resize2d", "images", pixels=pixels))
    content = written(graph).files[""]
    peer = tensorflow.Interpreter(model_content=content)
    peer.allocate_tensors()
    x = images(graph, 1)
    peer.set_tensor(peer.get_input_details()[0]["index"], x)
    peer.invoke()
    expected = peer.get_tensor(peer.get_output_details()[0]["index"])
    again, _ = lce.from_bytes(content)
    for each in (graph, again):
        found = interpreter.run(each, x)[each.outputs[0]]
        np.testing.assert_allclose(found, expected, atol=RELATIVE * np.abs(expected).max())


def test_a_missing_schema_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "flatbuffers", None)  # it comes with the schema
    schema.cache_clear()
    try:
        with pytest.raises(MissingDependencyError, match=re.escape("'.[lce]'")):
            written(network("relu"))
    finally:
        schema.cache_clear()
