"""`inspect`, `verify` and `unpack`: what they say of a packed file, and what they write."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from bnnzoo import manifest
from bnnzoo.cli.main import main
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.formats.packed import to_bytes
from bnnzoo.graph.ir import Graph, Node
from bnnzoo.graph.packing import PackedSigns
from tests.conftest import DATA
from tests.formats.files import GOLDEN, tiny_file, tiny_graph


@pytest.fixture
def broken(tmp_path):
    path = tmp_path / "broken.safetensors"
    data = bytearray(GOLDEN.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    return path


def test_inspect_as_json_has_graph_tensors_bits_bytes_and_facts(capsys, tmp_path):
    path = tmp_path / "tiny.safetensors"
    path.write_bytes(tiny_file("int8"))
    assert main(["inspect", str(path), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["format"] == "bnnzoo-packed/1"
    assert value["bytes"] == path.stat().st_size
    assert value["info"]["labels"] == ["cat", "dög"]
    nodes = {node["name"]: node for node in value["graph"]["nodes"]}
    assert nodes["binary/sign"]["kind"] == "bits" and nodes["binary"]["shape"] == [4, 4, 3]
    assert nodes["relu"]["attributes"] == {"low": 0.0, "high": "inf"}
    tensors = {tensor["name"]: tensor for tensor in value["tensors"]}
    assert set(tensors) == set(tiny_graph().tensors)
    assert tensors["binary/kernel"]["bits"] == 1 and tensors["binary/kernel"]["bytes"] == 12
    assert tensors["stem/kernel"]["bits"] == 8 and tensors["stem/kernel"]["bytes"] == 54 + 3 * 4
    assert set(tensors["stem/kernel"]["sha256"]) == {"stem/kernel", "stem/kernel/int8_scale"}
    assert value["totals"]["bits"] == {"tensors": 1, "elements": 81, "bytes": 12}
    data = sum(total["bytes"] for total in value["totals"].values())
    assert value["header_bytes"] + data == value["bytes"]


def test_inspect_for_people_shows_the_same(capsys):
    assert main(["inspect", str(GOLDEN)]) == 0
    out = capsys.readouterr().out
    for text in ("bnnzoo-packed/1", "made_up", "CC0-1.0", "bnnzoo 1.0", "binary/sign", "4 x 4 x 3",
                 "3 x 3 x 3 x 3", "global_avg_pool2d", "bits"):  # fmt: skip
        assert text in out


def test_verify_says_what_was_checked(capsys):
    assert main(["verify", str(GOLDEN)]) == 0
    out = capsys.readouterr().out
    assert "tiny.safetensors: ok, bnnzoo-packed/1, 10 nodes, 5 checksums, digest " in out


NAME = "binarynet.mnist_small"


def test_a_name_stands_for_its_packed_file(capsys, tmp_path):
    record = manifest.load().weights[NAME].file("packed")
    for command in (["inspect"], ["verify"], ["benchmark", "--runs", "1"]):
        assert main([*command, NAME, "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        content = Path(report["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == record.sha256
    output = tmp_path / "weights.npz"
    assert main(["unpack", NAME, str(output), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    with np.load(output) as arrays:
        assert report["arrays"] == len(arrays.files) > 0
    assert report["output"] == str(output)


@pytest.mark.parametrize("command", ["inspect", "verify", "benchmark"])
def test_a_name_without_a_packed_file_says_how_to_make_one(command, capsys):
    assert main([command, "quicknet"]) == 4
    assert "Run: bnnzoo convert quicknet.larq_in1k quicknet.larq" in capsys.readouterr().err
    assert main([command, "quicknt"]) == 3
    assert "Did you mean 'quicknet'?" in capsys.readouterr().err


def test_several_inputs_and_outputs_are_shown_by_name(capsys, tmp_path):
    path = tmp_path / "pair.safetensors"
    nodes = (Node("sum", "add", ("left", "right")),)
    graph = Graph({"right": (2, 3), "left": (2, 3)}, nodes, ("sum", "left"), {})
    path.write_bytes(to_bytes(graph, NetworkInfo("pair", output_names=("total", "same"))))
    assert main(["inspect", str(path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["format"] == "bnnzoo-packed/2"
    assert [entry["name"] for entry in shown["graph"]["inputs"]] == ["right", "left"]
    assert main(["inspect", str(path)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["inputs", *["right", "2", "x", "3,", "left", "2", "x", "3"]] in lines
    assert ["outputs", "total,", "same"] in lines
    assert main(["verify", str(path)]) == 0
    assert "ok, bnnzoo-packed/2, 1 node," in capsys.readouterr().out
    assert main(["benchmark", str(path), "--runs", "2"]) == 0


@pytest.mark.parametrize("command", ["verify", "inspect", "unpack"])
def test_a_broken_file_is_one_line_and_exit_code_4(command, broken, capsys, tmp_path):
    output = [str(tmp_path / "out.npz")] if command == "unpack" else []
    assert main([command, str(broken), *output]) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        f"Error: {broken}: tensor 'binary/kernel' does not match its sha256. The file is damaged; "
        "download or convert it again.\n"
    )
    assert list(tmp_path.iterdir()) == [broken]


OF_ANOTHER_KIND = {
    "lce/toy.tflite": "it is a TensorFlow Lite file. Convert it: bnnzoo convert NAME.tflite",
    "larq_network.h5": "it is an HDF5 file of Keras, not a packed one. Convert a whole",
    "larq_bop.npz": "it is a zip archive, as .keras files are. Convert a model: bnnzoo convert",
}


@pytest.mark.parametrize("name", OF_ANOTHER_KIND)
@pytest.mark.parametrize("command", ["inspect", "verify", "benchmark"])
def test_a_file_of_another_kind_is_not_called_damaged(command, name, capsys):
    assert main([command, str(DATA / name)]) == 4
    message = capsys.readouterr().err
    assert OF_ANOTHER_KIND[name] in message and message.count("\n") == 1
    assert "damaged" not in message


def test_unpack_writes_signs_and_floats(tmp_path, capsys):
    output = tmp_path / "out.npz"
    assert main(["unpack", str(GOLDEN), str(output)]) == 0
    with np.load(output) as arrays:
        assert set(arrays) == set(tiny_graph().tensors)
        for name, tensor in tiny_graph().tensors.items():
            binary = isinstance(tensor, PackedSigns)
            assert arrays[name].dtype == (np.int8 if binary else np.float32)
            assert np.array_equal(arrays[name], tensor.unpack() if binary else tensor)
    first = output.read_bytes()
    assert main(["unpack", str(GOLDEN), str(output)]) == 2
    assert "already exists. Use --force" in capsys.readouterr().err
    assert main(["unpack", str(GOLDEN), str(output), "--force"]) == 0
    assert output.read_bytes() == first


def test_unpack_does_not_write_over_what_it_reads(tmp_path, capsys):
    file = tmp_path / "net.safetensors"
    file.write_bytes(GOLDEN.read_bytes())
    assert main(["unpack", str(file), str(file), "--force"]) == 2
    assert "is an input of this command. Choose another path" in capsys.readouterr().err
    assert file.read_bytes() == GOLDEN.read_bytes()
    assert main(["unpack", str(file), str(tmp_path / "out.npz"), "--word-bits", "64"]) == 2
    assert "--word-bits requires --format mem" in capsys.readouterr().err


def test_unpack_writes_memory_images_and_an_index(tmp_path, capsys):
    output = tmp_path / "memory"
    command = ["unpack", str(GOLDEN), str(output), "--format", "mem", "--word-bits", "64"]
    assert main(command) == 0
    index = json.loads((output / "index.json").read_text())
    assert index["format"] == "bnnzoo-mem/1"
    assert index["network"] == {"name": "tiny", "tag": "made_up", "licence": "CC0-1.0"}
    listed = {entry["file"] for entry in index["tensors"]}
    assert {path.name for path in output.iterdir()} == {*listed, "index.json"}
    words = (output / "binary_kernel.mem").read_text().split()
    assert len(words) == 3 and {len(word) for word in words} == {16}
    assert main(command) == 2
    assert "is not empty. Use --force" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0
    assert main([*command[:-1], "30", "--force"]) == 2
    assert "word_bits must be a multiple of 4" in capsys.readouterr().err
