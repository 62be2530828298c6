"""Compares a packed network with its origin, Keras or a file, layer by layer on equal inputs.

Comparing only the outputs of whole networks is not enough: a rounding error near zero flips a sign,
the flip propagates, and a real mistake looks the same. The graph is therefore cut in two ways:

1. **Layers.** Every layer of the graph gets the inputs of the origin's layer and must return its
   outputs, in the reference interpreter and in the runtime.
2. **Between signs.** The runtime fuses across layers. The part between the signs of one layer and
   those of the next runs as in the whole network, on the same signs as the reference interpreter.
   Inputs that are quantized to 8 bits are cut too, as rounding may select either of two levels.

Sums of signs must be equal. Real numbers may differ by the rounding of float32 (see `tolerance`).
A sign may differ if its operand is closer to zero than this rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.conversion.subgraphs import Pieces, cut
from bnnzoo.graph.interpreter import run
from bnnzoo.graph.ir import Graph, Node, Type
from bnnzoo.graph.ops import BINARY, infer_types
from bnnzoo.graph.tolerance import FEW, Losses, errors

if TYPE_CHECKING:
    from bnnzoo.runtime import Model

__all__ = ["Check", "Comparison", "check_layers", "check_signs"]

Array = NDArray[Any]
Values = Mapping[str, Array]


@dataclass
class Check:
    """The result of a comparison, and the first difference beyond rounding.

    Attributes:
        origin: Name of the reference of the comparison.
        values: Number of compared values of the graph.
        numbers: Number of their elements.
        flips: Number of signs and levels that differ within the tolerance.
        worst: Largest difference of real numbers, divided by the allowed difference.
        worst_value: Name of the value with this difference.
        failure: The first difference beyond the tolerance; None if there is none.
    """

    origin: str = "Keras"
    values: int = 0
    numbers: int = 0
    flips: int = 0
    worst: float = 0.0
    worst_value: str | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Comparison:
    """A value of the reference interpreter with the allowed range.

    Attributes:
        name: Name of the value.
        type: Type of the value.
        expected: Result of the reference interpreter, as real numbers.
        low: Smallest allowed numbers.
        high: Largest allowed numbers.
    """

    name: str
    type: Type
    expected: Array
    low: Array
    high: Array

    def record(self, check: Check, found: Array, who: str) -> None:
        """Compares the result `found` of `who`, and adds the outcome to a check."""
        found = np.asarray(found, np.float64)
        check.values += 1
        check.numbers += found.size
        outside = ~((found >= self.low) & (found <= self.high))  # so that NaN is outside
        if outside.any():
            check.failure = check.failure or self._failure(found, outside, who)
        elif self.type.kind != "real":
            check.flips += int((np.abs(found - self.expected) > 4 * FEW).sum())
        elif found.size:
            self._measure(check, found)

    def _measure(self, check: Check, found: Array) -> None:
        allowed = np.maximum(self.high - self.expected, np.finfo(np.float64).tiny)
        share = float((np.abs(found - self.expected) / allowed).max())
        if share > check.worst:
            check.worst, check.worst_value = share, self.name

    def _failure(self, found: Array, outside: Array, who: str) -> str:
        place = np.unravel_index(int(np.argmax(outside)), outside.shape)
        return (
            f"'{self.name}' of {who} differs from the reference interpreter in "
            f"{int(outside.sum()):,} of {outside.size:,} numbers: at {tuple(map(int, place[1:]))} "
            f"it must be {self.low[place]:.9g} to {self.high[place]:.9g} (reference "
            f"{self.expected[place]:.9g}), got {found[place]:.9g}"
        )


@dataclass
class _Part:
    """Subgraphs and their runtime model, built once for all samples."""

    pieces: Pieces
    model: Model | None
    types: dict[str, Type] = field(init=False)

    def __post_init__(self) -> None:
        self.types = infer_types(self.pieces.graph)

    def compare(self, values: Values, losses: Losses, check: Check, *who: str) -> None:
        """Runs the subgraphs, and compares the reference interpreter with the others in `who`."""
        fed = self.pieces.feed(values)
        found: dict[str, Values] = {check.origin: values}
        if self.model is not None:
            found["the runtime"] = self.model.run_values(fed, self.pieces.graph.outputs)
        for comparison in _comparisons(self, fed, losses):
            for name in who:
                if name in found:
                    comparison.record(check, found[name][comparison.name], name)


def check_layers(
    source: Graph, graph: Graph, samples: Iterable[Values], runtime: bool, check: Check
) -> None:
    """Compares every layer of the origin and the runtime with the reference interpreter.

    Args:
        source: The graph of the origin.
        graph: The same graph after the passes `STORED`.
        samples: Values of the origin by name for each sample, with levels as real numbers.
        runtime: Whether to compare the runtime.
        check: Check to which the results are added.
    """
    parts: list[_Part] | None = None
    losses = Losses(_rounded(graph), {**_counted(graph), **_normalized(source)})
    for values in samples:
        if parts is None:
            known = [name for name in infer_types(graph) if name in values]
            parts = _parts(cut(graph, known), runtime)
        for part in parts:
            part.compare(values, losses, check, check.origin, "the runtime")


def check_signs(graph: Graph, samples: Iterable[Values], runtime: bool, check: Check) -> None:
    """Compares the runtime with the reference interpreter between signs. See `check_layers`."""
    if not runtime:
        return
    parts: list[_Part] | None = None
    losses = Losses((), _counted(graph))
    for found in samples:
        values = {**_requantized(graph, found), **found}
        if parts is None:
            names = [n.name for n in graph.nodes if n.op in ("sign", "quantize")]
            known = [name for name in names if name in values]
            known += [name for name in _rounded_inputs(graph) if name in values]
            targets = list(dict.fromkeys([*known, *graph.outputs]))
            parts = _parts(cut(graph, known, targets), runtime)
        for part in parts:
            part.compare(values, losses, check, "the runtime")


def _requantized(graph: Graph, values: Values) -> dict[str, Array]:
    """Returns values that passes quantize again, before the padding instead of after it."""
    found = {}
    for node in graph.nodes:
        if node.name in values or node.inputs[0] not in values:
            continue
        x = values[node.inputs[0]]
        if node.op == "sign":
            found[node.name] = np.where(x < 0, np.float32(-1), np.float32(1))
        elif node.op == "quantize":
            steps = np.float32(2 ** node.attributes["bits"] - 1)
            found[node.name] = np.rint(np.clip(x, 0, 1) * steps) / steps
    return found


def _rounded_inputs(graph: Graph) -> list[str]:
    """Returns the 8-bit inputs of convolutions, before the reshape of a dense layer."""
    producers = {node.name: node for node in graph.nodes}
    names = [node.inputs[0] for node in graph.nodes if "input_bits" in node.attributes]
    for place, name in enumerate(names):
        while name in producers and producers[name].op == "reshape":
            name = producers[name].inputs[0]
        names[place] = name
    return [name for name in dict.fromkeys(names) if name in producers]


def _parts(pieces: Iterator[Pieces], runtime: bool) -> list[_Part]:
    if not runtime:
        return [_Part(piece, None) for piece in pieces]
    from bnnzoo.runtime import Model

    return [_Part(piece, Model(piece.graph)) for piece in pieces]


def _rounded(graph: Graph) -> set[str]:
    """Returns the binary convolutions whose sums Keras rounds: with levels or scaled kernels."""
    types = infer_types(graph)
    scaled = {
        node.inputs[0]
        for node in graph.nodes
        if node.op == "affine" and node.tensors.get("scale", "").endswith("kernel_scale")
    }
    return {
        node.name
        for node in graph.nodes
        if node.op in BINARY and (types[node.inputs[0]].kind == "levels" or node.name in scaled)
    }


def _counted(graph: Graph) -> dict[str, Array]:
    """Returns the magnitudes that the runtime rounds in an affine after a binary convolution.

    A sum of signs is K - 2 count. The runtime computes scale * sum + bias as
    (-2 scale) * count + (scale K + bias), whose terms are as large as scale K.
    """
    sizes: dict[str, Array] = {}
    found = {}
    for node in graph.nodes:
        if node.op in BINARY:
            kernel = graph.tensors[node.tensors["kernel"]]
            sizes[node.name] = np.float64(np.prod(kernel.shape[1:]))
        elif node.op == "reshape" and node.inputs[0] in sizes:
            sizes[node.name] = sizes[node.inputs[0]]
        elif node.op == "affine" and node.inputs[0] in sizes:
            scale, bias = (
                np.abs(np.asarray(graph.tensor(node, role), np.float64))
                if role in node.tensors
                else np.float64(role == "scale")
                for role in ("scale", "bias")
            )
            found[node.name] = sizes[node.name] = scale * sizes[node.inputs[0]] + bias
    return found


def _normalized(graph: Graph) -> dict[str, Array]:
    """Returns the magnitudes that cancel in the bias of each batch normalization."""
    found = {}
    for node in graph.nodes:
        if node.op == "batch_norm":
            mean, variance, gamma, beta = (
                np.abs(np.asarray(graph.tensor(node, role), np.float64))
                if role in node.tensors
                else np.float64(role == "gamma")
                for role in ("mean", "variance", "gamma", "beta")
            )
            deviation = np.sqrt(variance + node.attributes["epsilon"])
            found[node.name] = np.asarray(gamma * mean / deviation + beta)
    return found


def _comparisons(part: _Part, fed: Array, losses: Losses) -> list[Comparison]:
    """Runs the reference interpreter and returns the allowed range of each target."""
    graph = part.pieces.graph
    values = run(graph, fed)
    allowed = errors(graph, values, losses)
    producers = {node.name: node for node in graph.nodes}
    return [
        _comparison(producers[name], part.types[name], values, allowed) for name in graph.outputs
    ]


def _comparison(node: Node, type_: Type, values: Values, allowed: Values) -> Comparison:
    expected = np.asarray(values[node.name], np.float64)
    if type_.kind == "real":
        error = allowed[node.name]
        return Comparison(node.name, type_, expected, expected - error, expected + error)
    steps = 2.0**type_.bits - 1 if type_.kind == "levels" else 1.0
    expected = expected / steps
    if node.op not in ("sign", "quantize"):
        return Comparison(node.name, type_, expected, expected, expected)
    x, error = values[node.inputs[0]], allowed[node.inputs[0]]
    if node.op == "sign":
        low, high = (np.where(end < 0, -1.0, 1.0) for end in (x - error, x + error))
        return Comparison(node.name, type_, expected, low, high)
    error = error + FEW * np.abs(x)  # the product with the number of steps is rounded
    low, high = (np.rint(np.clip(end, 0, 1) * steps) / steps for end in (x - error, x + error))
    # Levels as real numbers are rounded to float32.
    return Comparison(node.name, type_, expected, low - FEW, high + FEW)
