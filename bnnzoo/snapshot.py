"""A file that is read once, so that what was verified is what is opened."""

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
    """A path whose `read_bytes` reads the file the first time only.

    Another process may put something else in its place; whoever reads by this object gets what was
    there first. The bytes stay in memory as long as the object.
    """

    _data: bytes | None = None

    @classmethod
    def holding(cls, path: Path, data: bytes | None) -> Snapshot:
        """Returns the path of a file that was read already."""
        snapshot = cls(path)
        snapshot._data = data
        return snapshot

    @classmethod
    def of(cls, path: str | PathLike[str]) -> Snapshot:
        """Returns a path as a snapshot; one that is a snapshot already stays itself."""
        return path if isinstance(path, cls) else cls(path)

    def read_bytes(self) -> bytes:
        """Returns what the file held when it was read first."""
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
        """Yields a file with these bytes that nobody else can change, for what only takes paths."""
        with tempfile.TemporaryDirectory(prefix="bnnzoo-") as folder:
            copy = Path(folder) / self.name
            copy.write_bytes(self.read_bytes())
            yield copy
