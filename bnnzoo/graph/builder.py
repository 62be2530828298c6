"""Builds a graph node by node and tracks the type of every value."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

from bnnzoo.graph.ir import Graph, Node, Tensor, Type
from bnnzoo.graph.ops import infer_type

__all__ = ["GraphBuilder", "Names"]


class Names:
    """Names that are taken."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._repeated: collections.Counter[str] = collections.Counter()

    def free(self, wanted: str) -> str:
        """Reserves an unused name: `wanted`, or `wanted` with a number."""
        name = wanted
        while name in self._taken:
            self._repeated[wanted] += 1
            name = f"{wanted}_{self._repeated[wanted] + 1}"
        self._taken.add(name)
        return name


class GraphBuilder:
    """A graph under construction.

    Attributes:
        inputs: Inputs by name; see `add_input`.
        nodes: Nodes by name, in order.
        tensors: Parameters by name.
        types: Types of all values.
        names: Names of all values.
    """

    def __init__(self, inputs: Mapping[str, tuple[int, ...]] | None = None) -> None:
        self.inputs: dict[str, tuple[int, ...]] = {}
        self.nodes: dict[str, Node] = {}
        self.tensors: dict[str, Tensor] = {}
        self.types: dict[str, Type] = {}
        self.names = Names()
        for name, shape in (inputs or {}).items():
            self.add_input(name, shape)

    def add_input(self, name: str, shape: tuple[int, ...]) -> str:
        """Adds a real input under an unused name."""
        name = self.names.free(name)
        self.inputs[name] = shape
        self.types[name] = Type("real", shape)
        return name

    def shape(self, value: str) -> tuple[int, ...]:
        """Returns the shape of a value."""
        return self.types[value].shape

    def add(
        self,
        op: str,
        *inputs: str,
        name: str | None = None,
        tensors: Mapping[str, str | Tensor] | None = None,
        **attributes: Any,
    ) -> str:
        """Appends a node and returns its name.

        Args:
            op: The operation.
            inputs: Names of the values that it reads.
            name: An unused name for the node; None makes one from `op`.
            tensors: Role -> name of an existing tensor, or a new tensor, which is named after the
                node and the role.
            attributes: Attributes of the operation.

        Raises:
            GraphError: The inputs, attributes or tensors do not fit the operation.
        """
        name = name or self.names.free(f"n{len(self.nodes)}_{op}")
        names = {}
        for role, tensor in (tensors or {}).items():
            names[role] = tensor if isinstance(tensor, str) else f"{name}/{role}"
            if not isinstance(tensor, str):
                self.tensors[names[role]] = tensor
        node = Node(name, op, inputs, attributes, names)
        self.types[name] = infer_type(node, self.types, self.tensors)
        self.nodes[name] = node
        return name

    def rename(self, old: str, new: str) -> str:
        """Renames a node that nothing reads yet, and moves it to the end."""
        self.nodes[new] = dataclasses.replace(self.nodes.pop(old), name=new)
        self.types[new] = self.types.pop(old)
        return new

    def clipped(self, value: str, source: str | None = None) -> tuple[str, float, float]:
        """Returns the input of a chain of clips, and the range of its result.

        Args:
            value: The result of the clips, if there are any.
            source: Value at which the chain ends; None follows all clips.
        """
        chain: list[Node] = []
        while value != source and value in self.nodes and self.nodes[value].op == "clip":
            chain.append(self.nodes[value])
            value = chain[-1].inputs[0]
        low, high = -math.inf, math.inf
        for clip in reversed(chain):
            least, most = clip.attributes["low"], clip.attributes["high"]
            low, high = (min(max(end, least), most) for end in (low, high))
        return value, low, high

    def graph(self, *outputs: str) -> Graph:
        """Returns the graph."""
        return Graph(dict(self.inputs), tuple(self.nodes.values()), outputs, dict(self.tensors))
