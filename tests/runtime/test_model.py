"""`runtime.Model`: what goes in, what comes out, what is refused, and by which words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bnnzoo import runtime
from bnnzoo.errors import ArgumentError, DataError, GraphError, ModelFormatError
from bnnzoo.formats import packed
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.graph import interpreter
from bnnzoo.graph.ir import Graph, Node
from bnnzoo.graph.passes import STORED, apply
from tests.graph.graphs import GraphBuilder
from tests.runtime.exact_graphs import exact_graph, exact_images


def classifier(rng: np.random.Generator, classes: int = 10) -> Graph:
    """A small network for images of 28 x 28 x 1."""
    builder = GraphBuilder(rng, (28, 28, 1))
    x = builder.conv("images", binary=False, filters=70)
    x = builder.add("sign", builder.batch_norm(x))
    x = builder.batch_norm(builder.conv(x, binary=True, filters=32))
    x = builder.dense(builder.add("global_avg_pool2d", x), classes, binary=False)
    return builder.graph(builder.add("softmax", x))


@pytest.fixture
def graph(rng) -> Graph:
    return classifier(rng)


INFO = NetworkInfo("tiny", preprocessing="scale_pm1", label_set="fashion_mnist")


@pytest.fixture
def model(graph) -> runtime.Model:
    return runtime.Model(graph, INFO, threads=2)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_every_batch_size_gives_each_image_its_own_result(model, rng, count):
    x = rng.standard_normal((count, 28, 28, 1), np.float32)
    scores = model(x)
    assert scores.shape == (count, 10) and scores.dtype == np.float32
    for image, row in zip(x, scores, strict=True):
        np.testing.assert_array_equal(model(image[None])[0], row)


def test_input_may_be_a_view_of_any_strides(model, rng):
    x = rng.standard_normal((28, 4, 28, 1), np.float32)
    swapped = x.transpose(1, 0, 2, 3)[::2]
    np.testing.assert_array_equal(model(swapped), model(np.ascontiguousarray(swapped)))
    assert not swapped.flags.c_contiguous


def test_the_input_stays_as_it_is(model, rng):
    x = rng.standard_normal((2, 28, 28, 1), np.float32)
    before = x.copy()
    model(x)
    np.testing.assert_array_equal(x, before)


def test_several_outputs_are_a_tuple(rng):
    graph = Graph(
        {"x": (2, 3, 5)},
        (Node("y", "sigmoid", ("x",)), Node("z", "sign", ("y",))),
        ("z", "x", "y"),
        {},
    )
    x = rng.standard_normal((2, 2, 3, 5), np.float32)
    z, same, y = runtime.Model(graph)(x)
    np.testing.assert_array_equal(z, np.ones_like(x))
    np.testing.assert_array_equal(same, x)
    np.testing.assert_allclose(y, 1 / (1 + np.exp(-x)), rtol=1e-5)


REFUSED = {
    "another type": (np.zeros((1, 28, 28, 1)), "x must be float32, got float64"),
    "uint8": (np.zeros((1, 28, 28, 1), np.uint8), "Pass raw uint8 images to predict"),
    "another shape": (
        np.zeros((1, 28, 27, 1), np.float32),
        r"x must be \(n, 28, 28, 1\), got \(1, 28, 27, 1\)",
    ),
    "no batch axis": (np.zeros((28, 28, 1), np.float32), "The first axis counts images"),
    "a number": (np.float32(1), r"x must be \(n, 28, 28, 1\), got \(\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_inputs_are_refused_in_one_line(model, name):
    x, message = REFUSED[name]
    with pytest.raises(ArgumentError, match=message) as caught:
        model(x)
    assert "\n" not in str(caught.value)


def test_predict_prepares_raw_images(model, rng):
    images = rng.integers(0, 256, (3, 28, 28), np.uint8)
    expected = model((images[..., None] / np.float32(127.5) - 1).astype(np.float32))
    np.testing.assert_allclose(model.predict(images), expected, atol=1e-6)
    assert model.preprocess(images[0]).shape == (1, 28, 28, 1)
    assert model.labels is not None and model.labels[9] == "Ankle boot"


def test_predict_needs_uint8_and_a_preprocessing(graph, model):
    with pytest.raises(DataError, match="uint8"):
        model.predict(np.zeros((1, 28, 28, 1), np.float32))
    plain = runtime.Model(graph)
    assert plain.labels is None
    with pytest.raises(ArgumentError, match="has no preprocessing"):
        plain.predict(np.zeros((28, 28), np.uint8))


def test_labels_of_the_file_come_first(graph):
    names = tuple("abcdefghij")
    info = NetworkInfo("tiny", labels=names, label_set="mnist")
    assert runtime.Model(graph, info).labels == names


def test_run_values_gives_any_value_of_the_graph(rng):
    for seed in range(5):
        graph = exact_graph(np.random.default_rng(seed))
        x = exact_images(rng, graph)
        names = [graph.input, *(node.name for node in graph.nodes)]
        values = runtime.Model(graph).run_values(x, names)
        reference = interpreter.run(graph, x)
        assert list(values) == names
        for name in names:
            np.testing.assert_array_equal(values[name], reference[name], err_msg=name)


def test_run_values_refuses_what_is_no_value(model):
    x = np.zeros((1, 28, 28, 1), np.float32)
    assert model.run_values(x, []) == {}
    with pytest.raises(ArgumentError, match="names must be values of the graph, got 'nothing'"):
        model.run_values(x, ["nothing"])


def test_a_file_runs_as_its_graph(graph, tmp_path, rng):
    stored, _ = apply(graph, STORED)
    path = tmp_path / "tiny.safetensors"
    path.write_bytes(packed.to_bytes(stored, INFO))
    loaded = runtime.load(path)
    x = rng.standard_normal((2, 28, 28, 1), np.float32)
    np.testing.assert_allclose(loaded(x), interpreter.run(graph, x)[graph.outputs[0]], atol=1e-5)
    assert loaded.info.name == "tiny" and loaded.input_shape == (28, 28, 1)


def test_a_file_that_asks_for_too_much_memory_is_refused(tmp_path):
    shape = (2**13, 2**13, 1)
    nodes = [Node(f"n{i}", "affine", ("x" if i == 0 else f"n{i - 1}",)) for i in range(5)]
    graph = Graph({"x": shape}, tuple(nodes), tuple(node.name for node in nodes), {})
    with pytest.raises(GraphError, match="at most 1073741824 bytes"):
        runtime.Model(graph, passes=())
    (tmp_path / "huge.safetensors").write_bytes(packed.to_bytes(graph, NetworkInfo("huge")))
    with pytest.raises(ModelFormatError, match="huge.safetensors.* at most 1073741824 bytes"):
        runtime.load(tmp_path / "huge.safetensors")


def test_profile_measures_every_convolution(model, graph):
    times = model.profile(runs=3)
    convs = {time.name: time for time in times if time.macs}
    kernels = [node for node in graph.nodes if "kernel" in node.tensors]
    assert list(convs) == [node.name for node in kernels]
    assert model.macs == sum(time.macs for time in times)
    for node in kernels:
        macs = convs[node.name].macs
        K = np.prod(graph.tensors[node.tensors["kernel"]].shape[1:])
        assert macs % K == 0
        assert convs[node.name].gmacs_per_second == pytest.approx(macs / convs[node.name].ms / 1e6)
    assert all(time.ms > 0 for time in times)
    with pytest.raises(ArgumentError, match="runs must be a positive integer, got 0"):
        model.profile(runs=0)


def test_isa_can_be_forced(graph, monkeypatch):
    for isa in runtime.isas():
        assert runtime.Model(graph, isa=isa).isa == isa
        monkeypatch.setenv("BNNZOO_FORCE_ISA", isa)
        assert runtime.Model(graph).isa == isa
    assert runtime.isas()[-1] == "portable"
    monkeypatch.setenv("BNNZOO_FORCE_ISA", "avx9000")
    rule = "BNNZOO_FORCE_ISA must be an instruction set of this CPU, got 'avx9000'. Choose one of: "
    with pytest.raises(ArgumentError, match=rule + ", ".join(runtime.isas())):
        runtime.Model(graph)
    with pytest.raises(ArgumentError, match="isa must be an instruction set"):
        runtime.Model(graph, isa="sse5")


@pytest.mark.skipif("avx512_amx" not in runtime.isas(), reason="this CPU has no AMX")
def test_where_the_system_refuses_tiles_there_are_none():
    """Linux refuses them to a process with a signal stack that could not hold them."""
    code = (
        "import ctypes as c\n"
        "class Stack(c.Structure):\n"
        "    _fields_ = [('place', c.c_void_p), ('flags', c.c_int), ('size', c.c_size_t)]\n"
        "memory = c.create_string_buffer(8192)\n"
        "stack = Stack(c.addressof(memory), 0, len(memory))\n"
        "assert c.CDLL(None).sigaltstack(c.byref(stack), None) == 0\n"
        "from bnnzoo import runtime\n"
        "print(*runtime.isas())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert tuple(done.stdout.split()) == runtime.isas()[1:]


def test_number_of_threads(graph, monkeypatch):
    monkeypatch.delenv("BNNZOO_NUM_THREADS", raising=False)
    assert runtime.Model(graph).threads == min(len(os.sched_getaffinity(0)), 8)
    monkeypatch.setenv("BNNZOO_NUM_THREADS", "3")
    assert runtime.Model(graph).threads == 3
    assert runtime.Model(graph, threads=1).threads == 1
    for wrong in ("0", "-1", "many", "2000", "1.5"):
        monkeypatch.setenv("BNNZOO_NUM_THREADS", wrong)
        with pytest.raises(ArgumentError, match=f"BNNZOO_NUM_THREADS must be .*, got '{wrong}'"):
            runtime.Model(graph)
    assert runtime.Model(graph, threads=np.int64(2)).threads == 2
    for wrong in (0, "2", True, 1.0):
        with pytest.raises(ArgumentError, match=f"threads must be .* 1024, got {wrong!r}"):
            runtime.Model(graph, threads=wrong)


def test_a_broken_graph_is_refused():
    graph = Graph({"x": (2, 2, 1)}, (Node("y", "affine", ("nothing",)),), ("y",), {})
    with pytest.raises(GraphError, match="'nothing' must be computed before"):
        runtime.Model(graph)


def test_a_source_tree_without_the_engine_says_what_to_do():
    code = (
        "import sys; sys.modules['bnnzoo.runtime._engine'] = None\n"
        "import bnnzoo, bnnzoo.runtime\n"
        "from bnnzoo.errors import BnnZooError\n"
        "try: bnnzoo.runtime.isas()\n"
        "except (BnnZooError, ImportError) as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "The runtime's engine is not built" in done.stdout
    assert "pip install ." in done.stdout and done.stdout.count("\n") == 1


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="needs Linux")
def test_instruction_sets_are_those_of_the_cpu():
    flags = set(Path("/proc/cpuinfo").read_text("utf-8").split())
    assert ("avx2" in runtime.isas()) == ({"avx2", "fma", "popcnt"} <= flags)
    assert ("avx512_vnni" in runtime.isas()) == ({"avx512bw", "avx512_vnni"} <= flags)
