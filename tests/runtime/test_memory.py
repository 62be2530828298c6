"""Where storages lie: apart while both are alive, and views of them to the element."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from bnnzoo.errors import GraphError
from bnnzoo.graph.ir import Graph
from bnnzoo.runtime.layout import Layout, Place, Storage
from bnnzoo.runtime.liveness import Read, Value
from bnnzoo.runtime.memory import MAX_ARENA_BYTES, Memory
from tests.graph.drawn import drawn
from tests.runtime.exact_graphs import exact_graph
from tests.runtime.traced_memory import planned

BORDER = (1, 2, 3, 4)


def placed(name: str, storage: Storage, first: float, last: float) -> tuple[Value, Place]:
    """A value that is all of a storage, with the times of its writing and of its last reading."""
    value = Value(name, first, 0, [Read(last, last, False)])
    storage.members.append(value)
    return value, Place(storage, 0, storage.shape)


def memory_of(*pairs: tuple[Value, Place], expansion: int = 1) -> Memory:
    values = {value.name: value for value, _ in pairs}
    return Memory(Layout(values, {v.name: p for v, p in pairs}, set(), {}), expansion)


def begin(memory: Memory, storage: Storage) -> int:
    """The first byte of a storage, its border included."""
    view = memory.view(Place(storage, 0, storage.shape))
    top, _, left, _ = storage.border
    offset = view.offset - top * view.row - left * view.pixel
    return offset * (4 if storage.kind == "real" else 1)


def lives(storage: Storage) -> tuple[float, float]:
    return (
        min(value.first for value in storage.members),
        max(
            read.end
            for value in storage.members
            for read in (*value.reads, Read(0, value.time, True))
        ),
    )


def kind(storage: Storage) -> tuple[Any, ...]:
    same = storage.shape, storage.planes, storage.border, storage.negative, storage.groups
    return storage.kind, *same


@settings(max_examples=150)
@given(graph=drawn(exact_graph))
def test_storages_that_are_alive_together_lie_apart(graph: Graph) -> None:
    plan = planned(graph)
    storages = list({id(p.storage): p.storage for p in plan.layout.places.values()}.values())
    ranges = [(begin(plan.memory, s), plan.memory.bytes(s)) for s in storages]
    for (one, (at, size)), (other, (there, its_size)) in itertools.combinations(
        zip(storages, ranges, strict=True), 2
    ):
        if at + size <= there or there + its_size <= at:
            continue
        names = [value.name for storage in (one, other) for value in storage.members]
        (first, last), (its_first, its_last) = lives(one), lives(other)
        assert last < its_first or its_last < first, f"{names} share bytes while both are alive"
        if any(one.border) or any(other.border):
            assert kind(one) == kind(other) and at == there, f"{names} write over a border"
    assert all(at % 64 == 0 and at + size <= plan.memory.size for at, size in ranges)


def test_a_chain_takes_two_buffers():
    chain = [placed(f"v{i}", Storage("real", (4, 4, 16)), i, i + 1) for i in range(6)]
    assert memory_of(*chain).size == 2 * 4 * 4 * 16 * 4


def test_maps_of_one_border_take_turns():
    def bordered(i: int, **changes: Any) -> tuple[Value, Place]:
        return placed(
            f"v{i}", Storage("bits", (4, 4, 64), border=BORDER, **changes), 2 * i, 2 * i + 1
        )

    one = memory_of(bordered(0)).size
    assert memory_of(bordered(0), bordered(1)).size == one
    assert memory_of(bordered(0), bordered(1, negative=True)).size == 2 * one
    assert [s.negative for _, s in memory_of(bordered(0), bordered(1, negative=True)).filled] == [
        True
    ]


@pytest.mark.parametrize("expansion", [1, 8])
def test_a_view_begins_behind_the_border(expansion):
    """Bits count bytes and lie in whole words, real numbers count floats."""
    storage = Storage("bits", (5, 6, 130), planes=2, border=BORDER)
    pair = placed("bits", storage, 0, 1)
    view = memory_of(pair, expansion=expansion).view(pair[1])
    pixel = 3 * 8 * expansion
    row = (3 + 6 + 4) * pixel
    assert (view.pixel, view.row, view.plane) == (pixel, row, (1 + 5 + 2) * row)
    assert view.offset == 1 * row + 3 * pixel
    shifted = memory_of(pair, expansion=expansion).view(pair[1], 64)
    assert shifted.offset - view.offset == 8 * expansion


def test_views_of_channels_and_of_other_shapes():
    storage = Storage("real", (5, 6, 10))
    value, whole = placed("x", storage, 0, 1)
    memory = memory_of((value, whole))
    part = memory.view(Place(storage, 3, (5, 6, 4)), 2)
    assert (part.offset, part.row, part.pixel) == (3 + 2, 60, 10)
    flat = memory.view(Place(storage, 0, (1, 1, 300), (1, 1, 300)))
    assert (flat.offset, flat.pixel) == (0, 300)


def test_more_memory_than_a_network_may_take_is_refused():
    pair = placed("x", Storage("real", (2**14, 2**14, 1)), 0, 1)
    assert memory_of(pair).size == MAX_ARENA_BYTES
    more = placed("y", Storage("real", (1, 1, 1)), 0, 1)
    with pytest.raises(GraphError, match=f"at most {MAX_ARENA_BYTES} bytes for one image, got"):
        memory_of(pair, more)


def test_sizes_are_those_of_whole_words():
    memory = memory_of(placed("x", Storage("real", (1, 1, 1)), 0, 1), expansion=2)
    sizes = {c: memory.pixel(Storage("bits", (1, 1, c)), c) for c in (1, 64, 65)}
    assert sizes == {1: 16, 64: 16, 65: 32}
    assert memory.bytes(Storage("real", (1, 1, 17))) == 128
    assert np.prod((3, 1 + 4 + 2, 3 + 5 + 4)) == memory.pixels(
        Storage("bits", (4, 5, 1), planes=3, border=BORDER)
    )
