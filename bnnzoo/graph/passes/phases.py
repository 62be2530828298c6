"""A transposed convolution becomes one convolution per phase of its strides.

Along an axis of stride s, tap u and input i contribute to output p if i s + u d = p + crop. Of the
outputs p = s m + r, r = 0 .. s - 1, those of phase r are reached only by taps with
u d = r + crop modulo s, which are every (s / g)-th tap, g = gcd(s, d). With u = u0 + (s / g) a,
a = 0 .. A - 1,

    i = m - e - a d / g,    e = (u0 d - r - crop) / s

so that, with the taps in reverse order, phase r is a convolution with A taps at dilation d / g and

    e + (A - 1) d / g pixels of border before the image.

No zeros are inserted between the inputs, so that signs stay signs, with zeros around the image
only. The phases are concatenated as channels; the last step interleaves them:

    (m, n, (r, q, c)) -> (m, r, n, q, c) -> (m s + r, n s + q, c)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.graph.builder import Names
from bnnzoo.graph.ir import Graph, Node, Tensor, numbers
from bnnzoo.graph.ops import infer_types
from bnnzoo.graph.packing import Int8Kernel
from bnnzoo.graph.passes.drop_unused import drop_identities, drop_unused

__all__ = ["phases"]

_PER_CHANNEL = ("affine", "clip", "prelu")


def phases(graph: Graph) -> Graph:
    """Splits transposed convolutions, with the per-channel operations after them, into phases."""
    if not any(node.op.endswith("conv2d_transpose") for node in graph.nodes):
        return graph
    splitter = _Splitter(graph)
    for node in graph.nodes:
        splitter.add(node)
    split = dataclasses.replace(graph, nodes=tuple(splitter.nodes), tensors=splitter.tensors)
    return drop_unused(drop_identities(split))


@dataclass(frozen=True)
class _Phase:
    """The taps that reach every s-th output along an axis.

    Attributes:
        taps: The taps, in reverse order.
        dilation: Distance of two taps.
        offset: e in the module's docstring.
    """

    taps: range
    dilation: int
    offset: int

    @property
    def before(self) -> int:
        """Pixels of border before the image, for outputs from m = 0 on."""
        return self.offset + (len(self.taps) - 1) * self.dilation if self.taps else 0


@dataclass(frozen=True)
class _Axis:
    """All phases along an axis, and the range of outputs m computed for each."""

    phases: tuple[_Phase, ...]
    inputs: int
    begin: int
    end: int

    @classmethod
    def of(cls, node: Node, axis: int, taps: int, inputs: int) -> _Axis:
        """Returns the phases of a node along an axis."""
        stride, rate = node.attributes["strides"][axis], node.attributes["dilation"][axis]
        crop, size = node.attributes["crop"][axis], node.attributes["pixels"][axis]
        step = stride // math.gcd(stride, rate)
        found = []
        for r in range(stride):
            first = next((u for u in range(taps) if (u * rate - r - crop) % stride == 0), taps)
            offset = (first * rate - r - crop) // stride
            reverse = range(first, taps, step)[::-1]
            found.append(_Phase(reverse, rate * step // stride, offset))
        # A border cannot be negative: the convolution begins earlier and ends later instead.
        begin = min(0, *(phase.before for phase in found))
        last = max(inputs - 1 + phase.offset for phase in found if phase.taps)
        return cls(tuple(found), inputs, begin, max(-(-size // stride), last + 1))

    def padding(self, phase: _Phase) -> tuple[int, int]:
        """Returns the border before and after the image."""
        return phase.before - self.begin, self.end - phase.offset - self.inputs


class _Splitter:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.types = infer_types(graph)
        self.tensors: dict[str, Tensor] = dict(graph.tensors)
        self.names = Names((*self.types, *graph.tensors))
        self.readers = graph.only_readers()
        self.nodes: list[Node] = []
        self.done: set[str] = set()

    def add(self, node: Node) -> None:
        """Appends a node, or the convolutions that replace a transposed one."""
        if not node.op.endswith("conv2d_transpose"):
            self.nodes += [node] if node.name not in self.done else []
            return
        chain = list(self._chain(node))
        self.done.update(part.name for part in chain)
        size = self.types[node.inputs[0]].shape
        taps = self.graph.tensors[node.tensors["kernel"]].shape[1:3]
        axes = _Axis.of(node, 0, taps[0], size[0]), _Axis.of(node, 1, taps[1], size[1])
        parts = [
            self._phase(node, chain, axes, row, column)
            for row in axes[0].phases
            for column in axes[1].phases
        ]
        self._deal([node, *chain][-1].name, node, axes, parts)

    def _chain(self, node: Node) -> Iterator[Node]:
        """Yields the operations after a node that are the same for every pixel."""
        reader = self.readers.get(node.name)
        while reader is not None and reader.op in _PER_CHANNEL:
            yield reader
            reader = self.readers.get(reader.name)

    def _phase(
        self, node: Node, chain: list[Node], axes: tuple[_Axis, _Axis], row: _Phase, column: _Phase
    ) -> str:
        """Appends the convolution of one phase and the operations after it."""
        reached = bool(row.taps and column.taps)
        row, column = (
            phase if phase.taps else next(p for p in axis.phases if p.taps)
            for phase, axis in ((row, axes[0]), (column, axes[1]))
        )
        name = self._convolution(node, axes, row, column)
        if not reached:  # by any tap, if strides are larger than the kernel
            zeros = self.names.free(f"{name}/zeros")
            self.nodes.append(Node(zeros, "clip", (name,), {"low": 0.0, "high": 0.0}))
            name = zeros
        for part in chain:
            copy = self.names.free(f"{part.name}/phase")
            self.nodes.append(dataclasses.replace(part, name=copy, inputs=(name,)))
            name = copy
        return name

    def _convolution(
        self, node: Node, axes: tuple[_Axis, _Axis], row: _Phase, column: _Phase
    ) -> str:
        name = self.names.free(f"{node.name}/phase")
        kernel = self.names.free(f"{name}/kernel")
        self.tensors[kernel] = _part(self.graph.tensors[node.tensors["kernel"]], row, column)
        attributes = {
            "strides": (1, 1),
            "dilation": (row.dilation, column.dilation),
            "padding": (*axes[0].padding(row), *axes[1].padding(column)),
            "groups": 1,
        }
        op = node.op.removesuffix("_transpose")
        if op == "bconv2d":
            attributes["pad_value"] = 0
        self.nodes.append(Node(name, op, node.inputs, attributes, {"kernel": kernel}))
        return name

    def _deal(self, name: str, node: Node, axes: tuple[_Axis, _Axis], parts: list[str]) -> None:
        """Appends the nodes that interleave the phases and crop the image."""
        strides, pixels = node.attributes["strides"], node.attributes["pixels"]
        rows, columns = (axis.end - axis.begin for axis in axes)
        channels = self.types[node.name].shape[2]
        steps: list[tuple[str, dict[str, Any]]] = [("concat", {"axis": 2})]
        whole = [rows * strides[0], columns * strides[1]]
        if strides != (1, 1):
            steps += [
                ("reshape", {"shape": (rows, columns, *strides, channels)}),
                ("permute", {"axes": (0, 2, 1, 3, 4)}),
                ("reshape", {"shape": (*whole, channels)}),
            ]
        for axis in (0, 1):
            if whole[axis] != pixels[axis]:
                begin = -axes[axis].begin * strides[axis]
                steps.append(("slice", {"axis": axis, "begin": begin, "size": pixels[axis]}))
        values = tuple(parts)
        for place, (op, attributes) in enumerate(steps, 1):
            last = place == len(steps)
            new = name if last else self.names.free(f"{node.name}/{op}")
            self.nodes.append(Node(new, op, values, attributes))
            values = (new,)


def _part(kernel: Tensor, row: _Phase, column: _Phase) -> Tensor:
    """Returns the taps of a phase, signs as int8."""
    if isinstance(kernel, Int8Kernel):
        return Int8Kernel(_taps(kernel.levels, row, column), kernel.scale)
    return _taps(numbers(kernel), row, column)


def _taps(values: NDArray[Any], row: _Phase, column: _Phase) -> NDArray[Any]:
    return np.ascontiguousarray(values[:, list(row.taps)][:, :, list(column.taps)])
