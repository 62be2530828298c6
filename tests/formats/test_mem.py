"""Memory images hold the weights: read back by their index and by a Verilog simulator."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnnzoo.errors import ArgumentError
from bnnzoo.formats.mem import INDEX, to_files
from bnnzoo.graph.ir import Graph, Node, numbers, signs
from bnnzoo.graph.packing import Int8Kernel, pack, quantize
from tests.formats.files import INFO, tiny_graph
from tests.graph.graphs import random_graph

WIDTHS = [4, 8, 28, 32, 64, 128]


def read_back(files: dict[str, bytes]) -> dict[str, dict[str, np.ndarray]]:
    """Reads the files as a circuit would: word by word, bit by bit, by the index alone."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for entry in json.loads(files[INDEX])["tensors"]:
        words = [int(line, 16) for line in files[entry["file"]].decode().splitlines()]
        assert len(words) == entry["words"]
        assert max(words) < 2 ** entry["word_bits"]
        shape = entry["shape"]
        match entry["kind"]:
            case "bits":
                values = _signs(words, entry)
            case "int8":
                values = np.array([word - 256 * (word > 127) for word in words])
            case _:
                values = np.array(words, np.uint32).view(np.float32)
        found.setdefault(entry["tensor"], {})[entry["kind"]] = values.reshape(shape)
    return found


def _signs(words: list[int], entry: dict[str, Any]) -> np.ndarray:
    filters, *rest = entry["shape"]
    K, per_filter, width = int(np.prod(rest)), entry["words_per_filter"], entry["word_bits"]
    values = []
    for o in range(filters):
        for k in range(per_filter * width):
            bit = words[o * per_filter + k // width] >> (k % width) & 1
            assert k < K or bit == 0, "unused bits must be 0"
            values += [1 - 2 * bit] if k < K else []
    return np.array(values)


def assert_holds(files: dict[str, bytes], graph: Graph) -> None:
    found = read_back(files)
    assert set(found) == set(graph.tensors)
    for name, tensor in graph.tensors.items():
        if isinstance(tensor, Int8Kernel):
            assert np.array_equal(found[name]["int8"], tensor.levels)
            assert np.array_equal(found[name]["int8_scale"], tensor.scale)
        else:
            kind = "bits" if signs(tensor) else "float32"
            assert np.array_equal(found[name][kind], numbers(tensor).astype(np.float32))


@pytest.mark.parametrize("word_bits", WIDTHS)
def test_every_tensor_is_read_back(word_bits):
    assert_holds(to_files(tiny_graph(), INFO, word_bits), tiny_graph())
    for number in range(3):
        graph = random_graph(np.random.default_rng([4, number]))
        assert_holds(to_files(graph, INFO, word_bits), graph)


def test_the_words_of_a_filter_are_what_the_format_says():
    kernel = np.full((2, 1, 3, 2), 1, np.int8)
    kernel[0, 0, 0, 1] = kernel[0, 0, 2, 0] = kernel[1, 0, 2, 1] = -1  # products 1, 4 and 5
    attributes = {"strides": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0), "groups": 1}
    nodes = (
        Node("sign", "sign", ("x",)),
        Node("conv", "bconv2d", ("sign",), {**attributes, "pad_value": 0}, {"kernel": "conv/k"}),
    )
    graph = Graph({"x": (2, 3, 2)}, nodes, ("conv",), {"conv/k": pack(kernel)})
    files = to_files(graph, INFO, 4)
    assert files["conv_k.mem"] == b"2\n1\n0\n2\n"
    (entry,) = json.loads(files[INDEX])["tensors"]
    assert (entry["words_per_filter"], entry["word_bits"], entry["words"]) == (2, 4, 4)
    assert entry["used_by"] == [{"node": "conv", "op": "bconv2d", "role": "kernel"}]
    assert to_files(graph, INFO)["conv_k.mem"] == b"00000012\n00000020\n"


def test_names_of_files_are_plain_and_differ(network_of_odd_names):
    files = to_files(network_of_odd_names, INFO)
    assert list(files) == ["a_b.mem", "A_b-2.mem", "a_b-3.mem", "_x.mem", INDEX]
    assert {entry["tensor"] for entry in json.loads(files[INDEX])["tensors"]} == {
        "a/b", "A/b", "a b", "../x",
    }  # fmt: skip


@pytest.fixture
def network_of_odd_names() -> Graph:
    names = ["a/b", "A/b", "a b", "../x"]
    nodes, last = [], "x"
    for name in names:
        nodes.append(Node(f"scale {name}", "affine", (last,), {}, {"scale": name}))
        last = f"scale {name}"
    tensors = {name: np.ones(2, np.float32) for name in names}
    return Graph({"x": (2,)}, tuple(nodes), (last,), tensors)


@pytest.mark.parametrize("word_bits", [0, -4, 2, 30, 4100])
def test_a_word_is_whole_hex_digits(word_bits):
    with pytest.raises(ArgumentError, match=rf"a multiple of 4 from 4 to 4096, got {word_bits}\."):
        to_files(tiny_graph(), INFO, word_bits)


BENCH = """
module bench;
  reg [{width}-1:0] memory [0:{words}-1];
  integer i;
  initial begin
    $readmemh("{file}", memory);
    for (i = 0; i < {words}; i = i + 1) $display("%b", memory[i]);
  end
endmodule
"""


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
@pytest.mark.parametrize("width", [32, 64])
def test_a_verilog_simulator_reads_the_bits(tmp_path: Path, width):
    graph = tiny_graph()
    files = to_files(graph, INFO, width)
    (entry,) = (e for e in json.loads(files[INDEX])["tensors"] if e["kind"] == "bits")
    (tmp_path / entry["file"]).write_bytes(files[entry["file"]])
    bench = BENCH.format(width=width, words=entry["words"], file=entry["file"])
    (tmp_path / "bench.v").write_text(bench)
    subprocess.run(["iverilog", "-o", "bench", "bench.v"], cwd=tmp_path, check=True)
    done = subprocess.run(["vvp", "bench"], cwd=tmp_path, check=True, capture_output=True)
    words = [int(line, 2) for line in done.stdout.decode().split()]
    kernel = graph.tensors["binary/kernel"].unpack()
    assert np.array_equal(_signs(words, entry).reshape(kernel.shape), kernel)


def test_an_int8_kernel_is_levels_and_scales(rng):
    kernel = quantize(rng.standard_normal((3, 2, 2, 4)).astype(np.float32))
    attributes = {"strides": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0), "groups": 1}
    node = Node("conv", "conv2d", ("x",), attributes, {"kernel": "conv/kernel"})
    graph = Graph({"x": (4, 4, 4)}, (node,), ("conv",), {"conv/kernel": kernel})
    files = to_files(graph, INFO)
    assert list(files) == ["conv_kernel.mem", "conv_kernel_int8_scale.mem", INDEX]
    assert_holds(files, graph)
