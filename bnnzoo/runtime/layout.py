"""Assigns each value a storage, a channel offset and a border.

Few operations move data. A slice of channels is a view of its source. The inputs of a concat are
computed inside its result, so that a whole dense block has one storage. A sum overwrites a summand
that is not read later. These are optimizations: a value that cannot be placed in this way is
copied.

Values share channels of a storage as long as nothing is overwritten that is read later.
`_overwrites` decides this for a pair of values, and storages are never merged without it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bnnzoo.graph.ir import Graph, Type
from bnnzoo.runtime.borders import NO_BORDER, Border, Borders, find_borders, widest
from bnnzoo.runtime.liveness import Value, liveness
from bnnzoo.runtime.lowering import BLOCK, OWN, Call, map_shape

__all__ = ["Layout", "Place", "Storage", "place_values"]

Shape3 = tuple[int, int, int]  # rows, columns, channels

# Pairs of values that a merge may compare, so that planning time is proportional to the graph's
# size. Networks of papers need up to 100.
_MAX_PAIRS = 1000


@dataclass(eq=False)
class Storage:
    """Memory of a feature map and its border.

    Attributes:
        kind: `real` or `bits`; levels are bits in several planes.
        shape: Rows, columns and channels, without the border.
        planes: Number of bit planes.
        border: Pixels above, below, left and right: 0, or for bits +1, or if `negative`, -1.
        negative: See `border`.
        groups: For bits: number of groups of channels, each of which begins with a new word, and
            the channels per group.
        dense: Whether it is also read in other shapes, so that it has neither a border nor other
            channels.
        members: The values in it.
    """

    kind: str
    shape: Shape3
    planes: int = 1
    border: Border = NO_BORDER
    negative: bool = False
    groups: tuple[int, int] = (1, 0)
    dense: bool = False
    members: list[Value] = field(default_factory=list)


@dataclass
class Place:
    """The location of a value.

    Attributes:
        storage: Its storage.
        first: Its first channel in the storage.
        shape: Its rows, columns and channels.
        view: The shape in which it sees the whole storage; None if it is the storage's own shape.
    """

    storage: Storage
    first: int
    shape: Shape3
    view: Shape3 | None = None

    def overlaps(self, other: Place) -> bool:
        """Returns whether two places of one storage have elements in common."""
        if self.view != other.view:
            return True
        return (
            self.first < other.first + other.shape[2] and other.first < self.first + self.shape[2]
        )

    def matches(self, other: Place) -> bool:
        """Returns whether two places of one storage have the same elements in the same order."""
        return (self.first, self.shape, self.view) == (other.first, other.shape, other.view)


@dataclass(frozen=True)
class Layout:
    """The places of all values in memory.

    Attributes:
        values: Values by name.
        places: Places by name.
        views: Names of the values that are views of others and need no call.
        copied: Name of a concat -> positions of the inputs that its call has to copy.
    """

    values: dict[str, Value]
    places: dict[str, Place]
    views: set[str]
    copied: dict[str, list[int]]


def place_values(graph: Graph, types: Mapping[str, Type], calls: Sequence[Call]) -> Layout:
    """Computes the layout of a graph."""
    placer = _Placer(calls, types, liveness(graph, types, calls))
    for name in graph.inputs:
        placer.write(placer.values[name])
    for index, call in enumerate(calls):
        if call.op in ("slice", "reshape") and call.value in placer.values:
            placer.view(call)
        elif call.op == "concat" and call.value in placer.values:
            placer.concat(call)
        else:
            for value in placer.written[index]:
                placer.write(value)
    for index, call in enumerate(calls):
        for value in placer.written[index]:
            placer.overwrite(value, call)
    return placer.layout


class _Placer:
    """The layout under construction. Calls are placed in order, then sums are overwritten."""

    def __init__(
        self, calls: Sequence[Call], types: Mapping[str, Type], values: dict[str, Value]
    ) -> None:
        self.types = types
        self.values = values
        self.borders: Borders = find_borders(calls, types)
        self.groups = {
            call.value: _word_groups(call, types) for call in calls if call.op == "regroup"
        }
        self.written: list[list[Value]] = [[] for _ in calls]
        for value in self.values.values():
            if value.call >= 0:
                self.written[value.call].append(value)
        self.layout = Layout(self.values, {}, set(), {})
        self.places = self.layout.places

    def write(self, value: Value) -> None:
        """Gives a value its own storage."""
        type_ = self.types[value.name]
        kind = "real" if type_.kind == "real" else "bits"
        planes = type_.bits if type_.kind == "levels" else 1
        border, negative = self.borders.of(value.name)
        storage = Storage(kind, map_shape(type_.shape), planes, border, negative)
        storage.groups = self.groups.get(value.name, (1, storage.shape[2]))
        storage.members.append(value)
        self.places[value.name] = Place(storage, 0, storage.shape)

    def view(self, call: Call) -> None:
        """Makes a slice or a reshape a view of its source, or gives it a storage."""
        value = self.values[call.node.name]
        source = self.values[call.inputs[0]]
        place = self._sliced(call) if call.op == "slice" else self._reshaped(call)
        if place is None:
            self.write(value)
            return
        self.layout.views.add(value.name)
        self.written[value.call].remove(value)
        value.first, value.sources = source.first, source.sources
        place.storage.members.append(value)
        self.places[value.name] = place

    def _sliced(self, call: Call) -> Place | None:
        source, shape = self.places[call.inputs[0]], self.types[call.node.name].shape
        if call.node.attributes["axis"] != len(shape) - 1:
            return None
        if self.borders.of(call.node.name)[0] != NO_BORDER and source.storage.dense:
            return None
        first = source.first + call.node.attributes["begin"]
        return Place(source.storage, first, map_shape(shape), source.view)

    def _reshaped(self, call: Call) -> Place | None:
        source, shape = self.places[call.inputs[0]], map_shape(self.types[call.node.name].shape)
        storage, border = source.storage, self.borders.of(call.node.name)[0]
        if call.node.name in self.borders.separate:
            return None
        if shape == source.shape and (border == NO_BORDER or not storage.dense):
            return Place(storage, source.first, shape, source.view)
        whole = source.first == 0 and source.shape == (source.view or storage.shape)
        words = storage.kind == "real" or source.shape[2] % BLOCK == 0 == shape[2] % BLOCK
        if not whole or not words or border != NO_BORDER or storage.border != NO_BORDER:
            return None
        storage.dense = True
        return Place(storage, 0, shape, shape if shape != storage.shape else None)

    def concat(self, call: Call) -> None:
        """Places as many inputs of a concat as possible inside its result."""
        value = self.values[call.node.name]
        self.write(value)
        if call.node.attributes["axis"] != len(self.types[value.name].shape) - 1:
            return
        self.written[value.call].remove(value)
        self.layout.views.add(value.name)
        copies = self._copies(value, call)
        for position, (name, copy) in enumerate(zip(call.inputs, copies, strict=True)):
            source = self.values[name]
            if self._place_input(source, copy, value):
                value.sources = (value.sources - {copy}) | source.sources
                self.places.pop(copy.name).storage.members.remove(copy)
            else:
                self.layout.copied.setdefault(value.name, []).append(position)
        value.first = min(source.time for source in value.sources)

    def _copies(self, value: Value, call: Call) -> list[Value]:
        """Adds a value for each input that a concat copies: at first for all of them."""
        result, first = self.places[value.name], 0
        copies = []
        for position, name in enumerate(call.inputs):
            copy = Value(f"{value.name}{OWN}{position}", value.time, value.call)
            shape = (*result.shape[:2], self.types[name].shape[-1])
            self.places[copy.name] = Place(result.storage, first, shape)
            result.storage.members.append(copy)
            copies.append(copy)
            first += shape[2]
        value.sources = frozenset(copies)
        return copies

    def _place_input(self, source: Value, copy: Value, value: Value) -> bool:
        """Moves an input to where its copy would be."""
        place, target = self.places[source.name], self.places[copy.name]
        if place.view is not None or target.storage.dense:
            return False
        if place.storage is target.storage:
            return place.first == target.first
        # The result is read only when it is complete, so that writing its parts is allowed.
        shift = target.first - place.first
        return self._merge(place.storage, target.storage, shift, (value, copy))

    def overwrite(self, value: Value, call: Call) -> None:
        """Places a value over an operand of its call that is not read later."""
        place = self.places[value.name]
        if place.storage.kind != "real" or call.op == "concat":
            return
        operands = [name for part in call.epilogue for name in part.inputs[1:]]
        if call.op == "elementwise":
            operands += call.inputs
        for name in operands:
            over = self.places[name]
            if (
                over.storage is not place.storage
                and over.shape == place.shape
                and self._merge_places(place, over)
            ):
                return

    def _merge_places(self, place: Place, over: Place) -> bool:
        """Merges two places; the smaller storage becomes a part of the larger one."""
        if over.view is not None or place.view is not None:
            return False
        if place.storage.shape[2] <= over.storage.shape[2]:
            return self._merge(place.storage, over.storage, over.first - place.first)
        return self._merge(over.storage, place.storage, place.first - over.first)

    def _merge(
        self, part: Storage, whole: Storage, shift: int, spare: Sequence[Value] = ()
    ) -> bool:
        """Moves a storage into another, from channel `shift` on; returns False if impossible.

        Members of `whole` in `spare` are ignored.
        """
        border = widest(part.border, whole.border)
        resized = part.shape != whole.shape
        if (
            part.shape[:2] != whole.shape[:2]
            or not 0 <= shift <= whole.shape[2] - part.shape[2]
            or (part.dense and resized)
            or ((part.dense or whole.dense) and border != NO_BORDER)
            or len(part.members) * len(whole.members) > _MAX_PAIRS
        ):
            return False
        moved = {}
        for name in (value.name for value in part.members):
            first = self.places[name].first + shift
            moved[name] = dataclasses.replace(self.places[name], storage=whole, first=first)
        for mine in part.members:
            for other in whole.members:
                places = moved[mine.name], self.places[other.name]
                if other not in spare and (
                    _overwrites(mine, other, *places) or _overwrites(other, mine, *places[::-1])
                ):
                    return False
        whole.border, whole.dense = border, part.dense or whole.dense
        whole.members += part.members
        self.places |= moved
        return True


def _word_groups(call: Call, types: Mapping[str, Type]) -> tuple[int, int]:
    groups: int = call.node.attributes["groups"]
    return groups, types[call.inputs[0]].shape[-1] // groups


def _overwrites(writer: Value, value: Value, its_place: Place, place: Place) -> bool:
    """Returns whether writing `writer` overwrites a part of `value` that is read later."""
    written = writer in writer.sources
    if not written or writer in value.sources or not its_place.overlaps(place):
        return False
    matches = its_place.matches(place)
    if not matches and any(source.call == writer.call for source in value.sources):
        return True  # pixels of both are written alternately
    if value.first > writer.time:
        return False
    for read in value.reads:
        if matches and read.pixelwise:
            if read.time > writer.time:
                return True
        elif read.end >= writer.time:
            return True
    return False
