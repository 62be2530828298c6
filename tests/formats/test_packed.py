"""A packed file gives back the network that was written; its bytes are those of a golden."""

from __future__ import annotations

import dataclasses
import json
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors

from bnnzoo.errors import ArgumentError, GraphError, ModelFormatError
from bnnzoo.formats import packed
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.formats.packed import from_bytes, read, to_bytes
from bnnzoo.graph.ir import Graph, Node, numbers
from bnnzoo.graph.packing import Int8Kernel, PackedSigns, pack
from bnnzoo.graph.passes import RUNTIME, STORED, apply
from bnnzoo.graph.passes.eight_bits import eight_bits
from tests.formats.files import GOLDEN, INFO, tiny_file, tiny_graph
from tests.graph.graphs import GraphBuilder, random_graph

ROOT = Path(__file__).parents[2]


def same_tensor(a, b) -> bool:
    if isinstance(a, PackedSigns):
        return a.shape == b.shape and np.array_equal(a.bits, b.bits)
    if isinstance(a, Int8Kernel):
        return np.array_equal(a.levels, b.levels) and np.array_equal(a.scale, b.scale)
    return b.dtype == np.float32 and np.array_equal(a.astype(np.float32), b)


def with_tensor(name: str, tensor) -> Graph:
    graph = tiny_graph()
    return dataclasses.replace(graph, tensors={**graph.tensors, name: tensor})


# Bytes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("classes", "format"), [(1, packed.FORMATS[2]), (2, packed.FORMATS[1])])
def test_names_of_two_classes_of_one_probability_need_version_2(classes, format):
    graph = Graph({"x": (classes,)}, (Node("y", "sigmoid", ("x",)),), ("y",), {})
    assert from_bytes(to_bytes(graph, NetworkInfo("net"))).format == packed.FORMATS[1]
    data = to_bytes(graph, NetworkInfo("net", labels=("cat", "dog")))
    assert from_bytes(data).format == format


def test_the_bytes_are_those_of_the_golden():
    assert tiny_file() == GOLDEN.read_bytes()


def test_the_golden_is_the_tiny_network():
    graph, info = read(GOLDEN)
    assert info == INFO
    assert graph.nodes == tiny_graph().nodes and graph.outputs == ("dense",)
    assert graph.input == "images" and graph.input_shape == (4, 4, 2)
    assert all(same_tensor(t, graph.tensors[name]) for name, t in tiny_graph().tensors.items())


def test_equal_networks_give_equal_bytes_in_every_process():
    """Dictionaries in another order, and hashes of strings with another seed."""
    graph = tiny_graph()
    turned = dataclasses.replace(
        graph,
        tensors=dict(reversed(graph.tensors.items())),
        nodes=tuple(
            dataclasses.replace(node, attributes=dict(reversed(node.attributes.items())))
            for node in graph.nodes
        ),
    )
    assert to_bytes(turned, INFO) == tiny_file()
    code = "from tests.formats.files import tiny_file as f; f(); print(f().hex())"
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert bytes.fromhex(done.stdout) == tiny_file()


def test_the_library_of_safetensors_reads_it():
    with safetensors.safe_open(GOLDEN, "np") as file:
        assert file.metadata()["format"] == "bnnzoo-packed/1"
        bits = np.unpackbits(file.get_tensor("binary/kernel"), axis=-1, count=27, bitorder="little")
    assert np.array_equal(
        1 - 2.0 * bits, tiny_graph().tensors["binary/kernel"].unpack().reshape(3, 27)
    )


def test_arrays_lie_at_multiples_of_their_items():
    data = tiny_file("int8")
    (length,) = struct.unpack("<Q", data[:8])
    assert length % 8 == 0
    header = json.loads(data[8 : 8 + length])
    del header["__metadata__"]
    assert {entry["dtype"] for entry in header.values()} == {"F32", "I8", "U8"}
    for entry in header.values():
        assert entry["data_offsets"][0] % (4 if entry["dtype"] == "F32" else 1) == 0


