"""Files that are there whole or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing"]


@contextmanager
def replacing(path: Path, mark: str | None = None) -> Iterator[Path]:
    """Yields a path to write to, which takes the place of `path` at the end of the block.

    After an error the old file is as it was. The new path is beside it, hidden, and has its suffix.

    Args:
        path: In a folder that exists.
        mark: Part of the new name. By default it is random, so that several processes may write the
            same file; a known one is taken again after a crash.
    """
    part = path.with_name(f".{path.stem}.{mark or secrets.token_hex(4)}{path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
