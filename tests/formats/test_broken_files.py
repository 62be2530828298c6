"""Every way in which a packed file can be wrong has its own message, of one line."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from bnnzoo.errors import ModelFormatError
from bnnzoo.formats import graph_document, safetensors_file
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.formats.packed import from_bytes, open_file, to_bytes
from bnnzoo.graph.ir import Graph, Node
from tests.formats.files import edited, tiny_file, with_header

FILE = tiny_file()
INT8 = tiny_file("int8")
PROBABILITY = to_bytes(
    Graph({"x": (1,)}, (Node("y", "sigmoid", ("x",)),), ("y",), {}),
    NetworkInfo("net", labels=("a",)),
)


def refused(data: bytes, message: str) -> None:
    with pytest.raises(ModelFormatError) as caught:
        from_bytes(data)
    text = str(caught.value)
    assert message in text
    assert "\n" not in text and len(text) < 500


def cases(table: dict):
    """Parametrizes a test with the rows of a table; its keys are the ids."""
    return pytest.mark.parametrize("case", table.values(), ids=table.keys())


def put(*path_and_value):
    """Returns an edit that sets the value at a path."""
    *path, last, value = path_and_value

    def edit(target):
        for key in path:
            target = target[key]
        target[last] = value

    return edit


def drop(*path):
    def edit(target):
        for key in path[:-1]:
            target = target[key]
        del target[path[-1]]

    return edit


# The container -----------------------------------------------------------------------------------

START = 8 + struct.unpack("<Q", FILE[:8])[0]
RAW = {
    "empty": (b"", "must begin with 8 bytes of length, but the file has 0. It is truncated"),
    "seven bytes": (FILE[:7], "must begin with 8 bytes of length, but the file has 7"),
    "header too long": (
        struct.pack("<Q", 2**63) + FILE[8:],
        "its header must have at most 4194304 bytes, got 9223372036854775808",
    ),
    "header cut": (
        FILE[:100],
        f"its header ends at byte {START} but the file has 100. It is trunc",
    ),
    "data cut": (
        FILE[:-5],
        f"tensor 'binary/kernel' ends at byte {len(FILE)} but the file has {len(FILE) - 5}. "
        "It is truncated; download or convert it again.",
    ),
    "bytes behind": (FILE + b"x", f"its last tensor ends at byte {len(FILE)} but the file has"),
    "text file": (b"import bnnzoo\n" * 9, "not a bnnzoo-packed file, or it is damaged"),
    "not utf-8": (with_header(FILE, lambda h: b'{"\xff": 1}'), "its header is not UTF-8"),
    "not json": (with_header(FILE, lambda h: b"{'a': 1}"), "its header is not JSON: "),
    "not an object": (with_header(FILE, lambda h: b"[1]"), "its header must be an object, got [1]"),
    "nested too deep": (
        with_header(FILE, lambda h: b'{"a":' + b"[" * 100_000),
        "nested too deeply",
    ),
    "half a character": (
        with_header(FILE, lambda h: b'{"__metadata__":{"a":"\\ud800"}}'),
        "its header has half of a surrogate pair",
    ),
    "key twice": (
        with_header(FILE, lambda h: b'{"a": 1, "b": 2, "a": 1}'),
        "its header has the key 'a' twice",
    ),
    "metadata key twice": (
        with_header(FILE, lambda h: b'{"__metadata__": {"format": "a", "format": "b"}}'),
        "its header has the key 'format' twice",
    ),
    "NaN": (with_header(FILE, lambda h: b'{"a": NaN}'), "its header has the number NaN"),
    "large number": (
        with_header(FILE, lambda h: b'{"a": 1e999}'),
        "'1e999', too large for float64",
    ),
    "large integer": (with_header(FILE, lambda h: b'{"a": 9007199254740993}'), "beyond 2^53"),
    "huge integer": (with_header(FILE, lambda h: b'{"a": ' + b"9" * 9999 + b"}"), "beyond 2^53"),
    "no strings": (
        with_header(FILE, put("__metadata__", "format", 1)),
        "__metadata__ must be an object of strings",
    ),
    "metadata a list": (
        with_header(FILE, put("__metadata__", [])),
        "__metadata__ must be an object",
    ),
}


@cases(RAW)
def test_broken_container(case):
    refused(*case)


def entry(**changes):
    return with_header(FILE, lambda header: header["binary/kernel"].update(changes))


LAYOUT = {
    "no object": (with_header(FILE, put("a", 1)), "tensor 'a' must be an object, got 1"),
    "no dtype": (
        with_header(FILE, drop("binary/kernel", "dtype")),
        "tensor 'binary/kernel' must have the key 'dtype'",
    ),
    "more keys": (entry(strides=[1]), "tensor 'binary/kernel' has the unknown key 'strides'"),
    "dtype": (
        entry(dtype="BF16"),
        "the dtype of tensor 'binary/kernel' must be one of F32, F16, I8, U8, got 'BF16'",
    ),
    "dtype a list": (entry(dtype=[]), "the dtype of tensor 'binary/kernel' must be one of"),
    "shape": (entry(shape=12), "the shape of tensor 'binary/kernel' must be an array, got 12"),
    "negative": (entry(shape=[-3, -4]), "shape and data_offsets of tensor 'binary/kernel' must be"),
    "fraction": (entry(shape=[3.0, 4]), "shape and data_offsets of tensor 'binary/kernel' must be"),
    "true": (entry(shape=[True, 12]), "shape and data_offsets of tensor 'binary/kernel' must be"),
    "axes": (entry(shape=[1] * 9), "the shape of tensor 'binary/kernel' must have at most 8 items"),
    "one offset": (entry(data_offsets=[0]), "data_offsets of tensor 'binary/kernel' must be begin"),
    "reversed": (entry(data_offsets=[276, 264]), "data_offsets of tensor 'binary/kernel' must be"),
    "size": (
        entry(shape=[3, 5]),
        "tensor 'binary/kernel' must have 15 bytes for its shape (3, 5), got 12",
    ),
    "overflow": (entry(shape=[2**40, 2**40]), "tensor 'binary/kernel' must have 1208925819614629"),
    "gap": (
        entry(data_offsets=[265, 277]),
        f"tensor 'binary/kernel' begins at byte {START + 0} but the data before it ends at",
    ),
    "overlap": (entry(data_offsets=[263, 275]), "but the data before it ends at"),
}


@cases(LAYOUT)
def test_broken_layout(case):
    data, message = case
    message = message.replace(str(START), str(8 + struct.unpack("<Q", data[:8])[0] + 265))
    refused(data, message)


def test_what_only_the_library_refuses_is_refused(monkeypatch):
    import safetensors

    def no(data):
        raise safetensors.SafetensorError("InvalidHeader")

    monkeypatch.setattr(safetensors, "deserialize", no)
    refused(FILE, "safetensors rejects it: InvalidHeader. The file is damaged")


# The metadata ------------------------------------------------------------------------------------


def signed(**edits):
    return edited(FILE, **edits)


def unsigned(**edits):
    return edited(FILE, **edits, signed=False)


def flip(arrays):
    arrays["binary/kernel"][0, 0] ^= 1


METADATA = {
    "another file": (unsigned(metadata=lambda m: m.clear()), "not a bnnzoo-packed file"),
    "another format": (unsigned(metadata=put("format", "pt")), "not a bnnzoo-packed file"),
    "newer": (
        unsigned(metadata=put("format", "bnnzoo-packed/3")),
        "its format must be 'bnnzoo-packed/1' or 'bnnzoo-packed/2', got 'bnnzoo-packed/3'. Update "
        "bnnzoo to read it.",
    ),
    **{
        f"no {key}": (
            unsigned(metadata=drop(key)),
            f"its metadata must have the key '{key}', got none. The file is damaged",
        )
        for key in ("graph", "info", "sha256", "digest")
    },
    "digest": (
        unsigned(graph=put("outputs", ["pool"])),
        "its metadata does not match its digest. The file is damaged",
    ),
    "digest of info": (unsigned(info=put("name", "other")), "does not match its digest"),
    "digest of more": (unsigned(metadata=put("more", "other")), "does not match its digest"),
    "array": (
        unsigned(arrays=flip),
        "tensor 'binary/kernel' does not match its sha256. The file is damaged",
    ),
    "sha256 a list": (signed(metadata=put("sha256", "[]")), "sha256 must be an object, got []"),
    "sha256 no json": (signed(metadata=put("sha256", "{")), "sha256 is not JSON"),
    "sha256 missing": (signed(metadata=put("sha256", "{}")), "must have a sha256, got none"),
    "sha256 too many": (
        signed(
            metadata=lambda m: m.update(sha256=json.dumps({**json.loads(m["sha256"]), "gone": "0"}))
        ),
        "tensor 'gone' has a sha256 but is not in the file",
    ),
    "graph no json": (signed(metadata=put("graph", "{}}")), "graph is not JSON"),
    "info no json": (signed(metadata=put("info", "")), "info is not JSON"),
    "graph key twice": (
        signed(metadata=put("graph", '{"a":1,"a":1}')),
        "graph has the key 'a' twice",
    ),
}


@cases(METADATA)
def test_broken_metadata(case):
    refused(*case)


def test_other_metadata_is_allowed():
    assert from_bytes(signed(metadata=put("author", "me"))).info.name == "tiny"


# The graph ---------------------------------------------------------------------------------------


def node(index, *path_and_value):
    return put("nodes", index, *path_and_value)


def more_nodes(graph):
    graph["nodes"] += graph["nodes"][:1] * graph_document.MAX_NODES


GRAPH = {
    "a list": (signed(metadata=put("graph", "[]")), "graph must be an object, got []"),
    "no input": (signed(graph=drop("input")), "graph must have the key 'input'"),
    "more keys": (signed(graph=put("extra", 1)), "graph has the unknown key 'extra'"),
    "input": (signed(graph=put("input", 1)), "graph input must be a string, got 1"),
    "empty name": (signed(graph=put("input", "")), "graph input must be 1 to 1000 characters"),
    "long name": (
        signed(graph=put("input", "x" * 1001)),
        "graph input must be 1 to 1000 characters",
    ),
    "control": (signed(graph=node(0, "name", "a\x1b[2J")), "none of them a control character"),
    "input_shape": (signed(graph=put("input_shape", [4, 0, 2])), "input_shape must be positive"),
    "no shape": (signed(graph=put("input_shape", [])), "input_shape must be positive"),
    "nodes": (signed(graph=put("nodes", {})), "graph nodes must be an array, got {}"),
    "many nodes": (
        signed(graph=more_nodes),
        "graph nodes must have at most 10000 items, got 10010",
    ),
    "node": (signed(graph=node(3, 7)), "node 3 must be an object, got 7"),
    "epilogue": (signed(graph=node(0, "epilogue", [])), "node 0 has the unknown key 'epilogue'"),
    "inputs": (signed(graph=node(0, "inputs", "images")), "inputs of node 0 must be an array"),
    "attributes": (
        signed(graph=node(0, "attributes", [])),
        "attributes of node 0 must be an object",
    ),
    "tensors": (signed(graph=node(0, "tensors", [])), "tensors of node 0 must be an object"),
    "attribute": (
        signed(graph=node(0, "attributes", "groups", "two")),
        "groups of node 0 must be a number, 'inf', '-inf' or an array of integers, got 'two'",
    ),
    "true": (
        signed(graph=node(0, "attributes", "groups", True)),
        "groups of node 0 must be a number",
    ),
    "fractions": (signed(graph=node(0, "attributes", "strides", [1, 1.5])), "strides of node 0"),
    "long attribute": (signed(graph=node(0, "attributes", "strides", [1] * 9)), "at most 8 items"),
    "outputs": (signed(graph=put("outputs", "dense")), "graph outputs must be an array"),
    "many outputs": (signed(graph=put("outputs", ["dense"] * 65)), "outputs must have at most 64"),
    "output": (signed(graph=put("outputs", [None])), "a graph output must be a string, got None"),
    # What the operations ask is the business of bnnzoo.graph.ops; these pass its messages on.
    "no output": (signed(graph=put("outputs", [])), "The graph must have an output"),
    "unknown output": (signed(graph=put("outputs", ["x"])), "No node computes output 'x'"),
    "output of bits": (
        signed(graph=put("outputs", ["binary/sign"])),
        "Output 'binary/sign' must be real, got bits",
    ),
    "output twice": (signed(graph=put("outputs", ["dense", "dense"])), "Outputs must be distinct"),
    "operation": (
        signed(graph=node(1, "op", "lstm")),
        "Node 'norm' (lstm): the operation is unknown",
    ),
    "name twice": (signed(graph=node(1, "name", "stem")), "name must be unique"),
    "order": (signed(graph=node(0, "inputs", ["norm"])), "input 'norm' must be computed before it"),
    "stride": (
        signed(graph=node(0, "attributes", "strides", [0, 1])),
        "strides must be two integers",
    ),
    "input_bits and float32": (
        signed(graph=node(0, "attributes", "input_bits", 8)),
        "Node 'stem' (conv2d): with input_bits its kernel must be int8",
    ),
    "input_bits": (
        edited(INT8, graph=node(0, "attributes", "input_bits", 4)),
        "input_bits must be 8, or omitted, got 4",
    ),
    "input_bits of bits": (
        edited(INT8, graph=node(3, "attributes", "input_bits", 8)),
        "Node 'binary' (bconv2d): attributes must be",
    ),
    "batch norm": (
        signed(
            graph=lambda g: g["nodes"][1].update(
                op="batch_norm",
                attributes={"epsilon": 0.001},
                tensors={"mean": "norm/bias", "variance": "norm/scale"},
            )
        ),
        "Node 'norm' (batch_norm): the operation cannot be stored in a file",
    ),
    "of another version": (
        signed(graph=lambda g: g["nodes"][-1].update(op="nearest_resize2d")),
        "its format must be 'bnnzoo-packed/2' for this graph, got 'bnnzoo-packed/1'",
    ),
    "threshold": (
        signed(graph=node(2, "tensors", {"threshold": "norm/bias", "direction": "norm/scale"})),
        "Node 'binary/sign' (sign): tensor 'threshold' cannot be stored in a file",
    ),
}


@cases(GRAPH)
def test_broken_graph(case):
    refused(*case)


# The tensors -------------------------------------------------------------------------------------


def rename(old, new):
    def edit(arrays):
        arrays[new] = arrays.pop(old)

    return edit


def alter(name, change):
    def edit(arrays):
        arrays[name] = change(arrays[name])

    return edit


def setting(index, value):
    def change(array):
        array[index] = value
        return array

    return change


def unused(graph):
    graph["tensors"]["norm/scale2"] = graph["tensors"]["norm/scale"]


TABLE = ("tensors", "binary/kernel")
TENSORS = {
    "no table": (signed(graph=put("tensors", [])), "graph tensors must be an object, got []"),
    "no object": (signed(graph=put(*TABLE, 1)), "graph tensor 'binary/kernel' must be an object"),
    "encoding": (
        signed(graph=put(*TABLE, "encoding", "int4")),
        "the encoding of graph tensor 'binary/kernel' must be one of bits, float32, float16, int8",
    ),
    "encoding a list": (signed(graph=put(*TABLE, "encoding", [])), "must be one of bits, float32"),
    "shape": (signed(graph=put(*TABLE, "shape", [3, 3, -3, 3])), "must be positive integers"),
    "axes of bits": (
        signed(graph=put(*TABLE, "shape", [3, 27])),
        "graph tensor 'binary/kernel' is stored as bits, so its shape must be (c_out, h, w, c_in)",
    ),
    "name": (
        signed(graph=put("tensors", "\n", {})),
        "the name of a graph tensor must be 1 to 1000",
    ),
    "missing": (
        signed(arrays=rename("norm/bias", "norm/other")),
        "tensor 'norm/bias' of the graph is not in the file",
    ),
    "not in the graph": (
        signed(arrays=lambda a: a.update(more=np.ones(2, np.float32))),
        "tensor 'more' is not part of the graph",
    ),
    "unused": (
        signed(graph=unused, arrays=lambda a: a.update({"norm/scale2": a["norm/scale"]})),
        "Tensor 'norm/scale2' is not used by any node",
    ),
    "not in the table": (
        signed(graph=node(1, "tensors", "bias", "norm/other")),
        "tensor 'norm/other' (bias) is not in the graph",
    ),
    "bits of another shape": (
        signed(graph=put(*TABLE, "shape", [3, 3, 3, 5])),
        "tensor 'binary/kernel' must be uint8 (3, 6), got uint8 (3, 4)",
    ),
    "bits of another type": (
        signed(arrays=alter("binary/kernel", lambda a: a.astype(np.int8))),
        "tensor 'binary/kernel' must be uint8 (3, 4), got int8 (3, 4)",
    ),
    "unused bits": (
        signed(arrays=alter("binary/kernel", setting((1, 3), 0b1000))),
        "tensor 'binary/kernel' must have zeros after its 27 bits, got ones",
    ),
    "float32 of another shape": (
        signed(arrays=alter("norm/bias", lambda a: a.reshape(3, 1))),
        "tensor 'norm/bias' must be float32 (3,), got float32 (3, 1)",
    ),
    "float16 in place of float32": (
        signed(arrays=alter("norm/bias", lambda a: a.astype(np.float16))),
        "tensor 'norm/bias' must be float32 (3,), got float16 (3,)",
    ),
    "NaN": (
        signed(arrays=alter("norm/bias", setting(1, np.nan))),
        "tensor 'norm/bias' must be finite, got NaN or infinity",
    ),
    "infinity": (
        signed(arrays=alter("stem/kernel", setting((0, 0, 0, 0), -np.inf))),
        "tensor 'stem/kernel' must be finite, got NaN or infinity",
    ),
    "kernel that does not fit": (
        signed(
            graph=put("tensors", "dense/kernel", "shape", [3, 1, 1, 2]),
            arrays=alter("dense/kernel", lambda a: a.reshape(3, 1, 1, 2)),
        ),
        "Node 'dense/conv' (conv2d): kernel (3, 1, 1, 2) in 1 groups must fit 3 input channels",
    ),
    "int8 without scale": (
        edited(INT8, arrays=drop("dense/kernel/int8_scale")),
        "tensor 'dense/kernel/int8_scale' of the graph is not in the file",
    ),
    "int8 of three axes": (
        edited(INT8, graph=put("tensors", "dense/kernel", "shape", [2, 1, 3])),
        "graph tensor 'dense/kernel' is stored as int8, so its shape must be",
    ),
    "-128": (
        edited(INT8, arrays=alter("dense/kernel", setting((0, 0, 0, 0), -128))),
        "tensor 'dense/kernel' must be -127 to 127, got -128",
    ),
    **{
        f"int8 scale {value}": (
            edited(INT8, arrays=alter("dense/kernel/int8_scale", setting(0, np.float32(value)))),
            "tensor 'dense/kernel/int8_scale' must be positive normal numbers",
        )
        for value in (0, -1, np.nan, np.inf, 1e-40, 1e38)
    },
    "int8 scales": (
        edited(INT8, arrays=alter("dense/kernel/int8_scale", lambda a: a[:1])),
        "tensor 'dense/kernel/int8_scale' must be float32 (2,), got float32 (1,)",
    ),
}


@cases(TENSORS)
def test_broken_tensors(case):
    refused(*case)


# The facts ---------------------------------------------------------------------------------------

DEEP: list = []
for _ in range(20):
    DEEP = [DEEP]

INFO = {
    "a list": (signed(metadata=put("info", "[]")), "info must be an object, got []"),
    "no name": (signed(info=drop("name")), "info name is missing. It must be one line of text."),
    "name": (signed(info=put("name", 3)), "info name must be one line of text, got 3"),
    "lines": (signed(info=put("licence", "a\nb")), "info licence must be one line of text"),
    "labels": (signed(info=put("labels", "ab")), "info labels must be a list, got 'ab'"),
    "label": (signed(info=put("labels", ["a", 1])), "info labels[1] must be one line of text"),
    "too many labels": (signed(info=put("labels", list("abc"))), "info must have 2 labels, got 3"),
    "labels of version 2": (
        edited(PROBABILITY, info=put("labels", ["a", "b"])), "info must have 1 label, got 2"
    ),
    "architecture": (signed(info=put("architecture", {})), "info architecture must be an object"),
    "arguments": (
        signed(info=put("architecture", "arguments", [])), "info architecture must be an object"
    ),
    "nested": (
        signed(info=put("architecture", "arguments", "x", DEEP)), "info architecture must be an obj"
    ),
    "keras_config": (signed(info=put("keras_config", {})), "info keras_config must be a string"),
    "versions": (signed(info=put("versions", {"a": 1})), "info versions.a must be one line of"),
    "nothing": (signed(info=put("tag", None)), "info tag must be omitted, got null"),
    "half a character": (
        signed(metadata=put("info", '{"name": "\\ud800"}')),
        "info has half of a surrogate pair",
    ),
}  # fmt: skip


@cases(INFO)
def test_broken_info(case):
    refused(*case)


def test_facts_that_are_not_known_are_left_out():
    assert from_bytes(signed(info=put("colour", ["red"]))).info.name == "tiny"


# -------------------------------------------------------------------------------------------------


def test_every_cut_is_found():
    for length in range(len(FILE)):
        with pytest.raises(ModelFormatError):
            from_bytes(FILE[:length])


def test_every_flipped_bit_is_found(rng):
    """Everything is under a digest, or is the header's layout, or is the space behind it."""
    for position in rng.choice(len(FILE), 600, replace=False):
        changed = bytearray(FILE)
        changed[position] ^= 1 << int(rng.integers(8))
        try:
            file = from_bytes(bytes(changed))
        except ModelFormatError:
            continue
        assert (
            FILE[position : position + 1] in (b" ", b"\n")
            and file.digest == from_bytes(FILE).digest
        )


def test_the_message_names_the_file(tmp_path):
    path = tmp_path / "quicknet.safetensors"
    path.write_bytes(FILE[:-1])
    with pytest.raises(
        ModelFormatError, match=r"quicknet\.safetensors: tensor 'binary/kernel' ends"
    ):
        open_file(path)


def test_no_more_is_allocated_than_the_file_justifies():
    """A header may claim anything; the claims are checked before an array is made."""
    import tracemalloc

    claims = entry(shape=[2**30], data_offsets=[264, 264 + 2**30])
    tracemalloc.start()
    refused(claims, "ends at byte")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * len(FILE)
    assert safetensors_file.MAX_HEADER_BYTES == 4 * 2**20
