"""Reads the texts of variable length in an HDF5 file from its bytes.

The HDF5 library follows references into a heap, and does not return from some damaged ones. A heap
is a chain of blocks that begin with `GCOL`: version, size, then objects of index, count and size.

See https://docs.hdfgroup.org/hdf5/v1_14/_f_m_t3.html, III.E, Global Heap.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["heap_texts"]

_SIGNATURE = b"GCOL"
_HEADER = 16  # of a block, and of an object in it


def heap_texts(data: bytes) -> Iterator[bytes]:
    """Yields the JSON objects among the texts."""
    begin = data.find(_SIGNATURE)
    while 0 <= begin <= len(data) - _HEADER:
        version, size = data[begin + 4], struct.unpack_from("<Q", data, begin + 8)[0]
        end = begin + size if version == 1 and size >= _HEADER else begin + len(_SIGNATURE)
        yield from _objects(data, begin + _HEADER, min(end, len(data)))
        begin = data.find(_SIGNATURE, end)


def _objects(data: bytes, at: int, end: int) -> Iterator[bytes]:
    while at + _HEADER <= end:
        index, size = struct.unpack_from("<H6xQ", data, at)
        at += _HEADER
        if index == 0 or at + size > end:  # free space, or not an object
            return
        if data[at : at + 1] == b"{":
            yield data[at : at + size].rstrip(b"\0")
        at += -(-size // 8) * 8