# Round trips -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_a_random_network_comes_back(seed):
    graph = random_graph(np.random.default_rng(seed), decoders=seed % 2 == 1)
    graph, _ = apply(graph, STORED)
    back = from_bytes(to_bytes(graph, NetworkInfo("random")))
    assert back.info == NetworkInfo("random")
    assert back.graph.nodes == graph.nodes and back.graph.outputs == graph.outputs
    assert set(back.graph.tensors) == set(graph.tensors)
    assert all(same_tensor(t, back.graph.tensors[name]) for name, t in graph.tensors.items())
    assert to_bytes(back.graph, back.info) == to_bytes(graph, NetworkInfo("random"))


@pytest.mark.parametrize("weights_dtype", packed.WEIGHTS_DTYPES)
def test_kernels_are_off_by_a_rounding_and_vectors_by_nothing(weights_dtype):
    """A level of int8 is off by half of max|w| / 127, a float16 by 2^-11, of two kernels."""
    graph = tiny_graph()
    back = from_bytes(tiny_file(weights_dtype)).graph
    for name in ("stem/kernel", "dense/kernel"):
        before, after = graph.tensors[name], numbers(back.tensors[name])
        largest = np.abs(before).max(axis=(1, 2, 3), keepdims=True)
        step = {"float32": 0, "float16": 2**-11, "int8": 0.5 / 127}[weights_dtype]
        assert (np.abs(before - after) <= 1.0001 * step * largest).all()
        assert after.dtype == np.float32
        assert (np.abs(before - after) > 0).any() == (weights_dtype == "int8")
    for name in ("norm/scale", "norm/bias"):
        assert np.array_equal(graph.tensors[name], back.tensors[name])


def test_what_is_read_can_be_written_in_every_type():
    for weights_dtype in packed.WEIGHTS_DTYPES:
        file = from_bytes(tiny_file(weights_dtype))
        # A level times its scale gives the same level and scale again.
        assert to_bytes(file.graph, file.info, weights_dtype=weights_dtype) == tiny_file(
            weights_dtype
        )


def test_int8_is_levels_and_scales_from_end_to_end():
    """What is read is what the file has, and no rounding of it; another type does not change it."""
    file = from_bytes(tiny_file("int8"))
    kernel = file.graph.tensors["stem/kernel"]
    assert isinstance(kernel, Int8Kernel) and kernel.levels.dtype == np.int8
    weights = tiny_graph().tensors["stem/kernel"]
    largest = np.abs(weights).max(axis=(1, 2, 3))
    np.testing.assert_array_equal(kernel.scale, (largest / 127).astype(np.float32))
    assert (np.abs(kernel.levels).max(axis=(1, 2, 3)) == 127).all()
    np.testing.assert_allclose(kernel.unpack(), weights, atol=largest.max() / 250)
    for weights_dtype in packed.WEIGHTS_DTYPES:
        assert to_bytes(file.graph, INFO, weights_dtype=weights_dtype) == tiny_file("int8")


def test_input_bits_come_back():
    builder = GraphBuilder(np.random.default_rng(1), (8, 8, 16))
    builder.in_8_bits = False
    window = {"strides": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0)}
    wide = builder.real_conv("images", (32, 3, 3, 16), groups=1, **window)
    graph = builder.graph(builder.real_conv(wide, (32, 3, 3, 1), groups=32, **window))
    back = from_bytes(to_bytes(graph, NetworkInfo("b"), weights_dtype="int8")).graph
    assert back.nodes == eight_bits(graph).nodes
    assert [node.attributes.get("input_bits") for node in back.nodes] == [8, None]


