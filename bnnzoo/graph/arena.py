"""Places blocks of memory by their live ranges.

Blocks are placed one after another, each at the lowest free offset, that is one that no block with
an overlapping live range uses. Three orders are tried: by descending size, which TensorFlow Lite
calls greedy by size (https://arxiv.org/abs/2001.03288), by first use, and by descending last use.
The best of the three is close to the minimum, which is hard to find.
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
        size: Size in any unit; multiples of an alignment stay aligned.
        first: Time of the first write.
        last: Time of the last read.
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
