"""Places blocks of memory by their live ranges.

Blocks are placed one after another, each at the lowest offset where none lies that is in use at the
same time: from the largest to the smallest, which TensorFlow Lite calls greedy by size
(https://arxiv.org/abs/2001.03288), or in the order in which they come into use, or go out of it,
backwards. The best of the three is hardly above the least, which is hard to find.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Block", "place"]


@dataclass(frozen=True)
class Block:
    """A block of memory and its live range.

    Attributes:
        size: In any unit; multiples of an alignment stay aligned.
        first: When it is written first.
        last: When it is read last.
    """

    size: int
    first: float
    last: float


def place(blocks: Sequence[Block]) -> tuple[list[int], int]:
    """Returns the offsets of blocks, and the total size."""
    tried = [_placed(blocks, sorted(range(len(blocks)), key=lambda i: order(blocks[i])))
             for order in _ORDERS]  # fmt: skip
    return min(tried, key=lambda found: found[1])


def _placed(blocks: Sequence[Block], order: Sequence[int]) -> tuple[list[int], int]:
    offsets, whole = [0] * len(blocks), 0
    placed: list[tuple[int, int, float, float]] = []  # begin, end, first and last time
    for index in order:
        block, begin = blocks[index], 0
        for other_begin, other_end, first, last in placed:
            if first <= block.last and block.first <= last and other_end > begin:
                if begin + block.size <= other_begin:
                    break
                begin = other_end
        insort(placed, (begin, begin + block.size, block.first, block.last))
        offsets[index], whole = begin, max(whole, begin + block.size)
    return offsets, whole


_ORDERS: tuple[Callable[[Block], tuple[float, float]], ...] = (
    lambda block: (-block.size, block.first),
    lambda block: (block.first, -block.size),
    lambda block: (-block.last, -block.size),
)
