"""A graph as JSON, stored under the key `graph` of a packed file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bnnzoo.errors import GraphError, ModelFormatError
from bnnzoo.formats.storage import ENCODINGS, Stored
from bnnzoo.formats.strict_json import expect_keys, expect_list, expect_name, shown
from bnnzoo.graph.ir import Graph, Node, Type
from bnnzoo.graph.ops import OPS, infer_types

__all__ = ["STORED_OPS", "check_stored", "from_document", "least_version", "to_document"]

MAX_NODES = 10_000
MAX_INPUTS = 1024  # of a node
MAX_PORTS = 64  # inputs or outputs of a network
_MAX_AXES = 8
_INFINITY = {"inf": math.inf, "-inf": -math.inf}

# Made by passes for a runtime only, or removed by passes before a graph is stored.
_NO_OPS = ("batch_norm",)
_NO_ROLES = ("threshold", "direction", "correction", "row_class", "column_class")

# What version 2 added.
_OPS_OF_2 = ("conv2d_transpose", "bconv2d_transpose", "nearest_resize2d", "bilinear_resize2d")

# Operation -> roles of its tensors that a file may have.
STORED_OPS = {
    name: tuple(role for role in (*op.required, *op.optional) if role not in _NO_ROLES)
    for name, op in OPS.items()
    if name not in _NO_OPS
}


def check_stored(graph: Graph) -> dict[str, Type]:
    """Returns the type of every value, and checks that the graph can be stored in a file.

    Raises:
        GraphError: It is invalid, or has operations or tensors that only a runtime makes.
    """
    types = infer_types(graph)
    for node in graph.nodes:
        if node.op not in STORED_OPS:
            raise GraphError(
                f"Node '{node.name}' ({node.op}): the operation cannot be stored in a file."
            )
        for role in node.tensors:
            if role not in STORED_OPS[node.op]:
                raise GraphError(
                    f"Node '{node.name}' ({node.op}): tensor '{role}' cannot be stored in a file."
                )
    for name in graph.outputs:
        if types[name].kind != "real":
            raise GraphError(f"Output '{name}' must be real, got {types[name].kind}.")
    if len(set(graph.outputs)) < len(graph.outputs):
        raise GraphError(f"Outputs must be distinct, got {shown(graph.outputs)}.")
    unused = set(graph.tensors) - {t for node in graph.nodes for t in node.tensors.values()}
    if unused:
        raise GraphError(f"Tensor '{min(unused)}' is not used by any node.")
    return types


def least_version(graph: Graph, stored: Mapping[str, Stored]) -> int:
    """Returns the first version of the format that can express a graph."""
    old = (
        len(graph.inputs) == 1
        and all(node.op not in _OPS_OF_2 for node in graph.nodes)
        and all(entry.encoding != "ternary" for entry in stored.values())
    )
    return 1 if old else 2


def to_document(graph: Graph, stored: Mapping[str, Stored], version: int) -> dict[str, Any]:
    """Returns the JSON of a graph."""
    inputs = [{"name": name, "shape": list(shape)} for name, shape in graph.inputs.items()]
    if version == 1:
        named = {"input": inputs[0]["name"], "input_shape": inputs[0]["shape"]}
    else:
        named = {"inputs": inputs}
    return {
        **named,
        "nodes": [_node_document(node) for node in graph.nodes],
        "outputs": list(graph.outputs),
        "tensors": {
            name: {"encoding": entry.encoding, "shape": list(entry.shape)}
            for name, entry in stored.items()
        },
    }


def _node_document(node: Node) -> dict[str, Any]:
    document: dict[str, Any] = {"name": node.name, "op": node.op, "inputs": list(node.inputs)}
    if node.attributes:
        document["attributes"] = {k: _attribute_document(v) for k, v in node.attributes.items()}
    if node.tensors:
        document["tensors"] = dict(node.tensors)
    return document


def _attribute_document(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value


def from_document(value: Any, version: int) -> tuple[Graph, dict[str, Stored]]:
    """Returns the graph of a JSON document without its tensors, and how those are stored.

    Raises:
        ModelFormatError: It has another form. `check_stored` checks the operations.
    """
    keys = ("input", "input_shape") if version == 1 else ("inputs",)
    value = expect_keys(value, "graph", (*keys, "nodes", "outputs", "tensors"))
    nodes = expect_list(value["nodes"], "graph nodes", MAX_NODES)
    outputs = expect_list(value["outputs"], "graph outputs", MAX_PORTS)
    if not isinstance(value["tensors"], dict):
        raise ModelFormatError(f"graph tensors must be an object, got {shown(value['tensors'])}.")
    graph = Graph(
        _inputs(value)
        if version > 1
        else {
            expect_name(value["input"], "graph input"): _shape(
                value["input_shape"], "graph input_shape"
            )
        },
        tuple(_node(node, f"node {i}") for i, node in enumerate(nodes)),
        tuple(expect_name(name, "a graph output") for name in outputs),
        {},
    )
    return graph, {name: _stored(name, entry) for name, entry in value["tensors"].items()}


def _inputs(value: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    inputs: dict[str, tuple[int, ...]] = {}
    for entry in expect_list(value["inputs"], "graph inputs", MAX_PORTS):
        entry = expect_keys(entry, "a graph input", ("name", "shape"))
        name = expect_name(entry["name"], "the name of a graph input")
        if name in inputs:
            raise ModelFormatError(f"graph inputs must be distinct, got {shown(name)} twice.")
        inputs[name] = _shape(entry["shape"], f"the shape of graph input {shown(name)}")
    return inputs


def _shape(value: Any, what: str) -> tuple[int, ...]:
    shape = expect_list(value, what, _MAX_AXES)
    if not shape or not all(type(n) is int and n > 0 for n in shape):
        raise ModelFormatError(f"{what} must be positive integers, got {shown(shape)}.")
    return tuple(shape)


def _stored(name: str, value: Any) -> Stored:
    what = f"graph tensor {shown(expect_name(name, 'the name of a graph tensor'))}"
    value = expect_keys(value, what, ("encoding", "shape"))
    encoding, shape = value["encoding"], _shape(value["shape"], f"the shape of {what}")
    if not isinstance(encoding, str) or encoding not in ENCODINGS:
        raise ModelFormatError(
            f"the encoding of {what} must be one of {', '.join(ENCODINGS)}, got {shown(encoding)}."
        )
    if encoding in ("bits", "int8", "ternary") and len(shape) != 4:
        raise ModelFormatError(
            f"{what} is stored as {encoding}, so its shape must be (c_out, h, w, c_in), "
            f"got {shape}."
        )
    return Stored(encoding, shape)


def _node(value: Any, what: str) -> Node:
    value = expect_keys(value, what, ("name", "op", "inputs"), ("attributes", "tensors"))
    inputs = expect_list(value["inputs"], f"inputs of {what}", MAX_INPUTS)
    attributes = value.get("attributes", {})
    tensors = value.get("tensors", {})
    for part, items in (("attributes", attributes), ("tensors", tensors)):
        if not isinstance(items, dict):
            raise ModelFormatError(f"{part} of {what} must be an object, got {shown(items)}.")
    return Node(
        expect_name(value["name"], f"the name of {what}"),
        expect_name(value["op"], f"the op of {what}"),
        tuple(expect_name(name, f"an input of {what}") for name in inputs),
        {
            expect_name(k, f"an attribute of {what}"): _attribute(v, f"{k} of {what}")
            for k, v in attributes.items()
        },
        {
            expect_name(role, f"a role of {what}"): expect_name(name, f"a tensor of {what}")
            for role, name in tensors.items()
        },
    )


def _attribute(value: Any, what: str) -> Any:
    if isinstance(value, list):
        expect_list(value, what, _MAX_AXES)
        if all(type(item) is int for item in value):
            return tuple(value)
    elif isinstance(value, str) and value in _INFINITY:
        return _INFINITY[value]
    elif type(value) in (int, float):
        return value
    raise ModelFormatError(
        f"{what} must be a number, 'inf', '-inf' or an array of integers, got {shown(value)}."
    )
