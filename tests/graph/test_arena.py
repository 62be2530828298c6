"""Blocks that are in use at the same time lie apart, and the others share memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bnnzoo.graph.arena import Block, place


def block(size: int, first: int, length: int) -> Block:
    return Block(size, first, first + length)


BLOCKS = st.lists(
    st.builds(block, st.integers(1, 9), st.integers(0, 9), st.integers(0, 5)), max_size=12
)


@given(BLOCKS)
def test_blocks_in_use_at_the_same_time_lie_apart(blocks):
    offsets, size = place(blocks)
    spans = list(zip(offsets, blocks, strict=True))
    for i, (a, one) in enumerate(spans):
        assert a >= 0 and a + one.size <= size
        for b, other in spans[:i]:
            meet = one.first <= other.last and other.first <= one.last
            assert not meet or a + one.size <= b or b + other.size <= a


@given(BLOCKS)
def test_memory_is_between_what_is_needed_at_once_and_all(blocks):
    times = {b.first for b in blocks}
    at_once = [sum(b.size for b in blocks if b.first <= t <= b.last) for t in times]
    assert max(at_once, default=0) <= place(blocks)[1] <= sum(b.size for b in blocks)


def test_blocks_one_after_another_share_memory():
    assert place([Block(4, 0, 1), Block(3, 2, 3), Block(4, 4, 4)]) == ([0, 0, 0], 4)


def test_a_small_block_fits_between_two():
    blocks = [Block(4, 0, 9), Block(4, 0, 2), Block(8, 1, 9), Block(4, 3, 9)]
    assert place(blocks)[1] == 16
