"""Places values in the arena; memory is reused after a value's last read.

1. A value is alive from the call that writes it to the last call that reads it.
2. A view (reshape) shares the memory of its source, and an elementwise call overwrites its input if
   it is the last reader. In both cases, several values have one buffer.
3. Buffers that are alive at the same time do not overlap: see `graph.arena`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bnnzoo.graph.arena import Block, place

__all__ = ["Plan", "Step", "plan"]


class Step(Protocol):
    """What `plan` needs of a call."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the values that it reads."""

    @property
    def writes(self) -> str:
        """Name of the value that it writes; several calls may write parts of one."""

    @property
    def over(self) -> tuple[str, ...]:
        """Names of the values that it may overwrite if it is their last reader."""

    @property
    def scratch(self) -> int:
        """Cells of scratch memory."""


@dataclass(frozen=True)
class Plan:
    """Offsets in the arena, in cells.

    Attributes:
        values: Offset by name of the value.
        scratch: Offset by index of the call, if it needs scratch memory.
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


def plan(
    steps: Sequence[Step],
    cells: Mapping[str, int],
    views: Mapping[str, str],
    given: Sequence[str],
    kept: Sequence[str],
) -> Plan:
    """Returns the offsets of all values.

    Args:
        steps: The calls, in order.
        cells: Size by name of the value.
        views: View -> its source, which may be a view itself.
        given: Values that exist before the first call.
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
    distinct = [*{id(b): b for b in buffers.values()}.values(), *scratch.values()]
    offsets, size = place([Block(b.cells, b.begin, b.end) for b in distinct])
    at = dict(zip(map(id, distinct), offsets, strict=True))
    values = {name: at[id(buffer)] for name, buffer in buffers.items()}
    for view in views:
        values[view] = values[_root(view, views)]
    return Plan(values, {index: at[id(buffer)] for index, buffer in scratch.items()}, size)


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
    """Returns a value that a call may overwrite, if there is one."""
    for name in step.over:
        source = _root(name, views)
        if buffers[source].end == index:
            return source
    return None
