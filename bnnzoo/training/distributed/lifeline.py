"""The connection between a worker and its supervisor: each exits when the other is gone."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

__all__ = ["BEAT_S", "LOST_CONTACT", "hold", "is_held"]

BEAT_S = 1.0
LOST_CONTACT = 75  # exit code of a worker that does not know which process has failed

NAME = "lifeline"


def is_held() -> bool:
    """Returns whether this process is a worker."""
    return any(thread.name == NAME for thread in threading.enumerate())


def hold() -> None:
    """Sends a byte every second while Python runs, and ends this process when its supervisor ends.

    The socket is the standard input that the supervisor passed. The operating system closes its
    other end, however the supervisor ends.
    """
    line = socket.socket(fileno=os.dup(0))
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    line.settimeout(BEAT_S)
    try:
        threading.Thread(target=_beat, args=(line,), name=NAME, daemon=True).start()
    except RuntimeError as error:
        raise SystemExit(
            f"A worker must be able to start threads, got: {error}. Raise the limit: ulimit -u, or "
            "that of the container."
        ) from error


def _beat(line: socket.socket) -> None:
    while True:
        try:
            line.send(b".")
            if not line.recv(1):
                break
        except TimeoutError:  # the supervisor never sends: this is the wait between two bytes
            continue
        except OSError:
            break
    os._exit(1)
