"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bnnzoo.errors import ArgumentError, BnnZooError

__all__ = ["check_writable", "part_of", "replacing", "write_file"]


@contextmanager
def replacing(path: Path, mark: str | None = None) -> Iterator[Path]:
    """Yields a path to write to, which takes the place of `path` at the end of the block.

    After an error the old file is as it was. The new path is beside it, hidden, and has its suffix.

    Args:
        path: In a folder that exists.
        mark: Part of the new name. By default it is random, so that several processes may write the
            same file; a known one is taken again after a crash.
    """
    part = part_of(path, mark or secrets.token_hex(4))
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def part_of(path: Path, mark: str) -> Path:
    """Returns where `replacing` writes what becomes `path`."""
    return path.with_name(f".{path.stem}.{mark}{path.suffix}")


def check_writable(path: Path, force: bool, sources: Iterable[Any] = ()) -> None:
    """Refuses an output before any work is done. Devices and pipes have nothing to lose.

    Args:
        path: The file to write; of a symbolic link, its target.
        force: Whether a file that is there may be overwritten.
        sources: Paths that are read; anything else is passed over.

    Raises:
        ArgumentError: The file exists and `force` is false, it is a source or a folder, or its
            folder does not exist or may not be written.
    """
    real = Path(os.path.realpath(path))
    try:
        if real.is_dir():
            raise ArgumentError(f"{path} is a folder. Name a file to write.")
        if real.exists() and not real.is_file():
            return
        if real.is_file() and not force:
            raise ArgumentError(f"{path} exists already. Use --force (force=True) to overwrite it.")
        folder = real.parent if path.is_symlink() else path.parent
        if not folder.is_dir():
            raise ArgumentError(f"{path} cannot be written: there is no folder {folder}.")
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise ArgumentError(
            f"{path} cannot be written: {error.strerror}. Name another file."
        ) from error
    if not os.access(folder, os.W_OK):
        raise ArgumentError(f"{path} cannot be written: {folder} is read-only for you.")
    read = {os.path.realpath(s) for s in sources if isinstance(s, (str, os.PathLike))}
    if real.is_file() and str(real) in read:
        raise ArgumentError(f"{path} is what is read here. Name another file to write.")


def write_file(path: Path, content: bytes | str) -> None:
    """Writes a file in one step: a reader sees the old one or the new one.

    A symbolic link stays, and its target is written; a device or a pipe takes what is written.

    Args:
        path: In a folder that exists.
        content: Its bytes, or text for UTF-8. What names of files have that is none is escaped.

    Raises:
        BnnZooError: It cannot be written, as on a full disk. The old file stays.
    """
    if isinstance(content, str):
        content = content.encode(errors="backslashreplace")
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        with replacing(Path(os.path.realpath(path))) as part:
            part.write_bytes(content)
    except OSError as error:
        raise BnnZooError(
            f"{path} cannot be written: {error.strerror or error}. Make room, or name another file."
        ) from error
