"""Cuts a graph into subgraphs, so that a difference in one does not propagate to the next.

The pieces are the subgraphs between chosen values. They form one graph, whose single input is the
concatenation of the chosen values. All pieces run at once, both in the reference interpreter and in
the runtime.

The input is (rows, 64), because an axis of a graph has at most 2^20 elements. Each value starts in
a new row; its first axis is padded with zeros to fill the last row.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bnnzoo.graph.ir import Graph, Node, Type
from bnnzoo.graph.ops import infer_types

__all__ = ["Pieces", "cut"]

# Elements in the input of one graph of pieces: 16 MiB as float32.
MAX_FED_ELEMENTS = 2**22
WIDTH = 64


@dataclass(frozen=True)
class Pieces:
    """Pieces of a graph, as a graph.

    Attributes:
        graph: A graph whose outputs are the outputs of the pieces.
        fed: Shapes of the values in the input by name, in order.
    """

    graph: Graph
    fed: Mapping[str, tuple[int, ...]]

    def feed(self, values: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Returns the input for values `(n, ...)`, with bits and levels as real numbers."""
        parts = [_filled(np.asarray(values[name], np.float32)) for name in self.fed]
        return np.concatenate(parts, axis=1)


def _filled_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the shape with the shortest first axis that fills whole rows."""
    step = WIDTH // math.gcd(WIDTH, math.prod(shape[1:]))
    return (-(-shape[0] // step) * step, *shape[1:])


def _filled(value: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns `(n, ...)` as rows `(n, rows, 64)`."""
    missing = _filled_shape(value.shape[1:])[0] - value.shape[1]
    padding = [(0, 0), (0, missing), *((0, 0) for _ in value.shape[2:])]
    return np.pad(value, padding).reshape(len(value), -1, WIDTH)


def cut(
    graph: Graph,
    values: Collection[str],
    targets: Sequence[str] | None = None,
    most: int = MAX_FED_ELEMENTS,
) -> Iterator[Pieces]:
    """Yields the pieces between values, grouped up to a limit of input elements.

    Args:
        graph: The graph to cut.
        values: Names of the values at which the graph is cut.
        targets: The values that the pieces compute. Defaults to `values`.
        most: Limit of input elements per group. A single larger piece is its own group.
    """
    cutter = _Cutter(graph, set(values) | set(graph.inputs))
    group: list[str] = []
    for target in values if targets is None else targets:
        if target in graph.inputs:  # not computed
            continue
        if group and cutter.elements([*group, target]) > most:
            yield cutter.pieces(group)
            group = []
        group.append(target)
    if group:
        yield cutter.pieces(group)


class _Cutter:
    def __init__(self, graph: Graph, boundary: set[str]) -> None:
        self.graph = graph
        self.boundary = boundary
        self.types = infer_types(graph)
        self.producers = {node.name: node for node in graph.nodes}

    def elements(self, targets: Sequence[str]) -> int:
        """Returns the number of input elements of the pieces of some targets."""
        return sum(math.prod(self.types[name].shape) for name in self._needed(targets)[1])

    def pieces(self, targets: Sequence[str]) -> Pieces:
        """Returns the pieces that compute some targets."""
        needed, fed = self._needed(targets)
        nodes = list(_feeding({name: self.types[name] for name in fed}))
        for node in self.graph.nodes:
            if node.name in needed:
                inputs = tuple(_fed(n) if n in self.boundary else n for n in node.inputs)
                nodes.append(dataclasses.replace(node, inputs=inputs))
        shapes = {name: self.types[name].shape for name in fed}
        rows = sum(math.prod(_filled_shape(shape)) // WIDTH for shape in shapes.values())
        used = {name for node in nodes for name in node.tensors.values()}
        tensors = {name: self.graph.tensors[name] for name in used}
        return Pieces(Graph({"fed": (rows, WIDTH)}, tuple(nodes), tuple(targets), tensors), shapes)

    def _needed(self, targets: Sequence[str]) -> tuple[set[str], dict[str, None]]:
        """Returns the nodes that some targets need, and the boundary values they read."""
        needed: set[str] = set()
        fed: dict[str, None] = {}
        waiting = list(targets)
        while waiting:
            name = waiting.pop()
            if name in needed:
                continue
            needed.add(name)
            for value in self.producers[name].inputs:
                if value in self.boundary:
                    fed[value] = None
                else:
                    waiting.append(value)
        return needed, fed


def _fed(name: str) -> str:
    return f"fed/{name}"


def _feeding(types: Mapping[str, Type]) -> Iterator[Node]:
    """Yields the nodes that extract the values from the input."""
    begin = 0
    for name, type_ in types.items():
        filled = _filled_shape(type_.shape)
        rows, shaped, whole = (f"{_fed(name)}/{part}" for part in ("rows", "shaped", "whole"))
        size = math.prod(filled) // WIDTH
        yield Node(rows, "slice", ("fed",), {"axis": 0, "begin": begin, "size": size})
        yield Node(shaped, "reshape", (rows,), {"shape": filled})
        last = whole if type_.kind != "real" else _fed(name)
        yield Node(last, "slice", (shaped,), {"axis": 0, "begin": 0, "size": type_.shape[0]})
        if type_.kind == "bits":
            yield Node(_fed(name), "sign", (whole,))
        elif type_.kind == "levels":
            yield Node(_fed(name), "quantize", (whole,), {"bits": type_.bits})
        begin += size
