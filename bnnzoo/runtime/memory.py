"""Assigns storages their offsets in the arena of one image."""

from __future__ import annotations

from dataclasses import dataclass

from bnnzoo.errors import GraphError
from bnnzoo.graph.arena import Block, place
from bnnzoo.runtime.layout import Layout, Place, Storage
from bnnzoo.runtime.lowering import BLOCK

__all__ = ["MAX_ARENA_BYTES", "Memory", "View"]

# For one image. Limits what a broken file can allocate; far more than any network needs.
MAX_ARENA_BYTES = 2**30

_ALIGNMENT = 64


@dataclass(frozen=True)
class View:
    """A map in the arena, in floats for real numbers and in bytes for bits.

    Attributes:
        offset: Offset of the first pixel's first channel.
        row: Distance of two rows.
        pixel: Distance of two pixels.
        plane: Distance of two bit planes.
    """

    offset: int
    row: int
    pixel: int
    plane: int = 0


class Memory:
    """The arena: an offset for every storage.

    Storages that are not alive at the same time may overlap. A storage with a border shares memory
    only with others of the same shape and border, because the border is written only once.
    """

    def __init__(self, layout: Layout, expansion: int) -> None:
        self._expansion = expansion
        self._offsets: dict[int, int] = {}
        unique = {id(place.storage): place.storage for place in layout.places.values()}
        storages = list(unique.values())
        self.filled: list[tuple[int, Storage]] = []
        self.size = 0
        self._allocate_plain([s for s in storages if not any(s.border)])
        self._allocate_bordered([s for s in storages if any(s.border)])
        if self.size > MAX_ARENA_BYTES:
            raise GraphError(
                f"The network must need at most {MAX_ARENA_BYTES} bytes for one image, "
                f"got {self.size}. Use a smaller input shape."
            )

    def _allocate_plain(self, storages: list[Storage]) -> None:
        blocks = [Block(self.bytes(storage), *_lifetime(storage)) for storage in storages]
        offsets, self.size = place(blocks)
        self._offsets.update(zip(map(id, storages), offsets, strict=True))

    def _allocate_bordered(self, storages: list[Storage]) -> None:
        slots: dict[object, list[list[float]]] = {}  # offset, time of the last read
        for storage in sorted(storages, key=_lifetime):
            first, last = _lifetime(storage)
            kind = (storage.kind, storage.shape, storage.planes, storage.border, storage.negative)
            same = slots.setdefault((kind, storage.groups), [])
            slot = next((slot for slot in same if slot[1] < first), None)
            if slot is None:
                slot = [self.size, last]
                same.append(slot)
                self.size += self.bytes(storage)
                if storage.negative:
                    self.filled.append((int(slot[0]), storage))
            slot[1] = last
            self._offsets[id(storage)] = int(slot[0])

    def pixel(self, storage: Storage, channels: int) -> int:
        """Returns the size of a pixel, in floats, or in bytes for bits."""
        if storage.kind == "real":
            return channels
        return -(-channels // BLOCK) * 8 * self._expansion

    def pixels(self, storage: Storage) -> int:
        """Returns the number of pixels of all planes with their borders."""
        top, bottom, left, right = storage.border
        rows, columns, _ = storage.shape
        return storage.planes * (rows + top + bottom) * (columns + left + right)

    def bytes(self, storage: Storage) -> int:
        """Returns the size of a storage, rounded up."""
        unit = 4 if storage.kind == "real" else 1
        size = self.pixels(storage) * self.pixel(storage, storage.shape[2]) * unit
        return -(-size // _ALIGNMENT) * _ALIGNMENT

    def view(self, place: Place, first: int = 0) -> View:
        """Returns the view of a value, from one of its channels on."""
        storage = place.storage
        top, bottom, left, right = storage.border
        rows, columns, channels = place.view or storage.shape
        pixel = self.pixel(storage, channels)
        row = (columns + left + right) * pixel
        offset = self._offsets[id(storage)]
        first += place.first
        if storage.kind == "real":
            offset = offset // 4 + first
        else:
            offset += first // BLOCK * 8 * self._expansion
        return View(offset + top * row + left * pixel, row, pixel, (rows + top + bottom) * row)


def _lifetime(storage: Storage) -> tuple[float, float]:
    """Returns the times of a storage's first write and last read."""
    first = min(value.first for value in storage.members)
    last = max(max([value.time, *(read.end for read in value.reads)]) for value in storage.members)
    return first, last
