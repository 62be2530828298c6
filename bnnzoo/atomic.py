"""Atomic file writes."""

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
    """Yields a temporary path, which replaces `path` at the end of the block.

    After an error the old file is unchanged. The temporary file is hidden, in the same folder, with
    the same suffix.

    Args:
        path: A path in an existing folder.
        mark: Part of the temporary name. Random by default, so that several processes can write the
            same file. A fixed mark reuses the file that a crash left behind.
    """
    part = part_of(path, mark or secrets.token_hex(4))
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def part_of(path: Path, mark: str) -> Path:
    """Returns the temporary path that `replacing` uses for `path`."""
    return path.with_name(f".{path.stem}.{mark}{path.suffix}")


def check_writable(path: Path, force: bool, sources: Iterable[Any] = ()) -> None:
    """Checks an output path before any work is done. Devices and pipes are always accepted.

    Args:
        path: The file to write. A symbolic link is followed.
        force: Whether an existing file may be overwritten.
        sources: Inputs; those that are not paths are ignored.

    Raises:
        ArgumentError: The file exists and `force` is false, it is a source or a folder, or its
            folder does not exist or is not writable.
    """
    real = Path(os.path.realpath(path))
    try:
        if real.is_dir():
            raise ArgumentError(f"{path} must be a file, got a folder. Choose another path.")
        if real.exists() and not real.is_file():
            return
        if real.is_file() and not force:
            raise ArgumentError(f"{path} already exists. Use --force (force=True) to overwrite it.")
        folder = real.parent if path.is_symlink() else path.parent
        if not folder.is_dir():
            raise ArgumentError(
                f"{path} cannot be written: the folder {folder} does not exist. Create it."
            )
    except OSError as error:  # a name that is too long, a folder without permission
        raise ArgumentError(
            f"{path} cannot be written: {error.strerror}. Choose another path."
        ) from error
    if not os.access(folder, os.W_OK):
        raise ArgumentError(
            f"{path} cannot be written: {folder} is not writable. Choose another path."
        )
    read = {os.path.realpath(s) for s in sources if isinstance(s, (str, os.PathLike))}
    if real.is_file() and str(real) in read:
        raise ArgumentError(f"{path} is an input of this command. Choose another path.")


def write_file(path: Path, content: bytes | str) -> None:
    """Writes a file atomically: a reader sees either the old file or the new one.

    A symbolic link is followed. A device or a pipe is written directly.

    Args:
        path: A path in an existing folder.
        content: Bytes, or text that is encoded as UTF-8. Characters that UTF-8 cannot encode, as in
            file names, are escaped.

    Raises:
        BnnZooError: The file cannot be written, as on a full disk. The old file is unchanged.
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
            f"{path} cannot be written: {error.strerror or error}. Free some space, or choose "
            "another path."
        ) from error
