"""Checks the global heaps of an HDF5 file, which contain its variable-length strings.

The HDF5 library hangs on a heap that contains an object of size 0. A heap consists of a header (the
bytes `GCOL`, a version and a size) and objects. Each object has an index, a reference count, a size
and its data.

See https://docs.hdfgroup.org/hdf5/v1_14/_f_m_t3.html, III.E, Global Heap.
"""

from __future__ import annotations

import struct

__all__ = ["are_heaps_whole"]

_SIGNATURE = b"GCOL\x01\0\0\0"
_HEADER = 16  # of a heap, and of an object in it


def are_heaps_whole(data: bytes) -> bool:
    """Returns whether the objects of every heap fill it without gaps."""
    begin = data.find(_SIGNATURE)
    while begin >= 0:
        if not _is_whole(data, begin):
            return False
        begin = data.find(_SIGNATURE, begin + 1)
    return True


def _is_whole(data: bytes, begin: int) -> bool:
    if begin + _HEADER > len(data):
        return False
    size: int = struct.unpack_from("<Q", data, begin + 8)[0]
    at, end = begin + _HEADER, begin + size
    if size < _HEADER or end > len(data):
        return False
    while at + _HEADER <= end:
        index, length = struct.unpack_from("<H6xQ", data, at)
        # Free space is an object of index 0, whose size includes its header.
        step = length if index == 0 else _HEADER + -(-length // 8) * 8
        if step < _HEADER:
            return False
        at += step
    return bool(at <= end)
