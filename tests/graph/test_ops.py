"""A graph that breaks a rule is refused with the node and the rule."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bnnzoo.errors import GraphError
from bnnzoo.graph.ir import Graph, Node, Type
from bnnzoo.graph.ops import infer_types
from bnnzoo.graph.packing import Int8Kernel
from tests.graph.graphs import GraphBuilder

WINDOW = {"strides": (1, 1), "dilation": (1, 1), "padding": (1, 1, 1, 1), "groups": 1}
KERNEL = np.ones((8, 3, 3, 4), np.int8)
INT8 = {"kernel": Int8Kernel(KERNEL, np.ones(8, np.float32))}


def graph(*nodes, outputs=None, tensors=None, shape=(5, 6, 4)):
    outputs = (nodes[-1].name,) if outputs is None else outputs
    return Graph({"images": shape}, nodes, outputs, tensors or {})


def conv(op="conv2d", source="images", kernel=KERNEL, **changes):
    attributes = {**WINDOW, **({"pad_value": 0} if op == "bconv2d" else {}), **changes}
    node = Node("conv", op, (source,), attributes, {"kernel": "w"})
    return node, {"w": kernel}


def test_types(rng):
    builder = GraphBuilder(rng, (9, 8, 3))
    bits = builder.add("sign", "images")
    levels = builder.add("quantize", "images", bits=2)
    window = {**WINDOW, "strides": (2, 1)}
    y = builder.add(
        "bconv2d", bits, tensors={"kernel": builder.signs(5, 3, 3, 3)}, pad_value=1, **window
    )
    types = infer_types(builder.graph(y, levels))
    assert types["images"] == Type("real", (9, 8, 3))
    assert types[bits] == Type("bits", (9, 8, 3), 1)
    assert types[levels] == Type("levels", (9, 8, 3), 2)
    assert types[y] == Type("real", (5, 8, 5))


def node(op, *inputs, name="x", tensors=None, **attributes):
    return Node(name, op, inputs, attributes, tensors or {})


SIGN = node("sign", "images", name="s")
VECTOR = {"v": np.ones(4, np.float32)}

BROKEN = {
    "unknown operation": (graph(node("gelu", "images")), r"Node 'x' \(gelu\): the operation"),
    "name twice": (graph(SIGN, SIGN), "name must be unique"),
    "input not computed": (graph(node("sign", "later")), "input 'later' must be computed before"),
    "output not computed": (graph(SIGN, outputs=("t",)), "No node computes output 't'"),
    "no output": (graph(SIGN, outputs=()), "must have an output"),
    "input shape": (graph(SIGN, shape=(5, 0, 4)), "'images' must be positive integers"),
    "input too large": (graph(SIGN, shape=(2**20, 65)), "Input 'images' .* has more than 67108864"),
    "no input": (Graph({}, (), ("s",), {}), "must have an input"),
    "too many inputs": (graph(node("sign", "images", "images")), "must have 1 to 1 inputs, got 2"),
    "attribute missing": (graph(node("clip", "images", low=0.0)), r"got \['low'\]"),
    "attribute left over": (graph(node("sign", "images", k=1)), r"must be \[\], got \['k'\]"),
    "attribute of another type": (graph(node("quantize", "images", bits=True)), "got True"),
    "attribute out of range": (graph(node("quantize", "images", bits=9)), "from 1 to 8, got 9"),
    "NaN": (graph(node("clip", "images", low=float("nan"), high=1.0)), "low must be a number"),
    "tensor missing": (graph(node("prelu", "images")), r"tensors missing: \['alpha'\]"),
    "role not known": (
        graph(node("tanh", "images", tensors={"a": "v"}), tensors=VECTOR),
        r"unknown: \['a'\]",
    ),
    "tensor not there": (
        graph(node("affine", "images", tensors={"bias": "v"})),
        r"tensor 'v' \(bias\) is not in the graph",
    ),
    "vector of another length": (
        graph(node("affine", "images", tensors={"bias": "v"}), tensors={"v": np.ones(3)}),
        r"tensor 'bias' must be \(4,\), got \(3,\)",
    ),
    "NaN in a vector": (
        graph(node("affine", "images", tensors={"bias": "v"}), tensors={"v": np.full(4, np.nan)}),
        "must be numbers, got NaN",
    ),
    "threshold alone": (
        graph(node("sign", "images", tensors={"threshold": "v"}), tensors=VECTOR),
        "threshold and direction must be given together",
    ),
    "bits where reals are due": (graph(SIGN, node("tanh", "s")), "must be real, got bits"),
    "not a map": (
        graph(node("global_avg_pool2d", "images"), shape=(5, 4)), r"input must be \(h, w, c\)"
    ),
    "window too large": (
        graph(node("max_pool2d", "images", pool=(6, 2), strides=(1, 1), padding=(0, 0, 0, 0))),
        "a window of 6 must fit into 5 pixels",
    ),
    "padding as large as the window": (
        graph(node("max_pool2d", "images", pool=(2, 2), strides=(1, 1), padding=(2, 0, 0, 0))),
        "padding must be smaller than the window",
    ),
    "ranks differ": (
        graph(node("global_avg_pool2d", "images", name="g"), node("add", "images", "g")),
        "inputs must have the same number of axes",
    ),
    "shapes do not broadcast": (
        graph(
            node("slice", "images", name="part", axis=2, begin=0, size=3),
            node("add", "images", "part"),
        ),
        "inputs must broadcast",
    ),
    "concat of other sizes": (
        graph(
            node("slice", "images", name="part", axis=1, begin=0, size=3),
            node("concat", "images", "part", axis=2),
        ),
        "inputs must differ along axis 2 only",
    ),
    "concat axis": (graph(node("concat", "images", axis=3)), "axis must be below 3, got 3"),
    "slice outside": (
        graph(node("slice", "images", axis=2, begin=2, size=3)), r"2 \+ 3 on axis 2 must be inside"
    ),
    "reshape": (graph(node("reshape", "images", shape=(7,))), "must have as many elements"),
    "permute": (graph(node("permute", "images", axes=(0, 1, 1))), "a permutation of 3 axes"),
    "too large": (
        graph(node("pad", "images", padding=(2**19, 0, 2**19, 0), value=0.0)), "has more than"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("broken", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_graph_is_refused(broken, message):
    with pytest.raises(GraphError, match=message):
        infer_types(broken)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"strides": (1, 0)}, "strides must be two integers", id="strides"),
        pytest.param({"padding": (1, 1)}, "padding must be four integers", id="padding"),
        pytest.param({"groups": 2}, "in 2 groups must fit 4 input channels", id="groups"),
        pytest.param({"kernel": KERNEL[0]}, "kernel must be", id="rank"),
        pytest.param({"op": "bconv2d"}, "must be bits or levels, got real", id="real input"),
        pytest.param({"input_bits": 8}, "its kernel must be int8", id="signs and input_bits"),
        pytest.param({**INT8, "input_bits": 7}, "input_bits must be 8, or omitted", id="7 bits"),
        pytest.param({**INT8, "input_bits": 8.0}, "or omitted, got 8.0", id="8.0 bits"),
        pytest.param(
            {**INT8, "op": "bconv2d", "input_bits": 8}, "attributes must be", id="bconv2d in 8 bits"
        ),
        pytest.param(
            {"kernel": Int8Kernel(np.full_like(KERNEL, -128), np.ones(8)), "input_bits": 8},
            "must have levels of -127 to 127 and a scale per channel",
            id="level of -128",
        ),
        pytest.param(
            {"kernel": Int8Kernel(KERNEL, np.ones(7)), "input_bits": 8},
            "must have levels of -127 to 127 and a scale per channel",
            id="scales",
        ),
        pytest.param(
            {"kernel": Int8Kernel(np.ones((1, 256, 129, 4), np.int8), np.ones(1)), "input_bits": 8},
            "a sum must have at most 131072 products",
            id="products",
        ),
    ],
)
def test_a_broken_convolution_is_refused(changes, message):
    node, tensors = conv(**changes)
    with pytest.raises(GraphError, match=message):
        infer_types(graph(node, tensors=tensors))


def test_a_binary_convolution_needs_a_binary_kernel():
    node, tensors = conv("bconv2d", "s", KERNEL.astype(np.float32))
    with pytest.raises(GraphError, match="kernel must be binary"):
        infer_types(graph(SIGN, node, tensors=tensors))


def test_a_correction_must_fit():
    node, tensors = conv("bconv2d", "s")
    roles = ("correction", "row_class", "column_class")
    node = dataclasses.replace(
        node, tensors={**node.tensors, **dict(zip(roles, roles, strict=True))}
    )
    tensors |= {
        "correction": np.zeros((1, 1, 8), np.int32),
        "row_class": np.zeros(5, np.int32),
        "column_class": np.zeros(5, np.int32),
    }
    with pytest.raises(GraphError, match=r"tensor 'column_class' must be \(6,\), got \(5,\)"):
        infer_types(graph(SIGN, node, tensors=tensors))
    tensors["column_class"] = np.ones(6, np.int32)
    with pytest.raises(GraphError, match=r"tensor 'correction' must be \(1, 2, 8\)"):
        infer_types(graph(SIGN, node, tensors=tensors))
    tensors["column_class"] = -np.ones(6, np.int32)
    with pytest.raises(GraphError, match="'column_class' must be at least 0"):
        infer_types(graph(SIGN, node, tensors=tensors))


def test_a_node_is_inferred_again_where_its_input_or_tensor_has_changed():
    node, tensors = conv()
    network = graph(node, tensors=tensors)
    assert infer_types(network)["conv"].shape == (5, 6, 8)
    smaller = dataclasses.replace(network, inputs={"images": (4, 3, 4)})
    assert infer_types(smaller)["conv"].shape == (4, 3, 8)
    fewer = dataclasses.replace(network, tensors={"w": KERNEL[:2]})
    assert infer_types(fewer)["conv"].shape == (5, 6, 2)
    with pytest.raises(GraphError, match="w"):
        infer_types(dataclasses.replace(network, tensors={}))
