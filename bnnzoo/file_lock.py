"""A lock between processes that dies with its process and leaves no file behind."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no flock: nothing is locked there
    fcntl = None  # type: ignore[assignment]

__all__ = ["lock"]

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def lock(path: Path, wait: bool = True) -> Iterator[bool]:
    """Holds the lock file `path`; yields whether it is held.

    It saves work, it does not protect: where there are no locks (Windows, some network file
    systems) it yields False, so what runs inside must be right without it.

    Args:
        path: The lock file; made here, removed at the end.
        wait: Whether to wait for another process, or to yield False at once.

    Raises:
        OSError: The file cannot be made.
    """
    descriptor = _acquire(path, wait) if fcntl is not None else None
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            path.unlink(missing_ok=True)
            os.close(descriptor)


def _acquire(path: Path, wait: bool) -> int | None:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, descriptor)
            if not _flock(descriptor, path, wait):
                return None
            # A holder removes its file before it lets go, so whoever waited for it may now have
            # locked a file without a name, and another process a new file of that name.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    stack.pop_all()
                    return descriptor


def _flock(descriptor: int, path: Path, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if wait:
            logger.warning("Waiting for another process, which holds %s", path)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        return wait
    except OSError:  # a file system without locks
        path.unlink(missing_ok=True)
        return False
    return True
