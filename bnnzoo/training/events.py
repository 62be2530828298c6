"""TensorBoard's event files, written by the `tensorboard` package without TensorFlow."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bnnzoo.errors import BnnZooError

__all__ = ["EventFile", "open_events", "tensorboard_is_installed"]


def tensorboard_is_installed() -> bool:
    """Returns whether events can be written."""
    return importlib.util.find_spec("tensorboard") is not None


@contextlib.contextmanager
def open_events(folder: Path, wanted: bool = True) -> Iterator[EventFile | None]:
    """Yields a new event file; None if it is not wanted or `tensorboard` is not installed."""
    if not wanted or not tensorboard_is_installed():
        yield None
        return
    events = EventFile(folder)
    try:
        yield events
    finally:
        events.close()


class EventFile:
    """Appends scalars to an event file; a resumed run opens a new file in the same folder.

    The file is opened here, and only its records are written by `tensorboard`, because the writer
    of that package imports TensorFlow if it is installed.

    Args:
        folder: Folder of the event files; created if needed.

    Raises:
        BnnZooError: The file cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        protocol = importlib.import_module("tensorboard.compat.proto.event_pb2")
        records = importlib.import_module("tensorboard.summary.writer.record_writer")
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        self.path = folder / name
        self._event = protocol.Event
        try:
            folder.mkdir(exist_ok=True)
            self._writer = records.RecordWriter(self.path.open("wb"))
        except OSError as error:
            raise BnnZooError(f"{self.path} cannot be written: {error.strerror}.") from error
        self._write(self._event(wall_time=time.time(), file_version="brain.Event:2"))

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Appends the values of a step.

        Raises:
            BnnZooError: The file cannot be written.
        """
        event = self._event(wall_time=time.time(), step=step)
        for tag, value in scalars.items():
            event.summary.value.add(tag=tag, simple_value=value)
        self._write(event)

    def close(self) -> None:
        """Closes the file, after a last attempt to write data that could not be written."""
        with contextlib.suppress(OSError):
            self._writer.close()

    def _write(self, event: Any) -> None:
        try:
            self._writer.write(event.SerializeToString())
            self._writer.flush()
        except OSError as error:
            raise BnnZooError(f"{self.path} cannot be written: {error.strerror}.") from error
