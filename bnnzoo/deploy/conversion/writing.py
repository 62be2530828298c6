"""Where a network is written to: the format of a path, and no half-written files."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from bnnzoo.atomic import replacing
from bnnzoo.deploy.formats import FORMATS, Format
from bnnzoo.errors import ArgumentError

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

    Raises:
        ArgumentError: It cannot be written.
    """

    def __init__(self, path: str | PathLike[str], format: Format, force: bool) -> None:
        self.path = Path(path)
        self.is_folder = not format.suffix
        if not self.path.parent.is_dir() or (self.path.is_dir() and not self.is_folder):
            raise ArgumentError(f"path must be a file in a folder that exists, got {path}.")
        if self.is_folder and self.path.is_file():
            raise ArgumentError(f"path must be a folder for {format.name}, got the file {path}.")
        taken = any(self.path.iterdir()) if self.path.is_dir() else self.path.exists()
        if taken and not force:
            raise ArgumentError(f"{path} exists already. Use --force (force=True) to overwrite it.")

    def write(self, files: Mapping[str, bytes]) -> None:
        """Writes files under temporary names and renames them.

        Args:
            files: Content by name below the folder; the one file has the name "".

        Raises:
            ArgumentError: The disk is full, or the folder is not writable.
        """
        try:
            for name, content in files.items():
                _replace(self.path / name if self.is_folder else self.path, content)
        except OSError as error:
            text = error.strerror or error
            raise ArgumentError(f"{self.path} cannot be written: {text}.") from error


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as part:
        part.write_bytes(content)