def test_infinite_bounds_and_odd_numbers_come_back():
    graph = tiny_graph()
    clips = [(-float("inf"), float("inf")), (-0.0, 1e-300), (0.1, 1 / 3), (-3, 7)]
    for low, high in clips:
        nodes = tuple(
            dataclasses.replace(n, attributes={"low": low, "high": high}) if n.op == "clip" else n
            for n in graph.nodes
        )
        back = from_bytes(to_bytes(dataclasses.replace(graph, nodes=nodes), INFO)).graph
        (clip,) = (n for n in back.nodes if n.op == "clip")
        assert repr(dict(clip.attributes)) == repr({"high": high, "low": low})


def test_info_comes_back_with_all_or_none_of_its_fields():
    for info in (
        NetworkInfo("a"),
        NetworkInfo(
            "b", keras_config='{"class_name": "\\n"}', weights_sha256="0" * 64, label_set="x"
        ),
        INFO,
    ):
        assert from_bytes(to_bytes(tiny_graph(), info)).info == info


# Storage -----------------------------------------------------------------------------------------


def test_encodings_and_sizes():
    for weights_dtype in packed.WEIGHTS_DTYPES:
        file = from_bytes(tiny_file(weights_dtype))
        encodings = {name: entry.encoding for name, entry in file.stored.items()}
        assert encodings == {
            "stem/kernel": weights_dtype,
            "dense/kernel": weights_dtype,
            "norm/scale": "float32",
            "norm/bias": "float32",
            "binary/kernel": "bits",
        }
        assert file.array_bytes["binary/kernel"] == 3 * 4
        size = {"float32": 4, "float16": 2, "int8": 1}[weights_dtype]
        assert file.array_bytes["stem/kernel"] == 54 * size


@pytest.mark.parametrize(
    ("weights_dtype", "values", "encoding"),
    [
        ("float16", [65504.0, 1.0, 0.0], "float16"),
        ("float16", [65520.0, 1.0, 0.0], "float32"),
        ("float16", [2.0**-14, 1e-30, 0.0], "float16"),
        ("float16", [2.0**-15, 1e-30, 0.0], "float32"),
        ("float16", [0.0, 0.0, 0.0], "float16"),
        ("int8", [1e-35, 0.0, 0.0], "int8"),
        ("int8", [1e-37, 0.0, 0.0], "float32"),
        ("int8", [1e38, 1.0, 0.0], "int8"),
        ("int8", [3e38, 1.0, 0.0], "float32"),
        ("int8", [0.0, 0.0, 0.0], "int8"),
    ],
)
def test_a_kernel_that_the_type_cannot_hold_stays_float32(weights_dtype, values, encoding):
    kernel = np.array([values, [1.0, 0.5, 0.25]]).reshape(2, 1, 1, 3)
    file = from_bytes(
        to_bytes(with_tensor("dense/kernel", kernel), INFO, weights_dtype=weights_dtype)
    )
    assert file.stored["dense/kernel"].encoding == encoding
    error = np.abs(numbers(file.graph.tensors["dense/kernel"]) - kernel).max(axis=-1)[:, 0, 0]
    largest = np.abs(kernel).max(axis=(1, 2, 3))
    assert (
        error <= largest * {"float16": 2**-11, "int8": 0.5001 / 127, "float32": 2**-24}[encoding]
    ).all()


