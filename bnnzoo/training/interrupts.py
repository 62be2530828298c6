"""Restores a Ctrl-C that Keras swallows in a bare `except`."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["kept_interrupts"]


@contextmanager
def kept_interrupts() -> Iterator[Callable[[], None]]:
    """Raises KeyboardInterrupt at the end of the block if Ctrl-C was swallowed in it.

    Yields a function that raises it earlier. JAX computes asynchronously, and Python waits where
    Keras reads the loss of a step (`pythonify_logs`), so that nearly every Ctrl-C is raised there.
    """
    handler = signal.getsignal(signal.SIGINT)
    pressed = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        assert callable(handler)
        try:
            handler(number, frame)
        except KeyboardInterrupt:
            pressed.set()
            raise

    def check() -> None:
        if pressed.is_set():
            raise KeyboardInterrupt

    # Only the main thread may set handlers, and an ignored signal stays ignored.
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield check
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, handler)
    check()
