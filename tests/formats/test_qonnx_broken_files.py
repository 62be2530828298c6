"""ONNX files with an error, or that need too much memory, are refused with a line that says so."""

from __future__ import annotations

import collections
import subprocess
import sys
import time
import tracemalloc
import warnings

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bnnzoo.errors import ModelFormatError
from bnnzoo.formats import qonnx
from tests.conftest import DATA
from tests.formats.onnx_cases import CASES, MAP, Case, ints, model_of, reals
from tests.formats.onnx_mutations import mutated
from tests.formats.test_fuzz import RUNTIME, fuzz_packed

__all__ = ["fuzz_packed"]  # a fixture


def read(model: onnx.ModelProto):
    return qonnx.from_bytes(model.SerializeToString())


def changed(change, name: str = "conv") -> onnx.ModelProto:
    model = model_of(CASES[name])
    change(model)
    return model


def external(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")


def lie(*dims):
    def change(model):
        model.graph.initializer[0].dims[:] = dims

    return change


def typed(kind):
    def change(model):
        model.graph.initializer[0].data_type = kind

    return change


def input_of(*shape, kind=TensorProto.FLOAT):
    def change(model):
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", kind, shape))

    return change


def opset(version):
    def change(model):
        model.opset_import[0].version = version

    return change


def two_names(model):
    model.graph.node.append(model.graph.node[0])


def sparse(model):
    model.graph.sparse_initializer.add()


FILES = {
    "external data": (external, "'w' is stored in another file. Put all weights into one file"),
    "a shape without numbers": (lie(4, 3, 2**40, 2**20), "tensor 'w' must store 13,835"),
    "a negative length": (lie(-4, 3, -2, 3), "'w' must have at most 8 axes with sizes of at le"),
    "nine axes": (lie(*[1] * 9), "tensor 'w' must have at most 8 axes"),
    "strings": (typed(TensorProto.STRING), "tensor 'w' must have numbers .*, got STRING"),
    "an unknown type": (typed(99), "tensor 'w' must have numbers .*, got number 99"),
    "sparse constants": (sparse, "its constants must be dense"),
    "integers in": (input_of("n", *MAP, kind=TensorProto.UINT8), "must be floating point, got UIN"),
    "a batch of two": (input_of(2, *MAP), "must have a batch of 1 and a fixed size, got"),
    "free pixels": (input_of(1, 3, "h", "w"), r"got \(1, 3, '\?', '\?'\)"),
    "a huge input": (input_of(1, 3, 2**19, 2**19), "has more than 67108864 elements"),
    "an old opset": (opset(8), "its opset must be 9 to 21, got"),
    "a new opset": (opset(22), "Export it with opset 21"),
    "one name twice": (two_names, "its output 'y' must not exist already"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_malformed_files_are_refused(name):
    change, message = FILES[name]
    with pytest.raises(ModelFormatError, match=message):
        read(changed(change))


def test_other_files_are_refused():
    for data in (b"", b"PK\x03\x04", b"\x08", bytes(100), (DATA / "larq_network.h5").read_bytes()):
        with pytest.raises(ModelFormatError, match="not an ONNX file|no graph"):
            qonnx.from_bytes(data)


OPERATORS = {
    "unknown": (Case("y = LRN<size=3>(x)"), "it has unsupported operators: 'LRN'"),
    "another domain": (Case("y = com.microsoft.Gelu(x)"), "operators: 'com.microsoft.Gelu'"),
    "a kernel of the input": (Case("y = Conv(x, x)"), "Conv.*: input 1 must be a constant"),
    "a matrix of three axes": (Case("y = MatMul(x, w)", {"w": reals(2, 5, 4)}), "must be a matrix"),
    "a sequence": (Case("y = Conv(x, w)", {"w": reals(4, 3, 2)}, (1, 3, 7)), "0 must be .1, c, h"),
    "four pads": (Case("y = Conv<pads=[1,1]>(x, w)", {"w": reals(4, 3, 2, 3)}), "pads must be fou"),
    "no strides": (Case("y = MaxPool<kernel_shape=[2,2], strides=[0,1]>(x)"), "strides must be"),
    "dilated pools": (Case("y = MaxPool<kernel_shape=[2,2], dilations=[2,2]>(x)"), "no dilations"),
    "training": (Case("y = BatchNormalization<training_mode=1>(x, g, g, g, g)",
                      {"g": np.ones(3, np.float32)}, opset=14), "must be in inference mode"),
    "variances below 0": (Case("y = BatchNormalization(x, g, g, g, v)",
                               {"g": np.ones(3, np.float32), "v": -np.ones(3, np.float32)}),
                          "sum of its variance and epsilon must be above 0"),
    "the batch": (Case("y = Transpose<perm=[1,0,2,3]>(x)"), "must keep the batch"),
    "a batch of pixels": (Case("y = Reshape(x, s)", {"s": ints(3, -1)}), "must have a batch of 1"),
    "more elements": (Case("y = Reshape(x, s)", {"s": ints(1, 7)}), "the same number of elements"),
    "another padding": (Case('y = Pad<mode="reflect">(x, p)', {"p": ints(*[0] * 6, 1, 1)}),
                        "mode must be constant, got 'reflect'"),
    "odd factors": (Case('y = Resize<mode="nearest">(x, , s)', {"s": np.float32([1, 1, 1.3, 1])}),
                    "must give whole pixels"),
    "cubic": (Case('y = Resize<mode="cubic">(x, , s)', {"s": np.float32([1, 1, 2, 2])}),
              "mode must be nearest or linear"),
    "rounding": (Case("y = Round(x)"), r"must be \(2\^bits - 1\) \* x with x clipped"),
    "a divisor": (Case("y = Div(c, x)", {"c": reals(1)}), "input 1 must be a constant"),
    "before it": (Case("y = Relu(t) t = Relu(x)"), "input 't' must be computed before it"),
    "a constant output": (Case("t = Relu(x) y = Abs(c)", {"c": reals(3)}),
                          "output 'y' must depend on the network's input"),
    "a condition": (Case("y = Less(x, c)", {"c": reals(1)}), "output 'y' must .*, and be numeric"),
    "steps of a range": (Case("y = Slice(x, s, e, a, t)", {"s": ints(5), "e": ints(0), "a": ints(2),
                                                          "t": ints(-1)}), "steps must be at lea"),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_unsupported_operators_are_refused(name):
    case, message = OPERATORS[name]
    with pytest.raises(ModelFormatError, match=message) as caught:
        read(model_of(case))
    assert "\n" not in str(caught.value)


def doubled(times: int) -> onnx.ModelProto:
    """A constant that is repeatedly concatenated with itself."""
    nodes = [
        helper.make_node("Concat", [f"c{i}", f"c{i}"], [f"c{i + 1}"], axis=0) for i in range(times)
    ]
    model = model_of(Case("y = Add(x, c40)", {"c0": reals(1)}, (1, 3)))
    last = model.graph.node.pop()
    model.graph.node.extend([*nodes, last])
    return model


LARGE = {
    "doubled": lambda: doubled(40),
    "shape": lambda: model_of(Case(
        "o = ConstantOfShape(s) y = Add(x, o)", {"s": ints(2**20, 2**20)}, (1, 3))),
    "repeated": lambda: model_of(Case(
        "o = Expand(c, s) p = Transpose<perm=[1,0]>(o) q = Add(p, p) r = Reshape(q, t) "
        "y = Add(x, r)", {"s": ints(2**15, 2**15), "c": reals(1), "t": ints(-1)}, (1, 3))),
    "broadcast": lambda: model_of(Case(
        "o = ConstantOfShape(s) y = Add(x, o)", {"s": ints(1, 3, 2**27, 5)})),
    "divisor": lambda: model_of(Case(
        "o = ConstantOfShape<value = float[1] {2}>(s) y = Div(x, o)", {"s": ints(1, 3, 2**27, 5)})),
    "kernel": lambda: model_of(Case(
        "o = ConstantOfShape(s) y = Conv(x, o)", {"s": ints(2**27, 3, 2, 2)})),
    "variance": lambda: model_of(Case(
        "o = ConstantOfShape(s) y = BatchNormalization(x, o, o, o, o)", {"s": ints(2**30)})),
    "indices": lambda: model_of(Case(
        "o = ConstantOfShape<value = int64[1] {0}>(s) y = Gather<axis=2>(x, o)",
        {"s": ints(2**30)})),
    "tiled": lambda: model_of(Case("a = Tile(x, c) b = Tile(a, c) d = Tile(b, c) y = Tile(d, c)",
                                   {"c": ints(1, 1, 1, 1000)})),
    "a vector per number": lambda: model_of(Case(
        "a = Tile(x, n) y = Add(a, p)", {"n": ints(1, 1, 1000, 1000), "p": reals(3, 1, 1)})),
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_small_files_need_little_memory(name):
    model = LARGE[name]()
    tracemalloc.start()
    begin = time.monotonic()
    with pytest.raises(ModelFormatError):
        read(model)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**26 and time.monotonic() - begin < 5


def test_deep_messages_are_refused():
    model = onnx.ModelProto()
    inner = model.graph
    for _ in range(60):
        node = inner.node.add(op_type="If", output=["y"])
        inner = node.attribute.add(name="body", type=onnx.AttributeProto.GRAPH).g
    model.graph.output.add(name="y")
    model.opset_import.add(version=13)
    with pytest.raises(ModelFormatError, match="unsupported operators: 'If'|not an ONNX file"):
        read(model)


def test_mutated_files_are_refused_or_run(fuzz_packed):
    stages = collections.Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for case in range(1500):
            outcome = fuzz_packed.examine(1, case, runtime=RUNTIME, format="qonnx")
            assert outcome.problem is None, outcome
            stages[outcome.stage] += 1
    assert stages["container"] > 200 and stages["validation"] > 200
    assert sum(stages[stage] for stage in ("engine", "predict", "result", "reference")) > 200


def test_a_case_depends_only_on_its_two_numbers():
    assert [mutated(3, case) for case in range(30)] == [mutated(3, case) for case in range(30)]


def test_a_missing_onnx_is_one_line_that_names_the_extra():
    code = (
        "import sys; sys.modules['onnx'] = None\n"
        "from bnnzoo.formats import qonnx\n"
        "from bnnzoo.errors import MissingDependencyError\n"
        "try: qonnx.from_bytes(b'')\n"
        "except MissingDependencyError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "onnx is needed to read ONNX files" in done.stdout, done.stderr
    assert "pip install '.[qonnx]'" in done.stdout
