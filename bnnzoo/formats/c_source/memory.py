"""Where values lie in the arena: one that is read no more makes room for another.

1. A value is alive from the call that writes it to the last one that reads it.
2. Views (reshapes) lie where their source does. An elementwise call that is the last to read its
   input writes over it. Both make one buffer of several values.
3. Buffers are placed one after another, each at the lowest place where none lies that is alive at
   the same time: from the largest to the smallest, which TensorFlow Lite calls greedy by size
   (https://arxiv.org/abs/2001.03288), or in the order in which they come into use, or go out of
   it, backwards. The best of the three is hardly above the least, which is hard to find.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Plan", "Step", "plan"]


class Step(Protocol):
    """What must be known of a call."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the values that it reads."""

    @property
    def writes(self) -> str:
        """Name of the value that it writes; several calls may write parts of one."""

    @property
    def over(self) -> tuple[str, ...]:
        """Names of the values that it may write over, if nobody reads them any more."""

    @property
    def scratch(self) -> int:
        """Cells that it needs to work in."""


@dataclass(frozen=True)
class Plan:
    """Places in the arena, in cells.

    Attributes:
        values: By name of the value.
        scratch: By index of the call, of those that have some.
        cells: Size of the arena.
    """

    values: Mapping[str, int]
    scratch: Mapping[int, int]
    cells: int


@dataclass
class _Buffer:
    cells: int
    begin: int
    end: int
    place: int = -1


def plan(
    steps: Sequence[Step],
    cells: Mapping[str, int],
    views: Mapping[str, str],
    given: Sequence[str],
    kept: Sequence[str],
) -> Plan:
    """Returns where everything lies.

    Args:
        steps: Calls in order.
        cells: Sizes by name of the value.
        views: View -> its source, which may be a view itself.
        given: Values that are there before the first call.
        kept: Values that are read after the last call.
    """
    ends = _ends(steps, views, kept)
    buffers: dict[str, _Buffer] = {}

    def add(name: str, begin: int) -> None:
        buffers[name] = _Buffer(cells[name], begin, ends.get(name, begin))

    for name in given:
        add(name, -1)
    scratch = {}
    for index, step in enumerate(steps):
        if step.writes not in buffers:
            source = _dying(step, index, buffers, views)
            if source is None:
                add(step.writes, index)
            else:
                buffers[step.writes] = buffers[source]
                buffers[source].end = max(index, ends.get(step.writes, index))
        if step.scratch:
            scratch[index] = _Buffer(step.scratch, index, index)
    placed = _place([*{id(b): b for b in buffers.values()}.values(), *scratch.values()])
    values = {name: buffer.place for name, buffer in buffers.items()}
    for view in views:
        values[view] = values[_root(view, views)]
    return Plan(values, {index: buffer.place for index, buffer in scratch.items()}, placed)


def _root(name: str, views: Mapping[str, str]) -> str:
    while name in views:
        name = views[name]
    return name


def _ends(steps: Sequence[Step], views: Mapping[str, str], kept: Sequence[str]) -> dict[str, int]:
    """Returns the last call that reads each value, or a view of it."""
    ends: dict[str, int] = {}
    for index, step in enumerate(steps):
        for name in step.reads:
            ends[_root(name, views)] = index
        ends[step.writes] = max(index, ends.get(step.writes, index))
    for name in kept:
        ends[_root(name, views)] = len(steps)
    return ends


def _dying(
    step: Step, index: int, buffers: Mapping[str, _Buffer], views: Mapping[str, str]
) -> str | None:
    """Returns a value that a call may write over."""
    for name in step.over:
        source = _root(name, views)
        if buffers[source].end == index:
            return source
    return None


def _place(buffers: Sequence[_Buffer]) -> int:
    """Gives every buffer its place, and returns how many cells all of them take."""
    tried = [_places(sorted(buffers, key=order)) for order in _ORDERS]
    cells, places = min(tried, key=lambda found: found[0])
    for buffer, place in places:
        buffer.place = place
    return cells


def _places(buffers: Sequence[_Buffer]) -> tuple[int, list[tuple[_Buffer, int]]]:
    """Returns how many cells are taken, and the places, if buffers are placed in their order."""
    placed: list[tuple[_Buffer, int]] = []
    for buffer in buffers:
        lowest = 0
        for other, place in sorted(placed, key=lambda pair: pair[1]):
            if other.begin <= buffer.end and buffer.begin <= other.end:
                if lowest + buffer.cells <= place:
                    break
                lowest = max(lowest, place + other.cells)
        placed.append((buffer, lowest))
    return max(place + buffer.cells for buffer, place in placed), placed


_ORDERS: tuple[Callable[[_Buffer], tuple[int, int]], ...] = (
    lambda buffer: (-buffer.cells, buffer.begin),
    lambda buffer: (buffer.begin, -buffer.cells),
    lambda buffer: (-buffer.end, -buffer.cells),
)
