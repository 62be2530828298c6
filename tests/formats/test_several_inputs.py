"""Packed files of several inputs: right ones, and what is wrong with others."""

from __future__ import annotations

from bnnzoo.formats import packed
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.formats.packed import from_bytes
from bnnzoo.graph.ir import Graph, Node
from tests.formats.files import edited, tiny_file
from tests.formats.test_broken_files import cases, drop, put, refused


def pair_file():
    nodes = (Node("sum", "add", ("left", "right")), Node("tanh", "tanh", ("left",)))
    graph = Graph({"right": (2, 3), "left": (2, 3), "unused": (4,)}, nodes, ("sum", "right"), {})
    return packed.to_bytes(graph, NetworkInfo("pair", output_names=("total", "same")))


PAIR, TINY = pair_file(), tiny_file()


def port(place, **changes):
    return lambda graph: graph["inputs"][place].update(changes)


# Of several inputs, which version 2 has.
INPUTS = {
    "none": (edited(PAIR, graph=put("inputs", [])), "The graph must have an input, got none"),
    "no key": (edited(PAIR, graph=drop("inputs")), "graph must have the key 'inputs'"),
    "a key of version 1": (
        edited(PAIR, graph=put("input", "x")),
        "graph has the unknown key 'input'",
    ),
    "a key of version 2": (
        edited(TINY, graph=put("inputs", [])),
        "graph has the unknown key 'inputs'",
    ),
    "an object": (edited(PAIR, graph=put("inputs", {})), "graph inputs must be an array, got {}"),
    "many": (
        edited(PAIR, graph=lambda g: g["inputs"].extend(g["inputs"] * 22)),
        "graph inputs must have at most 64 items, got 69",
    ),
    "no shape": (
        edited(PAIR, graph=lambda g: g["inputs"][0].pop("shape")),
        "a graph input must have the key 'shape'",
    ),
    "shape": (
        edited(PAIR, graph=port(1, shape=[2, -3])),
        "the shape of graph input 'left' must be positive integers",
    ),
    "large": (
        edited(PAIR, graph=port(2, shape=[2**20, 65])),
        "Input 'unused' (1048576, 65) has more than 67108864 elements",
    ),
    "name": (edited(PAIR, graph=port(0, name=7)), "the name of a graph input must be a string"),
    "twice": (
        edited(PAIR, graph=port(0, name="left")),
        "graph inputs must be distinct, got 'left'",
    ),
    "name of a node": (edited(PAIR, graph=port(2, name="sum")), "name must be unique"),
    "an output twice": (
        edited(PAIR, graph=put("outputs", ["right", "right"])),
        "Outputs must be distinct, got ('right', 'right')",
    ),
    "few names": (
        edited(PAIR, info=put("output_names", ["a"])),
        "info must have 2 output_names, got 1",
    ),
    "one name twice": (
        edited(PAIR, info=put("output_names", ["a", "a"])),
        "info output_names must be a list of different lines of text, got ['a', 'a']",
    ),
}


@cases(INPUTS)
def test_broken_inputs(case):
    refused(*case)


def test_several_inputs_are_version_2():
    file = from_bytes(PAIR)
    assert file.format == "bnnzoo-packed/2" and from_bytes(TINY).format == "bnnzoo-packed/1"
    assert list(file.graph.inputs.items()) == [
        ("right", (2, 3)),
        ("left", (2, 3)),
        ("unused", (4,)),
    ]
    assert file.graph.outputs == ("sum", "right") and file.info.output_names == ("total", "same")
