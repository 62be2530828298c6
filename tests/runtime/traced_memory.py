"""Follows values through the arena: says which read finds something else than what it reads.

Numbers do not matter here. Every element of a value is an integer of its own, and a program writes
these integers where the planner says that the elements lie. Slices, reshapes and concats pass
integers on; all else makes new ones. A call may compute its pixels in any order, since threads
share them, but each block of channels of a pixel in the order of its chain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bnnzoo.graph.ir import Graph, Type
from bnnzoo.graph.ops import infer_types
from bnnzoo.runtime.layout import Layout, place_values
from bnnzoo.runtime.liveness import extent
from bnnzoo.runtime.lowering import BLOCK, Call, calls, legalize, map_shape
from bnnzoo.runtime.memory import Memory

# What no value has: memory as it is made, a border of -1, and what depends on the order of threads.
ZEROS, NEGATIVE, RACE = 0, -1, -2
# What the bytes of a word of bits are for the kernels of some instruction sets.
EXPANSIONS = (1, 2, 8)


@dataclass(frozen=True)
class Planned:
    """A graph as the planner leaves it."""

    graph: Graph
    types: dict[str, Type]
    calls: list[Call]
    layout: Layout
    memory: Memory


def planned(graph: Graph, expansion: int = 1) -> Planned:
    """Plans a graph, without the engine."""
    graph = legalize(graph)
    types = infer_types(graph)
    order = calls(graph, types)
    layout = place_values(graph, types, order)
    return Planned(graph, types, order, layout, Memory(layout, expansion))


def mistakes(plan: Planned) -> list[str]:
    """Returns a sentence for each read that finds other values than those that it asks for."""
    return list(_Arena(plan).run())


@dataclass(frozen=True)
class _Write:
    """What one node of a call writes: `elements` into `cells`, at a position of the chain."""

    position: int
    cells: Any
    elements: Any
    pixels: Any  # which block of channels of which pixel: the unit that a thread computes


class _Arena:
    """The memory of one image, in cells of four bytes."""

    def __init__(self, plan: Planned) -> None:
        self.plan = plan
        self.cells = np.full(plan.memory.size // 4 + 1, ZEROS, np.int64)
        self.elements: dict[str, Any] = {}
        self.names: list[tuple[int, str]] = []
        self.next = 1
        for offset, storage in plan.memory.filled:
            begin = offset // 4
            self.cells[begin : begin + plan.memory.bytes(storage) // 4] = NEGATIVE

    def run(self) -> Iterator[str]:
        for name in self.plan.graph.inputs:
            made = self.made(name)
            self.cells[self.where(name)] = made[..., None]
        for call in self.plan.calls:
            yield from self.call(call)
        for name in self.plan.graph.outputs:
            yield from self.read("The caller", name)

    def call(self, call: Call) -> Iterator[str]:
        """Runs one call; what it reads must be there while any of its pixels is computed."""
        before, who = self.cells.copy(), f"{call.node.name} ({call.op})"
        inside: list[tuple[str, int]] = []  # read pixel by pixel, and at which position
        shape = extent(call, self.plan.types)
        if call.op == "elementwise" and self.plan.types[call.inputs[0]].shape == shape:
            inside.append((call.inputs[0], 0))
        outside = [name for name in call.inputs if (name, 0) not in inside]
        writes = list(self.head(call))
        for position, part in enumerate(call.epilogue, start=1):
            for name in part.inputs[1:]:
                if self.plan.types[name].shape == shape:
                    inside.append((name, position))
                else:
                    outside.append(name)
            made = self.made(part.name)
            if part.name in self.plan.layout.places:
                writes.append(self.write(position, part.name, made))
        for name, position in inside:
            yield from self.read_inside(who, name, position, before, writes)
        self.commit(writes)
        yield from self.read(who, *outside)
        if any(call.node.attributes.get("padding", ())) and "conv2d" in call.op:
            yield from self.read_border(who, call)

    def head(self, call: Call) -> Iterator[_Write]:
        """Makes the head's value; what is a view of others is there already."""
        name, layout = call.value, self.plan.layout
        if name is None:
            return
        moved = self.moved(call)
        made = self.made(name) if moved is None else moved
        self.elements[name] = made
        if name in layout.views:
            for position in layout.copied.get(name, ()):
                parts = [self.elements[source].shape[-1] for source in call.inputs]
                first = sum(parts[:position])
                channels = slice(first, first + parts[position])
                yield self.write(0, name, made, channels)
        elif name in layout.places:
            yield self.write(0, name, made)

    def moved(self, call: Call) -> Any:
        """Returns the elements of a call that only passes on what it reads, None of others."""
        sources, attributes = [self.elements[name] for name in call.inputs], call.node.attributes
        shape = self.plan.types[str(call.value)].shape
        if call.op == "reshape" and self.plan.types[call.inputs[0]].kind != "real":
            if call.value not in self.plan.layout.views:
                return None
            return sources[0].reshape(len(sources[0]), *map_shape(shape)[:2], -1)
        if call.op not in ("slice", "concat", "reshape"):
            return None
        whole = [
            source.reshape(self.plan.types[name].shape)
            for source, name in zip(sources, call.inputs, strict=True)
        ]
        if call.op == "slice":
            begin, size = attributes["begin"], attributes["size"]
            whole = [np.take(whole[0], range(begin, begin + size), attributes["axis"])]
        axis = attributes["axis"] if call.op == "concat" else 0
        return np.concatenate(whole, axis).reshape(1, *map_shape(shape))

    def made(self, name: str) -> Any:
        """Returns new integers for a value: `(planes, rows, columns, channels or words)`."""
        type_ = self.plan.types[name]
        rows, columns, channels = map_shape(type_.shape)
        words = channels if type_.kind == "real" else -(-channels // BLOCK)
        shape = (type_.bits if type_.kind == "levels" else 1, rows, columns, words)
        count = int(np.prod(shape))
        self.elements[name] = np.arange(self.next, self.next + count).reshape(shape)
        self.names.append((self.next, name))
        self.next += count
        return self.elements[name]

    def where(
        self, name: str, channels: slice = slice(None), border: Sequence[int] = (0, 0, 0, 0)
    ) -> Any:
        """Returns the cells of a value; the last axis has those of a word of bits."""
        place, memory = self.plan.layout.places[name], self.plan.memory
        view, real = memory.view(place), place.storage.kind == "real"
        planes, *_, words = self.elements[name].shape
        rows, columns, _ = map_shape(self.plan.types[name].shape)
        top, bottom, left, right = border
        unit = 1 if real else memory.pixel(place.storage, BLOCK)
        axes = (
            np.arange(planes) * view.plane,
            np.arange(-top, rows + bottom) * view.row,
            np.arange(-left, columns + right) * view.pixel,
            np.arange(words)[channels] * unit,
        )
        first = view.offset + sum(np.ix_(*axes))
        return first[..., None] + 0 if real else first[..., None] // 4 + np.arange(unit // 4)

    def write(self, position: int, name: str, made: Any, channels: slice = slice(None)) -> _Write:
        cells = self.where(name, channels)
        pixels = np.arange(made.size).reshape(made.shape)
        if self.plan.layout.places[name].storage.kind != "real":
            pixels = -1 - pixels  # of another kind: never those of a real number
        spread = np.broadcast_to(made[..., channels, None], cells.shape)
        return _Write(
            position, cells, spread, np.broadcast_to(pixels[..., channels, None], cells.shape)
        )

    def commit(self, writes: Sequence[_Write]) -> None:
        """Leaves the last of what a pixel wrote; nobody knows which of two pixels was last."""
        writer = np.full(self.cells.shape, np.iinfo(np.int64).min)
        for write in writes:
            new = writer[write.cells] == np.iinfo(np.int64).min
            same = writer[write.cells] == write.pixels
            self.cells[write.cells] = np.where(new | same, write.elements, RACE)
            writer[write.cells] = write.pixels

    def read(self, who: str, *names: str) -> Iterator[str]:
        for name in names:
            found = self.cells[self.where(name)]
            yield from self.compare(who, name, found)

    def read_inside(
        self, who: str, name: str, position: int, before: Any, writes: Sequence[_Write]
    ) -> Iterator[str]:
        """Reads a pixel's channels in a chain, when all others may be written already."""
        found, cells = before.copy(), self.where(name)
        pixels = np.broadcast_to(
            np.arange(cells.size // cells.shape[-1]).reshape(*cells.shape[:-1], 1), cells.shape
        )
        own = np.full(self.cells.shape, -1)
        own[cells] = pixels
        for write in writes:
            same = own[write.cells] == write.pixels
            if write.position < position:
                found[write.cells] = write.elements
            found[write.cells] = np.where(same, found[write.cells], RACE)
        yield from self.compare(who, name, found[cells])

    def read_border(self, who: str, call: Call) -> Iterator[str]:
        """Reads what a padded convolution takes for the pixels around its input."""
        name, padding = call.inputs[0], call.node.attributes["padding"]
        type_ = self.plan.types[name]
        negative = type_.kind == "levels" or call.node.attributes.get("pad_value", 0) < 0
        expected = NEGATIVE if type_.kind != "real" and negative else ZEROS
        found = self.cells[self.where(name, border=padding)]
        top, _, left, _ = padding
        rows, columns, _ = map_shape(type_.shape)
        found[:, top : top + rows, left : left + columns] = expected
        wrong = found[found != expected]
        if wrong.size:
            yield f"{who} reads the border of {name!r}, where {self.owner(wrong[0])} lies"

    def compare(self, who: str, name: str, found: Any) -> Iterator[str]:
        wrong = found != self.elements[name][..., None]
        if wrong.any():
            lies = self.owner(found[wrong][0])
            yield f"{who} reads {name!r}, but {wrong.sum()} of its cells hold {lies}"

    def owner(self, element: int) -> str:
        """Says whose an element is."""
        if element <= ZEROS:
            return {ZEROS: "nothing", NEGATIVE: "a border", RACE: "what another pixel wrote"}[
                int(element)
            ]
        begins = [begin for begin, _ in self.names]
        return repr(self.names[int(np.searchsorted(begins, element, "right")) - 1][1])
