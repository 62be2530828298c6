"""The graph of a network: nodes over named values, and the table of operations.

A graph is frozen; passes return new ones. Values have no batch axis. Every node computes one
value, which has the node's name. A node may carry an *epilogue*: a chain of elementwise nodes
that a runtime computes while the head's result is still in registers. An epilogue changes when
something is computed, never what: its nodes are ordinary nodes, each with its own value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bnnzoo.errors import GraphError
from bnnzoo.graph.packing import Int8Kernel, PackedSigns

__all__ = ["Graph", "Node", "Tensor", "Type"]

# A parameter: real numbers, the same in 8 bits, int8 signs of a binary kernel, or these as bits.
Tensor = NDArray[Any] | Int8Kernel | PackedSigns


@dataclass(frozen=True)
class Type:
    """What a value is, for one image.

    Attributes:
        kind: `real` numbers; `bits`, each -1 or +1; or `levels` 0 .. 2^bits - 1, which stand for
            level / (2^bits - 1).
        shape: Without the batch axis, channels last.
        bits: Bits per element: 32, 1, or those of the levels.
    """

    kind: Literal["real", "bits", "levels"]
    shape: tuple[int, ...]
    bits: int = 32


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        name: Unique; also the name of its value. The last node of a Keras layer has the layer's
            path, those before it the path and a part: `stage1_conv/sign`.
        op: A row of `bnnzoo.graph.ops.OPS`.
        inputs: Names of values.
        attributes: Settings of the operation, JSON values; sequences are tuples.
        tensors: Role -> name of a tensor of the graph.
        epilogue: Elementwise nodes that are computed with this one. The first input of each is
            the head's value or that of the last real-valued node before it in the epilogue.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, str] = field(default_factory=dict)
    epilogue: tuple[Node, ...] = ()

    def all(self) -> Iterator[Node]:
        """Yields the node itself and its epilogue, in order."""
        yield self
        yield from self.epilogue

    @property
    def head(self) -> Node:
        """The node without its epilogue."""
        return Node(self.name, self.op, self.inputs, self.attributes, self.tensors)


@dataclass(frozen=True)
class Graph:
    """A network.

    Attributes:
        inputs: Name -> shape, `(h, w, c)` or any other without the batch axis; real numbers. Their
            order is that of the network's arguments.
        nodes: In an order in which every value is computed before it is used.
        outputs: Names of the values that the network returns, inputs among them.
        tensors: Parameters by name.
    """

    inputs: Mapping[str, tuple[int, ...]]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, Tensor]

    @property
    def input(self) -> str:
        """Name of the one input.

        Raises:
            GraphError: There are several.
        """
        if len(self.inputs) != 1:
            raise GraphError(f"The graph must have one input, got {', '.join(self.inputs)}.")
        return next(iter(self.inputs))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the one input. Raises as `input` does."""
        return self.inputs[self.input]

    def all_nodes(self) -> Iterator[Node]:
        """Yields every node in order, those of epilogues too."""
        for node in self.nodes:
            yield from node.all()

    def consumers(self) -> dict[str, list[str]]:
        """Returns the names of the nodes that read each value; outputs do not count."""
        readers: dict[str, list[str]] = {name: [] for name in self.inputs}
        for node in self.all_nodes():
            readers[node.name] = []
        for node in self.all_nodes():
            for value in node.inputs:
                readers[value].append(node.name)
        return readers

    def tensor(self, node: Node, role: str) -> Tensor | None:
        """Returns the tensor that has a role at a node, None where it has none."""
        name = node.tensors.get(role)
        return None if name is None else self.tensors[name]

    def flat(self) -> Graph:
        """Returns the same network without epilogues."""
        nodes = tuple(
            Node(n.name, n.op, n.inputs, n.attributes, n.tensors) for n in self.all_nodes()
        )
        return Graph(self.inputs, nodes, self.outputs, self.tensors)


def signs(tensor: Tensor) -> bool:
    """Returns whether a kernel is binary."""
    return isinstance(tensor, PackedSigns) or (
        isinstance(tensor, np.ndarray) and tensor.dtype == np.int8
    )


def numbers(tensor: Tensor) -> NDArray[Any]:
    """Returns a parameter as an array, one in fewer bits unpacked."""
    return tensor if isinstance(tensor, np.ndarray) else tensor.unpack()
