"""Files of TensorFlow's own converter are read, or refused by the names of their operators.

`tests/data/tflite` has such files, with what TensorFlow Lite's interpreter computed for them.
"""

from __future__ import annotations

import numpy as np
import pytest

from bnnzoo.errors import MissingDependencyError, ModelFormatError
from bnnzoo.formats import lce, packed
from bnnzoo.formats.lce.schema import schema
from bnnzoo.graph import interpreter, passes
from tests.conftest import DATA
from tests.formats.lce_files import FileBuilder

try:
    schema()
except MissingDependencyError as error:
    pytest.skip(str(error), allow_module_level=True)
try:
    from bnnzoo.runtime import Model
except ImportError:  # the engine is not built
    Model = None

# File -> binary convolutions, other convolutions, and the greatest difference of an output as a
# part of the largest one. 8 bits round every value between layers, which this does not: where signs
# follow, a value of less than half a step has either.
FILES = {
    "signs": (3, 1, 1e-5),
    "signs_free_batch": (3, 1, 1e-5),
    "signs_int8": (3, 1, 0.5),
    "borders": (2, 0, 1e-5),
    "quantizers": (3, 2, 1e-5),
    "classifier": (0, 7, 1e-5),
    "classifier_batch_of_4": (0, 7, 1e-5),
    "classifier_float16": (0, 7, 1e-5),
    "classifier_int8": (0, 7, 0.02),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_tensorflow_computes_what_its_interpreter_computed(name):
    binary, real, tolerance = FILES[name]
    graph, info = lce.read(DATA / "tflite" / f"{name}.tflite")
    graph, _ = passes.apply(graph, passes.STORED)
    file = packed.from_bytes(packed.to_bytes(graph, info))
    x = np.random.RandomState(1).standard_normal((3, *file.graph.input_shape)).astype(np.float32)
    with np.load(DATA / "tflite" / "outputs.npz") as outputs:
        expected = outputs[name]
    ops = [node.op for node in file.graph.nodes]
    assert (ops.count("bconv2d"), ops.count("conv2d")) == (binary, real)
    found = [interpreter.run(file.graph, x)[file.graph.outputs[0]]]
    if Model is not None:
        found.append(Model(file.graph, file.info)(x))
    for each in found:
        np.testing.assert_allclose(each, expected, atol=tolerance * np.abs(expected).max())
        assert np.corrcoef(np.ravel(each), np.ravel(expected))[0, 1] > (0.85 if binary else 0.9999)


def test_unsupported_operators_are_named():
    message = r"unsupported operators: 'ELU, GELU'\. The page on Larq Compute Engine lists"
    with pytest.raises(ModelFormatError, match=message):
        lce.read(DATA / "tflite" / "gelu.tflite")


SHAPE = (1, 3, 5, 4)
BOUND = np.float32(0.25)
COMPARED = {
    "LESS": np.less,
    "LESS_EQUAL": np.less_equal,
    "GREATER": np.greater,
    "GREATER_EQUAL": np.greater_equal,
}
X = np.random.default_rng(0).standard_normal((2, *SHAPE[1:])).astype(np.float32)
X[:, 0] = BOUND  # where they differ
X[:, 1, 0] = np.nextafter(BOUND, np.float32(1))


def result(data):
    """Returns a graph, and what the reference interpreter and the runtime compute of X."""
    graph, _ = lce.from_bytes(data)
    found = interpreter.run(graph, X)[graph.outputs[0]]
    if Model is not None:
        np.testing.assert_allclose(Model(graph)(X), found, rtol=1e-6, atol=1e-6)
    return graph, found


# What is taken where the condition holds and elsewhere: a number, numbers per channel, x itself,
# or an operator on it.
SIDES = {
    "signs": (-1, 1),
    "turned signs": (1, -1),
    "numbers": (0.5, -3),
    "numbers per channel": (np.arange(4), -np.arange(4)),
    "a value and zero": ("TANH", 0),
    "one and a value": (1, "TANH"),
    "two values": ("TANH", "RELU"),
    "the value and its bound": ("x", BOUND),
    "the bound and its value": (BOUND, "x"),
}
COMPUTED = {"TANH": np.tanh(X), "RELU": np.maximum(X, 0), "x": X}


def side(b, taken):
    if not isinstance(taken, str):
        return b.constant(np.float32(taken))
    return 0 if taken == "x" else b.add(taken, [0], SHAPE)


@pytest.mark.parametrize("turned", [False, True], ids=["value first", "bound first"])
@pytest.mark.parametrize("kind", COMPARED)
@pytest.mark.parametrize("sides", SIDES)
def test_a_choice_by_a_comparison(sides, kind, turned):
    b = FileBuilder(SHAPE)
    bound = b.constant(BOUND)
    held = b.add(kind, [bound, 0] if turned else [0, bound], SHAPE, "BOOL")
    taken = [side(b, each) for each in SIDES[sides]]
    graph, found = result(b.bytes(b.add("SELECT_V2", [held, *taken], SHAPE)))
    holds = COMPARED[kind](BOUND, X) if turned else COMPARED[kind](X, BOUND)
    yes, no = (COMPUTED[s] if isinstance(s, str) else np.float32(s) for s in SIDES[sides])
    np.testing.assert_allclose(found, np.where(holds, yes, no), atol=1e-6)
    if "bound" in sides:
        assert [node.op for node in graph.nodes] == ["clip"]


def test_comparisons_of_two_values():
    b = FileBuilder(SHAPE)
    held = b.add("LESS", [0, b.add("TANH", [0], SHAPE)], SHAPE, "BOOL")
    taken = b.constant(np.float32(2)), b.constant(np.float32(3))
    _, found = result(b.bytes(b.add("SELECT", [held, *taken], SHAPE)))
    np.testing.assert_array_equal(found, np.where(np.tanh(X) > X, 2, 3))


def rounded(steps, low=0.0, high=1.0):
    b = FileBuilder(SHAPE)
    clipped = b.add("MAXIMUM", [0, b.constant(np.float32(low))], SHAPE)
    clipped = b.add("MINIMUM", [clipped, b.constant(np.float32(high))], SHAPE)
    times = b.add("MUL", [clipped, b.constant(np.float32(steps))], SHAPE)
    return b.bytes(b.add("ROUND", [times], SHAPE))


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_levels_are_rounded(bits):
    graph, found = result(rounded(2**bits - 1))
    assert bits == 1 or "quantize" in {node.op for node in graph.nodes}
    np.testing.assert_allclose(found, np.rint(np.clip(X, 0, 1) * (2**bits - 1)), atol=1e-4)


@pytest.mark.parametrize("case", [(2,), (511,), (3, -1), (3, 0, 2)], ids=str)
def test_other_roundings_are_refused(case):
    with pytest.raises(ModelFormatError, match=r"ROUND'\): its input must be 2\^bits - 1 times"):
        lce.from_bytes(rounded(*case))


def test_shapes_are_computed():
    """A flatten with a dynamic batch, whose length is a product."""
    b = FileBuilder(SHAPE)
    first, rest = b.constant(np.int32([0])), b.constant(np.int32([1, 2, 3]))
    second = b.constant(np.int32([1]))
    shape = b.add("SHAPE", [0], (4,), "INT32")
    sliced = [shape, first, second, second]
    batch = b.add("STRIDED_SLICE", sliced, (), "INT32", shrinkAxisMask=1)
    lengths = b.add("GATHER", [shape, rest], (3,), "INT32")
    length = b.add("CAST", [b.add("REDUCE_PROD", [lengths, first], (), "INT32")], (), "INT32")
    wanted = b.add("PACK", [batch, length], (2,), "INT32", valuesCount=2)
    _, found = result(b.bytes(b.add("RESHAPE", [0, wanted], (1, 60))))
    np.testing.assert_array_equal(found, X.reshape(2, 60))


WRONG_SHAPES = {
    "beyond it": ("STRIDED_SLICE", [[9], [10], [1]], {"shrinkAxisMask": 1}, ()),
    "a step of 0": ("STRIDED_SLICE", [[0], [1], [0]], {}, (1,)),
    "no such place": ("GATHER", [[7]], {}, (1,)),
    "other lengths": ("PACK", [[1, 2]], {"valuesCount": 2}, (2, 2)),
}


@pytest.mark.parametrize("case", WRONG_SHAPES)
def test_invalid_shapes_are_refused(case):
    kind, tables, options, shape = WRONG_SHAPES[case]
    b = FileBuilder(SHAPE)
    inputs = [b.add("SHAPE", [0], (4,), "INT32"), *(b.constant(np.int32(t)) for t in tables)]
    wrong = b.add(kind, inputs, shape, "INT32", **options)
    with pytest.raises(ModelFormatError, match="its inputs must be shapes, or parts of them"):
        lce.from_bytes(b.bytes(b.add("RESHAPE", [0, wrong], (1, 60))))


def test_a_condition_is_not_a_number():
    b = FileBuilder(SHAPE)
    held = b.add("LESS", [0, b.constant(BOUND)], SHAPE, "BOOL")
    with pytest.raises(ModelFormatError, match="input 0 must be real and depend on the network's"):
        lce.from_bytes(b.bytes(b.add("RELU", [held], SHAPE)))
    b = FileBuilder(SHAPE)
    with pytest.raises(ModelFormatError, match=r"result must be BOOL \(1, 3, 5, 4\), got FLOAT32"):
        lce.from_bytes(b.bytes(b.add("LESS", [0, b.constant(BOUND)], SHAPE)))


def test_a_small_file_makes_no_large_constant():
    b = FileBuilder(SHAPE)
    huge = (1, 2**20, 2**20, 2**20)
    wide = b.add("BROADCAST_TO", [b.constant(BOUND), b.constant(np.int32(huge))], huge)
    held = b.add("LESS", [0, wide], SHAPE, "BOOL")
    data = b.bytes(b.add("SELECT_V2", [held, b.constant(np.float32(-1)), wide], SHAPE))
    np.testing.assert_array_equal(result(data)[1], np.where(X < BOUND, np.float32(-1), BOUND))
