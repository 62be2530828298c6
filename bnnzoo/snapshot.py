"""A file that is read once, so that the verified bytes are the ones that are used."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

__all__ = ["Snapshot"]

if TYPE_CHECKING:
    _Path = Path
else:
    _Path = type(Path())  # before Python 3.12 only this has subclasses


class Snapshot(_Path):
    """A path whose `read_bytes` reads the file only once.

    If another process replaces the file, later reads still return the first contents. The bytes
    stay in memory as long as the object.
    """

    _data: bytes | None = None

    @classmethod
    def holding(cls, path: Path, data: bytes | None) -> Snapshot:
        """Returns a snapshot of a file that was already read."""
        snapshot = cls(path)
        snapshot._data = data
        return snapshot

    @classmethod
    def of(cls, path: str | PathLike[str]) -> Snapshot:
        """Returns a path as a snapshot; a snapshot is returned unchanged."""
        return path if isinstance(path, cls) else cls(path)

    def read_bytes(self) -> bytes:
        """Returns the contents of the file at the first read."""
        if self._data is None:
            self._data = super().read_bytes()
        return self._data

    @property
    def sha256(self) -> str:
        """The digest of what the file held when it was first read, in hexadecimal."""
        return hashlib.sha256(self.read_bytes()).hexdigest()

    def __reduce__(self) -> tuple[Any, ...]:
        return Snapshot.holding, (Path(str(self)), self._data)

    @contextlib.contextmanager
    def private_copy(self) -> Iterator[Path]:
        """Yields the path of a private copy, for functions that accept only paths."""
        with tempfile.TemporaryDirectory(prefix="bnnzoo-") as folder:
            copy = Path(folder) / self.name
            copy.write_bytes(self.read_bytes())
            yield copy
