"""Checks the contents of an HDF5 weight file before Keras reads it.

HDF5 can link to other files, declare numbers that it does not store, and unpack a few bytes to
gigabytes. Weights need only groups, arrays of numbers, and names in attributes.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from bnnzoo.errors import WeightsError, first_line

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["check_hdf5", "largest_count"]

MAX_OBJECTS = 100_000
MAX_DEPTH = 64
# Attributes that list groups and arrays. Keras splits long lists and numbers the parts.
_NAMES = ("layer_names", "weight_names")
_NUMBERS = "biuf"
_DEFLATE, _SHUFFLE, _CHECKSUM = 1, 2, 3
# What h5py writes for `compression="gzip"`: an optional shuffle, one deflate, an optional checksum.
_PIPELINES = {
    (*shuffle, *deflate, *checksum)
    for shuffle in ((), (_SHUFFLE,))
    for deflate in ((), (_DEFLATE,))
    for checksum in ((), (_CHECKSUM,))
}


def largest_count(numbers: int) -> int:
    """Returns how many numbers a file for a model with `numbers` weights may contain.

    The limit leaves room for two optimizer states per weight and a head of many more classes.
    """
    return 8 * numbers + 2**22


def check_hdf5(
    file: str | PathLike[str] | IO[bytes], name: str, most: int, *, lists: bool = True
) -> int:
    """Checks that a file contains plain weights, and returns how many numbers.

    Args:
        file: The file, or its path.
        name: Name of the file in messages.
        most: The largest allowed number of numbers.
        lists: Whether to check the lists of names, for readers that follow them.

    Raises:
        WeightsError: The file is broken, links to other files, or declares more than `most`
            numbers.
    """
    import h5py

    try:
        with h5py.File(file, "r") as opened:
            return _Walk(most, lists).count(opened)
    except _NotPlainError as error:
        raise WeightsError(
            f"{name} is not a plain weight file: {error} Do not trust this file."
        ) from None
    except Exception as error:  # h5py raises many kinds for broken files
        raise WeightsError(f"{name} cannot be read: {first_line(error)}") from error


class _NotPlainError(Exception):
    """A sentence about something in a file that weights do not need."""


class _Walk:
    """Visits every object of a file once."""

    def __init__(self, most: int, lists: bool) -> None:
        self.most = most
        self.lists = lists
        self.numbers = 0
        self.objects = 0
        self.groups: set[Any] = set()

    def count(self, group: Any, depth: int = 0) -> int:
        """Checks a group and everything in it, and returns the count of numbers so far."""
        import h5py

        place = hash(group.id)  # identifies the object independently of its name
        if depth > MAX_DEPTH or place in self.groups:
            raise _NotPlainError(f"group {group.name!r:.80} contains itself or has two names.")
        self.groups.add(place)
        if self.lists:
            _check_names(group)
        for name in group:
            self.objects += 1
            if self.objects > MAX_OBJECTS:
                raise _NotPlainError(f"it has more than {MAX_OBJECTS:,} objects.")
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise _NotPlainError(f"{name!r:.80} is a link.")
            found = group[name]
            if isinstance(found, h5py.Group):
                self.count(found, depth + 1)
            elif isinstance(found, h5py.Dataset):
                self._add(found)
            else:
                raise _NotPlainError(f"{name!r:.80} is neither a group nor an array.")
        return self.numbers

    def _add(self, array: Any) -> None:
        name = f"array {array.name!r:.80}"
        if array.dtype.kind not in _NUMBERS or array.dtype.fields or array.shape is None:
            raise _NotPlainError(
                f"{name} must contain numbers, got {array.dtype!s:.80} of shape {array.shape}."
            )
        if array.is_virtual or array.external is not None:
            raise _NotPlainError(f"{name} is in another file.")
        self.numbers += max(math.prod(array.shape), math.prod(array.chunks or ()))
        if self.numbers > self.most:
            raise _NotPlainError(
                f"it must declare at most {self.most:,} numbers, got {self.numbers:,} or more."
            )
        _check_storage(array, name)


def _check_names(group: Any) -> None:
    """Checks lists of names: Keras reads an array as often as it is listed."""
    for key in group.attrs:
        if key.rstrip("0123456789") not in _NAMES:
            continue
        kind = group.attrs.get_id(key)
        if kind.dtype.kind != "S" or len(kind.shape) != 1:
            raise _NotPlainError(f"{key!r:.80} of {group.name!r:.80} must be a list of names.")
        names = [bytes(name) for name in group.attrs[key]]
        unusual = any({b"", b".", b".."} & set(name.split(b"/")) for name in names)
        if unusual or len(set(names)) < len(names):
            raise _NotPlainError(f"{key!r:.80} of {group.name!r:.80} must be unique plain names.")


def _check_storage(array: Any, name: str) -> None:
    """Checks that an array is stored in full and unpacks to no more than its declared size."""
    if array.chunks is None:
        return
    properties = array.id.get_create_plist()
    filters = tuple(properties.get_filter(i)[0] for i in range(properties.get_nfilters()))
    if filters not in _PIPELINES:
        raise _NotPlainError(f"{name} has an unknown compression. Use gzip.")
    claimed = math.prod(array.chunks) * array.dtype.itemsize
    if _DEFLATE in filters and any(
        len(zlib.decompressobj().decompress(chunk, claimed + 1)) > claimed
        for chunk in _chunks(array)
    ):
        raise _NotPlainError(f"{name} unpacks to more than its declared size.")


def _chunks(array: Any) -> Iterator[bytes]:
    for i in range(array.id.get_num_chunks()):
        chunk = array.id.get_chunk_info(i)
        mask, data = array.id.read_direct_chunk(chunk.chunk_offset)
        if not mask:  # all filters were applied
            yield data
