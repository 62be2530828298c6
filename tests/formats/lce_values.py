"""Compares Larq Compute Engine with the reference interpreter and the runtime, on equal inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from bnnzoo.conversion.subgraphs import cut
from bnnzoo.formats.lce.model_file import ModelFile
from bnnzoo.graph import interpreter
from bnnzoo.graph.ir import Graph, Node
from bnnzoo.graph.ops import infer_types
from bnnzoo.graph.passes.fold_affine import parameter
from bnnzoo.graph.passes.fold_batch_norm import fold_batch_norm
from bnnzoo.graph.tolerance import Losses, errors

Values = Mapping[str, np.ndarray]
Run = Callable[[Graph, np.ndarray], Values]

# Between quantized numbers: half a step where they are rounded, and a tenth for the multipliers of
# fixed point and for the integers in which means and sums are computed.
STEPS = 0.6

# Of the largest magnitude in a value: sums of float32 in another order, multipliers that are
# folded into kernels. A wrong border, threshold or epsilon is larger by orders.
RELATIVE = 1e-5


def reference(graph: Graph, x: np.ndarray) -> Values:
    return interpreter.run(graph, x)


def native(graph: Graph, x: np.ndarray) -> Values:
    from bnnzoo.runtime import Model

    return Model(graph).run_values(x, graph.outputs)


@dataclass(frozen=True)
class Grid:
    """The numbers that a quantized value may be."""

    low: float
    high: float
    step: float


def grids(file: ModelFile) -> dict[str, Grid]:
    """Returns those of a file's quantized values, by name."""
    found = {}
    for entry in file.tensors:
        if entry.quantization is not None and entry.values is None:
            (step,), (zero_point,) = entry.quantization.scale, entry.quantization.zero_point
            least, most = np.iinfo(entry.dtype.lower()).min, np.iinfo(entry.dtype.lower()).max
            low, high = (step * (q - zero_point) for q in (least, most))
            found[entry.name] = Grid(low, high, step)
    return found


def assert_layers_agree(
    graph: Graph,
    theirs: Values,
    run: Run = reference,
    grids: Mapping[str, Grid] = MappingProxyType({}),
) -> int:
    """Checks every value of a graph that has a name in `theirs`; returns how many there are.

    Each is computed from their values before it, so that no difference travels: sums of signs have
    to be equal, real numbers close, and signs equal but where the number is next to zero. Quantized
    ones are off by a step at most, and within their range.
    """
    graph = fold_batch_norm(graph)
    losses = _losses(graph)
    known = [name for name in infer_types(graph) if name in theirs]
    assert known, "no value has a known name"
    for pieces in cut(graph, known):
        fed = pieces.feed({name: theirs[name] for name in pieces.fed})
        values, ours = interpreter.run(pieces.graph, fed), run(pieces.graph, fed)
        allowed = errors(pieces.graph, values, losses)
        nodes = {node.name: node for node in pieces.graph.nodes}
        for name in pieces.graph.outputs:
            found = ours[name]
            if name in grids:
                found = np.clip(found, grids[name].low, grids[name].high)
                allowed[name] = np.maximum(allowed[name], STEPS * grids[name].step)
            _assert_close(nodes[name], theirs[name], found, values, allowed)
    return len(known)


def _losses(graph: Graph) -> Losses:
    """Returns where both lose more than the reference interpreter's numbers show.

    Sums are K - 2 count: multiplied and shifted as (-2 scale) * count + (scale K + bias), whose
    parts are of the size of scale K. Signs times a scale are real kernels in files of others.
    """
    sizes: dict[str, np.ndarray] = {}
    terms, rounded = {}, set()
    for node in graph.nodes:
        source = node.inputs[0]
        if node.op == "bconv2d":
            sizes[node.name] = np.float64(np.prod(graph.tensors[node.tensors["kernel"]].shape[1:]))
        elif node.op in ("reshape", "clip", "max_pool2d") and source in sizes:
            sizes[node.name] = sizes[source].max()
        elif node.op == "affine" and source in sizes:
            scale, bias = (parameter(graph, node, role) for role in ("scale", "bias"))
            size = sizes[source] * (1 if scale is None else np.abs(scale))
            terms[node.name] = sizes[node.name] = size + (0 if bias is None else np.abs(bias))
            if node.tensors.get("scale", "").endswith("kernel_scale"):
                rounded.add(source)
    return Losses(rounded, terms)


def _assert_close(
    node: Node, theirs: np.ndarray, ours: np.ndarray, values: Values, allowed: Values
) -> None:
    assert theirs.shape == ours.shape, node
    if node.op == "sign":
        x = values[node.inputs[0]]
        near = np.abs(x) <= np.maximum(allowed[node.inputs[0]], RELATIVE * np.abs(x).max())
        assert near[theirs != ours].all(), node
        return
    expected, error = values[node.name], allowed[node.name]
    if error.any() or (expected != np.rint(expected)).any():
        error = np.maximum(error, RELATIVE * np.abs(expected).max())
    wrong = ~(np.abs(theirs - ours) <= error)  # so that NaN is wrong
    assert not wrong.any(), (node, theirs[wrong][:5], ours[wrong][:5], error[wrong][:5])
