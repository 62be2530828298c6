"""Runs files of the QONNX writer, and compares every value with the reference interpreter's.

A sign may flip where its input is next to zero, so the reference interpreter takes the signs and
levels of who is compared with it, and these must be right but for the rounding of their input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx

from bnnzoo.formats import Network, qonnx
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.formats.qonnx.arranging import Arrangement, usual_axes
from bnnzoo.graph.interpreter import run
from bnnzoo.graph.ir import Graph, Node
from bnnzoo.graph.tolerance import FEW, errors

Array = Any
Runner = Callable[[onnx.ModelProto, str, Array], Mapping[str, Array]]


def file_of(graph: Graph, name: str = "net") -> onnx.ModelProto:
    """Writes a graph and reads the file, which must pass the checker, shapes included."""
    written = qonnx.write(Network(graph, NetworkInfo(name), {}))
    model = onnx.load_from_string(written.files[""])
    assert sum(written.bytes.values()) == len(written.files[""])
    onnx.checker.check_model(model, full_check=True)
    return model


def by_onnxruntime(model: onnx.ModelProto, input: str, x: Array) -> dict[str, Array]:
    """Runs a file with the functions that it defines, and returns every value."""
    import onnxruntime

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    computed = [node.output[0] for node in copy.graph.node]
    copy.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in computed)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    # Optimized, it sums in other orders and leaves out what it merges.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(copy.SerializeToString(), options)
    return {input: x, **dict(zip(computed, session.run(computed, {input: x}), strict=True))}


def to_onnx(x: Array) -> Array:
    """Returns an input or output `(n, ...)` in the order of the file."""
    return x.transpose(0, *(1 + axis for axis in usual_axes(x.ndim - 1)))


def values_of(page: Arrangement, tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Returns the values of the graph that tensors hold, channels last again."""
    found = {}
    for value, held in page.values().items():
        shape = page.shape(value)
        axes = [*held.axes, *(a for a in range(len(shape)) if a not in held.axes)]
        tensor = tensors[held.tensor].reshape(1, *(shape[axis] for axis in axes))
        found[value] = tensor.transpose(0, *(1 + axes.index(axis) for axis in range(len(shape))))
    return found


def assert_agrees(graph: Graph, x: Array, runner: Runner = by_onnxruntime) -> onnx.ModelProto:
    """Compares every value of the file of a graph with the reference's; `x` is `(1, ...)`."""
    model, page = file_of(graph), qonnx.drawn(graph)
    assert {node.output[0] for node in model.graph.node} == {n.output for n in page.drawing.nodes}
    tensors = runner(model, graph.input, to_onnx(x))
    for known in (*model.graph.output, *model.graph.value_info):
        if known.name in tensors:
            shape = [axis.dim_value for axis in known.type.tensor_type.shape.dim]
            assert list(tensors[known.name].shape) == shape, known.name
    assert_values(page, x, values_of(page, tensors))
    assert [output.name for output in model.graph.output] == list(graph.outputs)
    return model


def assert_values(page: Arrangement, x: Array, found: Mapping[str, Array]) -> None:
    """Compares values with the reference interpreter's of the same graph."""
    taken = {node.name: found[node.name] for node in page.graph.nodes if node.op in _STEPS}
    expected = run(page.graph, x, taken)
    allowed = errors(page.graph, expected)
    for node in page.graph.nodes:
        name, ends = node.name, (-1, 1)
        if node.op in _STEPS:
            source = node.inputs[0]
            # A level is taken of the product with the number of steps, which is rounded too.
            off = allowed[source] + (node.op == "quantize") * FEW * np.abs(expected[source])
            low, high = (_STEPS[node.op](node, expected[source] + end * off) for end in ends)
        else:
            off = allowed[name] if page.types[name].kind == "real" else 0
            low, high = (expected[name] + end * off for end in ends)
        outside = ~((found[name] >= low) & (found[name] <= high))
        assert not outside.any(), f"{node}: {outside.sum()} of {outside.size} numbers differ"


def _level(node: Node, x: Array) -> Array:
    return np.rint(np.clip(x, 0, 1) * (2 ** node.attributes["bits"] - 1))


def _clipped(node: Node, x: Array) -> Array:
    """A file has the ends in float32."""
    low, high = (np.float32(node.attributes[end]) for end in ("low", "high"))
    return np.clip(x, np.float64(low), np.float64(high))


# Monotone operations with a step or an end that a rounding may be on either side of.
_STEPS: dict[str, Callable[[Node, Array], Array]] = {
    "sign": lambda node, x: np.where(x < 0, -1, 1),
    "quantize": _level,
    "clip": _clipped,
}
