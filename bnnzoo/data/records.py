"""Reads single records of TFRecord files, without TensorFlow.

A file is a sequence of records: length (8 bytes, little endian), its checksum (4 bytes), the data,
their checksum (4 bytes). The records are located once per file, by jumping from length to length.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.errors import DataError

__all__ = ["RecordFile", "Records"]

_HEADER = struct.Struct("<Q4x")
_FOOTER_BYTES = 4
_MIN_BYTES = _HEADER.size + _FOOTER_BYTES


class RecordFile:
    """Some records of one file.

    Args:
        path: The file.
        count: Number of records in the file.
        skip: Number of records to leave out at the start.
        take: Number of records to use.
    """

    def __init__(self, path: str, count: int, skip: int, take: int) -> None:
        self.path = Path(path)
        self.count = count
        self.skip = skip
        self.take = take
        self._spans: NDArray[np.int64] | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.take

    def read(self, index: int) -> bytes:
        """Returns the data of a record.

        Raises:
            DataError: The file is missing or incomplete.
        """
        with self._lock:
            if self._spans is None:
                self._spans = self._found_spans()
        begin, end = self._spans[self.skip + index].tolist()
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(begin)
                data = file.read(end - begin)
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror}.") from error
        if len(data) != end - begin:
            raise self._broken(index)
        return data

    def _found_spans(self) -> NDArray[np.int64]:
        """Returns the begin and end of each record's data: `(count, 2)`."""
        position = 0
        try:
            size = self.path.stat().st_size
            if size < self.count * _MIN_BYTES:
                raise self._broken(size // _MIN_BYTES)
            spans = np.zeros((self.count, 2), np.int64)
            with self.path.open("rb", buffering=0) as file:
                for index in range(self.count):
                    file.seek(position)
                    header = file.read(_HEADER.size)
                    if len(header) < _HEADER.size:
                        raise self._broken(index)
                    begin = position + _HEADER.size
                    end = begin + _HEADER.unpack(header)[0]
                    position = end + _FOOTER_BYTES
                    if position > size:
                        raise self._broken(index)
                    spans[index] = begin, end
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror}.") from error
        return spans

    def _broken(self, index: int) -> DataError:
        return DataError(
            f"{self.path} is broken at record {index} of {self.count}. Prepare the data set again."
        )


class Records(Sequence[bytes]):
    """The records of several files, one file after the other.

    Args:
        files: The files.
    """

    def __init__(self, files: Sequence[RecordFile]) -> None:
        self.files = files
        self._ends = np.cumsum([len(file) for file in files])

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):  # ends an iteration
            raise IndexError(index)
        which = int(np.searchsorted(self._ends, index, side="right"))
        file = self.files[which]
        return file.read(int(index) - (int(self._ends[which]) - len(file)))
