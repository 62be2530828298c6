"""Where a network is written to: the format of a path, and no half-written files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from bnnzoo.atomic import check_writable, write_file
from bnnzoo.errors import ArgumentError, BnnZooError
from bnnzoo.formats import FORMATS, Format

__all__ = ["Target", "find_format"]

_ALL = "`bnnzoo convert --list-formats` shows all."


def find_format(path: str | PathLike[str] | None, name: str | None) -> Format:
    """Returns the format of a file that shall be written.

    Args:
        path: Its suffix decides; None is a packed file that is not written.
        name: Name of a format; None takes that of the path.

    Raises:
        ArgumentError: There is no such format, or the path has the suffix of another one.
    """
    suffix = None if path is None else Path(path).suffix
    if name is None:
        found = [f for f in FORMATS if f.suffix == (suffix or None) or suffix is None]
        if found:
            return found[0]
        known = ", ".join(f.suffix for f in FORMATS if f.suffix)
        raise ArgumentError(f"path must end in {known}, or come with a format, got {path}. {_ALL}")
    for known_format in FORMATS:
        if known_format.name == name:
            if suffix is not None and known_format.suffix and suffix != known_format.suffix:
                raise ArgumentError(
                    f"path must end in {known_format.suffix} for {name}, got {path}. Rename it."
                )
            return known_format
    raise ArgumentError(f"format must be a known one, got {name!r}. {_ALL}")


class Target:
    """A place that a network is written to, checked before any work is done.

    Args:
        path: A file, or a folder for formats of several files.
        format: What is written there.
        force: Whether files that are there are overwritten.
        sources: What is read, as of `check_writable`.

    Raises:
        ArgumentError: It cannot be written.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        format: Format,
        force: bool,
        sources: Iterable[Any] = (),
    ) -> None:
        self.path = Path(path)
        self.is_folder = not format.suffix
        if not self.is_folder:
            check_writable(self.path, force, sources)
        elif self.path.is_dir():
            if any(self.path.iterdir()) and not force:
                raise ArgumentError(
                    f"{path} has files already. Use --force (force=True) to overwrite them."
                )
        elif self.path.exists():
            raise ArgumentError(f"path must be a folder for {format.name}, got the file {path}.")
        elif not self.path.parent.is_dir():
            raise ArgumentError(f"{path} cannot be made: there is no folder {self.path.parent}.")

    def write(self, files: Mapping[str, bytes]) -> None:
        """Writes files, each in one step.

        Args:
            files: Content by name below the folder; the one file has the name "".

        Raises:
            BnnZooError: The disk is full, or the folder cannot be made.
        """
        try:
            if self.is_folder:
                self.path.mkdir(exist_ok=True)
        except OSError as error:
            raise BnnZooError(
                f"{self.path} cannot be made: {error.strerror}. Name another folder."
            ) from error
        for name, content in files.items():
            write_file(self.path / name if self.is_folder else self.path, content)
