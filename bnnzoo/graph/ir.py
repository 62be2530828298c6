"""The graph of a network: nodes over named values, and the table of operations.

A graph is frozen; passes return new graphs. Values have no batch axis. Every node computes one
value, which has the node's name. A graph defines what is computed, not how: the runtime or the
writer of a format decides what is fused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bnnzoo.errors import GraphError
from bnnzoo.graph.packing import Int8Kernel, PackedSigns

__all__ = ["Graph", "Inferred", "Node", "Tensor", "Type"]

# A parameter: real numbers, a kernel in 8 bits, int8 signs of a binary kernel, or packed signs.
Tensor = NDArray[Any] | Int8Kernel | PackedSigns


@dataclass(frozen=True)
class Type:
    """The type of a value, for one image.

    Attributes:
        kind: `real` numbers; `bits`, each -1 or +1; or `levels` 0 .. 2^bits - 1, which represent
            level / (2^bits - 1).
        shape: Shape without the batch axis, channels last.
        bits: Bits per element: 32, 1, or those of the levels.
    """

    kind: Literal["real", "bits", "levels"]
    shape: tuple[int, ...]
    bits: int = 32


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        name: Unique name of the node and its value. The last node of a Keras layer is named by the
            layer's path, those before it by the path and a part: `stage1_conv/sign`.
        op: Name of an operation in `bnnzoo.graph.ops.OPS`.
        inputs: Names of values.
        attributes: Attributes of the operation, JSON values; sequences are tuples.
        tensors: Role -> name of a tensor of the graph.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Inferred:
    """The type of a node's value, and what it was inferred from.

    Attributes:
        node: The node.
        inputs: Types of its inputs.
        tensors: Its tensors, in the order of their roles.
        type: Type of its value.
    """

    node: Node
    inputs: tuple[Type, ...]
    tensors: tuple[Tensor, ...]
    type: Type


@dataclass(frozen=True)
class Graph:
    """A network.

    Attributes:
        inputs: Name -> shape without the batch axis, such as `(h, w, c)`; real numbers, in the
            order of the network's arguments.
        nodes: The nodes, each after those it reads.
        outputs: Names of the values that the network returns; they may be inputs.
        tensors: Parameters by name.
        inferred: Types of nodes, by the node's `id`. `infer_types` keeps them here, so that after a
            pass it infers only the nodes that have changed.
    """

    inputs: Mapping[str, tuple[int, ...]]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    inferred: dict[int, Inferred] = field(default_factory=dict, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "inferred": {}}

    @property
    def input(self) -> str:
        """Name of the input, if there is only one.

        Raises:
            GraphError: There are several inputs.
        """
        if len(self.inputs) != 1:
            raise GraphError(f"The graph must have one input, got {', '.join(self.inputs)}.")
        return next(iter(self.inputs))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the input; raises the same error as `input`."""
        return self.inputs[self.input]

    def only_readers(self) -> dict[str, Node]:
        """Returns the only reader of each value that has exactly one.

        Only such a node can be fused with the node that computes the value. Outputs of the graph
        are not included, since the caller reads them.
        """
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for value in node.inputs:
                readers.setdefault(value, []).append(node)
        for name in self.outputs:
            readers.pop(name, None)
        return {value: nodes[0] for value, nodes in readers.items() if len(nodes) == 1}

    def tensor(self, node: Node, role: str) -> Tensor | None:
        """Returns the tensor with a role in a node; None if the node has none."""
        name = node.tensors.get(role)
        return None if name is None else self.tensors[name]


def signs(tensor: Tensor) -> bool:
    """Returns whether a kernel is binary."""
    return isinstance(tensor, PackedSigns) or (
        isinstance(tensor, np.ndarray) and tensor.dtype == np.int8
    )


def sum_inputs(kernel: Tensor) -> NDArray[np.int32]:
    """Returns the sum over the input channels of a binary kernel, `(c_out, kernel_h, kernel_w)`."""
    if isinstance(kernel, PackedSigns):
        return kernel.sum_inputs()
    sums: NDArray[np.int32] = numbers(kernel).sum(axis=-1, dtype=np.int32)
    return sums


def numbers(tensor: Tensor) -> NDArray[Any]:
    """Returns a parameter as an array, unpacked if it is stored in fewer bits."""
    return tensor if isinstance(tensor, np.ndarray) else tensor.unpack()
