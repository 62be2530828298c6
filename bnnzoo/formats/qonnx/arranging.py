"""Tracks the axis order in which tensors hold the values of a graph.

Values of a graph are channels last, and images in ONNX are channels first. A value is transposed
only when a node needs another order. Permutations, and reshapes that only add or remove axes of one
element, are recorded as another view of the same tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bnnzoo.formats.qonnx.drawing import Drawing, OnnxTensor
from bnnzoo.graph.ir import Graph, Type
from bnnzoo.graph.ops import infer_types

__all__ = ["Arrangement", "Held", "usual_axes"]

Axes = tuple[int, ...]


@dataclass(frozen=True)
class Held:
    """A tensor that holds a value.

    Attributes:
        tensor: Name of the tensor, whose first axis is the batch.
        axes: Axes of the value in the order of the tensor's other axes. Axes of one element may be
            missing.
    """

    tensor: str
    axes: Axes


def usual_axes(rank: int) -> Axes:
    """Returns the axis order of ONNX: channels first for images, unchanged for others."""
    return (2, 0, 1) if rank == 3 else tuple(range(rank))


class Arrangement:
    """The tensors that hold each value, in one or several axis orders.

    Attributes:
        graph: The graph to write.
        types: Types of its values.
        drawing: The ONNX graph.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.types: Mapping[str, Type] = infer_types(graph)
        self.drawing = Drawing(reserved=tuple(self.types))
        self._held: dict[str, list[Held]] = {}

    def shape(self, value: str) -> Axes:
        """Returns the shape of a value in the graph."""
        return self.types[value].shape

    def hold(self, value: str, tensor: str, axes: Axes) -> None:
        """Records that a tensor holds a value."""
        self._held.setdefault(value, []).append(Held(tensor, axes))

    def values(self) -> dict[str, Held]:
        """Returns the tensor in which each value was computed."""
        return {value: variants[0] for value, variants in self._held.items()}

    def held(self, value: str) -> Held:
        """Returns the tensor in which a value was computed."""
        return self._held[value][0]

    def rename(self, old: str, new: str) -> None:
        """Gives a tensor another name."""
        self.drawing.rename(old, new)
        for variants in self._held.values():
            variants[:] = [Held(new, h.axes) if h.tensor == old else h for h in variants]

    def tensor(self, name: str) -> OnnxTensor:
        """Returns the shape and type of a tensor."""
        return self.drawing.tensors[name]

    def long_axes(self, value: str, axes: Axes) -> Axes:
        """Returns the axes with more than one element, or the last axis if there are none."""
        shape = self.shape(value)
        return tuple(a for a in axes if shape[a] > 1) or (len(shape) - 1,)

    def want(self, value: str, axes: Axes) -> str:
        """Returns a tensor that holds a value in this order. Adds nodes if there is none yet."""
        variants = self._held[value]
        for held in variants:
            if held.axes == axes:
                return held.tensor
        long = self.long_axes(value, axes)
        same = [held for held in variants if self.long_axes(value, held.axes) == long]
        held = same[0] if same else self._transposed(value, variants[0], axes)
        if held.axes != axes:
            held = self._reshaped(value, held, axes)
        return held.tensor

    def _transposed(self, value: str, held: Held, axes: Axes) -> Held:
        order = sorted(held.axes, key=lambda axis: axes.index(axis) if axis in axes else len(axes))
        perm = [0, *(1 + held.axes.index(axis) for axis in order)]
        return self._rearranged(value, held, tuple(order), "Transpose", perm=perm)

    def _reshaped(self, value: str, held: Held, axes: Axes) -> Held:
        if len(axes) == 1:
            return self._rearranged(value, held, axes, "Flatten", axis=1)
        return self._rearranged(value, held, axes, "Reshape")

    def _rearranged(self, value: str, held: Held, axes: Axes, op: str, **attributes: Any) -> Held:
        shape = (1, *(self.shape(value)[axis] for axis in axes))
        inputs = [held.tensor]
        if op == "Reshape":
            inputs.append(self.target(value, shape))
        datatype = self.tensor(held.tensor).datatype
        output = self.drawing.fresh(f"{value}/{op.lower()}")
        self.drawing.node(op, inputs, output, OnnxTensor(shape, datatype), **attributes)
        self.hold(value, output, axes)
        return self._held[value][-1]

    def target(self, value: str, shape: Axes) -> str:
        """Returns the constant with the target shape of a Reshape. 0 keeps the batch."""
        return self.drawing.constant(f"{value}/shape", np.array([0, *shape[1:]], np.int64))
