"""docs/format.md says what the code does: its tables, its limits, its example."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from bnnzoo.formats import graph_document, packed, safetensors_file, strict_json
from bnnzoo.formats.graph_document import STORED_OPS
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.formats.packed import from_bytes, to_bytes
from bnnzoo.formats.storage import ENCODINGS
from bnnzoo.graph import interpreter, ops
from bnnzoo.graph.interpreter import run
from bnnzoo.graph.ir import Graph
from bnnzoo.graph.packing import PackedSigns
from bnnzoo.graph.passes import eight_bits

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text()


def table(title: str) -> list[list[str]]:
    """The cells of the table whose first column has this title."""
    found = re.search(rf"^\| {title} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [[cell.strip() for cell in row.strip("| ").split(" | ")] for row in rows(found)]


def rows(found: re.Match[str]) -> list[str]:
    # An empty cell is "| |", which split would lose.
    return [line.replace("| |", "|  |").replace("| |", "|  |") for line in found[1].splitlines()]


def names(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


INFO_FIELDS = [field.name for field in fields(NetworkInfo)]
OPERATIONS = {names(row[0])[0]: row for row in table("Operation")}


def test_every_operation_of_a_file_is_there():
    assert list(OPERATIONS) == list(STORED_OPS)


@pytest.mark.parametrize("name", STORED_OPS)
def test_an_operation_has_the_inputs_attributes_and_tensors_of_the_code(name):
    op = ops.OPS[name]
    _, inputs, kinds, attributes, tensors, meaning = OPERATIONS[name]
    least, greatest = op.inputs
    assert inputs == (str(least) if least == greatest else f"{least} to {greatest}")
    assert names(attributes) == [*op.attributes, *op.optional_attributes]
    assert re.findall(r"\[`(\w+)`\]", attributes) == list(op.optional_attributes)
    bracketed = re.findall(r"\[`(\w+)`", tensors)
    assert names(tensors) == list(STORED_OPS[name])
    assert bracketed == [role for role in STORED_OPS[name] if role in op.optional]
    assert "→" in kinds and meaning


def test_every_attribute_has_the_rule_of_the_code():
    written = {name: row[1] for row in table("Attribute") for name in names(row[0])}
    rules = {
        name: rule
        for op in map(ops.OPS.__getitem__, STORED_OPS)
        for name, (rule, _) in {**op.attributes, **op.optional_attributes}.items()
    }
    assert written == rules


def test_the_other_tables_are_those_of_the_code():
    assert [names(row[0])[0] for row in table("Encoding")] == list(ENCODINGS)
    assert [names(row[0])[0] for row in table("Field")] == [
        field.name for field in fields(NetworkInfo)
    ]
    metadata, graph, node = ({"format", "graph", "info", "sha256", "digest"},
                             {"input", "input_shape", "inputs", "nodes", "outputs", "tensors"},
                             {"name", "op", "inputs", "attributes", "tensors"})  # fmt: skip
    found = [
        {names(line)[0] for line in match.splitlines()}
        for match in re.findall(r"^\| Key \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    ]
    assert found == [metadata, graph, node]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("at most 4,194,304 bytes", safetensors_file.MAX_HEADER_BYTES == 4_194_304),
        ("at most 10,000 nodes", graph_document.MAX_NODES == 10_000),
        ("1 to 64 values", graph_document.MAX_PORTS == 64),
        ("1 to 64 objects", graph_document.MAX_PORTS == 64),
        ("1 to 1000 characters", strict_json.MAX_NAME_CHARACTERS == 1000),
        ("within ±2^53", strict_json.MAX_INTEGER == 2**53),
        ("at most 2^26 elements", ops.MAX_VALUE_ELEMENTS == 2**26),
        ("more than 2^17 weights", ops.MAX_INT8_PRODUCTS == 2**17),
        ("below 2^-100 is treated as zeros", interpreter.MIN_MAGNITUDE == 2**-100),
        ("sums of at least 16 products", eight_bits.MIN_PRODUCTS_PER_SUM == 16),
        ("least 32 products per number", eight_bits.MIN_PRODUCTS_PER_NUMBER == 32),
        ("1 to 1024", graph_document.MAX_INPUTS == 1024),
    ],
)
def test_the_limits_are_those_of_the_code(text, value):
    assert text in PAGE and value


def test_the_versions_are_those_of_the_code():
    assert [row[0].strip("`") for row in table("Version")] == list(packed.FORMATS.values())


def test_integers_of_attributes_end_at_their_limit():
    rule = ops.OPS["slice"].attributes["begin"][1]
    assert "Integers MUST be at most 2^20" in PAGE
    assert rule(2**20) and not rule(2**20 + 1)


def test_the_example_is_a_network_that_computes_what_is_said():
    document = json.loads(re.search(r'```json title="graph"\n(.*?)```', PAGE, re.DOTALL)[1])
    graph, stored = graph_document.from_document(document, version=1)
    kernel = PackedSigns(np.array([[2], [3]], np.uint8), stored["dense/kernel"].shape)
    assert kernel.unpack().reshape(2, 3).tolist() == [[1, -1, 1], [-1, -1, 1]]
    graph = Graph(graph.inputs, graph.nodes, graph.outputs, {"dense/kernel": kernel})
    back = from_bytes(to_bytes(graph, NetworkInfo("example"))).graph
    values = run(back, np.array([0.5, -2, 0]).reshape(1, 1, 1, 3))
    assert values["dense"].tolist() == [[3.0, 1.0]]