@pytest.mark.parametrize("seed", range(30))
def test_bits_are_in_the_order_of_the_specification(seed):
    """Random shapes; K is a multiple of 8 in every fifth."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, [7, 5, 5, 20]))
    if seed % 5 == 0:
        shape = (*shape[:3], 8 * shape[3])
    signs = rng.choice(np.array([-1, 1], np.int8), shape)
    bits, K = pack(signs).bits, int(np.prod(shape[1:]))
    assert bits.shape == (shape[0], -(-K // 8)) and bits.dtype == np.uint8
    for c in range(shape[0]):
        number = int.from_bytes(bits[c].tobytes(), "little")
        assert number == sum(1 << i for i, sign in enumerate(signs[c].ravel()) if sign == -1)
    assert pack(signs).K == K
    assert np.array_equal(pack(signs).unpack(), signs)


# What cannot be written --------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("weights_dtype", packed.WEIGHTS_DTYPES)
def test_parameters_must_be_finite_as_float32(value, weights_dtype):
    kernel = np.full((2, 1, 1, 3), value)
    with pytest.raises(GraphError, match="Tensor 'dense/kernel' must be finite as float32"):
        to_bytes(with_tensor("dense/kernel", kernel), INFO, weights_dtype=weights_dtype)


def test_other_types_are_an_error_that_names_them():
    with pytest.raises(ArgumentError, match="weights_dtype must be one of float32, float16, int8"):
        to_bytes(tiny_graph(), INFO, weights_dtype="int4")


def test_signs_must_be_packed():
    signs = np.ones((2, 1, 1, 3), np.int8)
    with pytest.raises(GraphError, match="Tensor 'dense/kernel' must be real numbers or packed"):
        to_bytes(with_tensor("dense/kernel", signs), INFO)


def test_what_only_a_runtime_makes_is_not_written():
    graph, _ = apply(tiny_graph(), RUNTIME)
    with pytest.raises(GraphError, match="cannot be stored in a file"):
        to_bytes(graph, INFO)


def test_info_must_be_readable():
    with pytest.raises(GraphError, match="cannot be written: info name must be one line of text"):
        to_bytes(tiny_graph(), NetworkInfo("two\nlines"))


def test_a_network_with_a_tensor_too_many_is_not_written():
    with pytest.raises(GraphError, match="Tensor 'left_over' is not used by any node"):
        to_bytes(with_tensor("left_over", np.ones(3)), INFO)


def test_the_scale_of_int8_must_not_take_a_tensors_name():
    graph = with_tensor("dense/kernel/int8_scale", np.ones(2))
    extra = Node("extra", "affine", ("dense",), {}, {"scale": "dense/kernel/int8_scale"})
    graph = dataclasses.replace(graph, nodes=(*graph.nodes, extra))
    to_bytes(graph, INFO)
    with pytest.raises(GraphError, match="'dense/kernel/int8_scale' is used for two tensors"):
        to_bytes(graph, INFO, weights_dtype="int8")


# Files -------------------------------------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(
        ModelFormatError, match=r"There is no file .*nothing\.safetensors\. Check its path"
    ):
        read(tmp_path / "nothing.safetensors")
    with pytest.raises(ModelFormatError, match="cannot be read"):
        read(tmp_path)


def test_the_reader_imports_neither_keras_nor_what_is_slow():
    slow = [
        "keras",
        "tensorflow",
        "jax",
        "torch",
        "h5py",
        "pooch",
        "requests",
        "rich",
        "click",
    ]
    code = (
        f"import sys, bnnzoo.formats.packed as p; p.read({str(GOLDEN)!r}); "
        f"print(*{{m.split('.')[0] for m in sys.modules}} & set({slow}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_reading_is_quick(tmp_path):
    """1.4 MB of bits and 2.8 MB of float32, as Bi-Real-Net-18: measured 7 ms; loose for CI."""
    rng = np.random.default_rng(0)
    conv = {"strides": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0), "groups": 1}
    nodes = (
        Node("bits", "sign", ("x",)),
        Node("binary", "bconv2d", ("bits",), {**conv, "pad_value": 1}, {"kernel": "binary/kernel"}),
        Node("real", "conv2d", ("binary",), conv, {"kernel": "real/kernel"}),
    )
    tensors = {
        "binary/kernel": pack(rng.choice(np.array([-1, 1], np.int8), (700, 1, 1, 16_000))),
        "real/kernel": rng.standard_normal((1000, 1, 1, 700)),
    }
    path = tmp_path / "large.safetensors"
    graph = Graph({"x": (1, 1, 16_000)}, nodes, ("real",), tensors)
    path.write_bytes(to_bytes(graph, NetworkInfo("large")))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        read(path)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.05
