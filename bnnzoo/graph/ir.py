"""The graph of a network: nodes over named values, and the table of operations.

A graph is frozen; passes return new ones. Values have no batch axis. Every node computes one
value, which has the node's name. A graph says what is computed, never how: what is computed at once
is decided by whoever runs or writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    """The type of a value, for one image.

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
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, str] = field(default_factory=dict)


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

    def only_readers(self) -> dict[str, Node]:
        """Returns the node that alone reads a value, for each value that has one.

        Only such a node can be fused with what computes the value. Outputs are read by the caller.
        """
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for value in node.inputs:
                readers.setdefault(value, []).append(node)
        for name in self.outputs:
            readers.pop(name, None)
        return {value: nodes[0] for value, nodes in readers.items() if len(nodes) == 1}

    def tensor(self, node: Node, role: str) -> Tensor | None:
        """Returns the tensor that has a role at a node, None where it has none."""
        name = node.tensors.get(role)
        return None if name is None else self.tensors[name]


def signs(tensor: Tensor) -> bool:
    """Returns whether a kernel is binary."""
    return isinstance(tensor, PackedSigns) or (
        isinstance(tensor, np.ndarray) and tensor.dtype == np.int8
    )


def numbers(tensor: Tensor) -> NDArray[Any]:
    """Returns a parameter as an array, one in fewer bits unpacked."""
    return tensor if isinstance(tensor, np.ndarray) else tensor.unpack()
