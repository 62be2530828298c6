"""Chooses the format of a path, and writes the files of a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from bnnzoo.atomic import check_writable, write_file
from bnnzoo.errors import ArgumentError, BnnZooError
from bnnzoo.formats import WRITTEN, Format

__all__ = ["Target", "find_format"]

_ALL = "`bnnzoo convert --list-formats` shows all formats."


def find_format(path: str | PathLike[str] | None, name: str | None) -> Format:
    """Returns the format of a file to write.

    Args:
        path: A path whose suffix determines the format; None for a packed file in a dry run.
        name: Name of a format. Defaults to the format of the path.

    Raises:
        ArgumentError: The format is unknown, or the path has the suffix of another format.
    """
    suffix = None if path is None else Path(path).suffix
    if name is None:
        found = [f for f in WRITTEN if f.suffix == (suffix or None) or suffix is None]
        if found:
            return found[0]
        known = ", ".join(f.suffix for f in WRITTEN if f.suffix)
        raise ArgumentError(f"path must end in {known} if no format is given, got {path}. {_ALL}")
    for known_format in WRITTEN:
        if known_format.name == name:
            if suffix is not None and known_format.suffix and suffix != known_format.suffix:
                raise ArgumentError(
                    f"path must end in {known_format.suffix} for {name}, got {path}. Rename it."
                )
            return known_format
    raise ArgumentError(f"format must be the name of a format, got {name!r}. {_ALL}")


class Target:
    """An output path, checked before any work is done.

    Args:
        path: A file, or a folder for formats with several files.
        format: The format to write.
        force: Whether to overwrite existing files.
        sources: Inputs of the conversion; see `check_writable`.

    Raises:
        ArgumentError: The path cannot be written.
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
                    f"{path} is not empty. Use --force (force=True) to overwrite its files."
                )
        elif self.path.exists():
            raise ArgumentError(f"path must be a folder for {format.name}, got the file {path}.")
        elif not self.path.parent.is_dir():
            raise ArgumentError(
                f"{path} cannot be created: the folder {self.path.parent} does not exist."
            )

    def write(self, files: Mapping[str, bytes]) -> None:
        """Writes each file atomically.

        Args:
            files: Contents by file name in the folder; a single file has the name "".

        Raises:
            BnnZooError: The disk is full, or the folder cannot be created.
        """
        try:
            if self.is_folder:
                self.path.mkdir(exist_ok=True)
        except OSError as error:
            raise BnnZooError(
                f"{self.path} cannot be created: {error.strerror}. Choose another path."
            ) from error
        for name, content in files.items():
            write_file(self.path / name if self.is_folder else self.path, content)
