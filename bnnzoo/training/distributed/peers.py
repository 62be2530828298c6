"""Connections between the supervisors of a run: a star around process 0, lines of JSON.

JAX listens only at the address of process 0. Process 0 therefore connects to the others at their
addresses, and only one port of each machine has to be open.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeGuard

from bnnzoo.errors import ArgumentError
from bnnzoo.records import RecordError, read_record
from bnnzoo.training.distributed.cluster import Cluster

__all__ = ["End", "Job", "Link", "meet"]

RETRY_S = 0.5
CLOSING_S = 1.0

Job = dict[str, Any]


@dataclass(frozen=True)
class End:
    """The early end of a process.

    Attributes:
        process: Index of the process.
        how: How it ended, to follow its name in a sentence.
        advice: What to do.
        consequence: Whether it only lost contact because another process failed.
    """

    process: int
    how: str
    advice: str = (
        "The checkpoint of the last finished epoch is intact; start every process again with "
        "--resume."
    )
    consequence: bool = False

    @classmethod
    def received(cls, value: Any, processes: int) -> End | None:
        """Parses a message about an end; returns None for unknown processes."""
        try:
            end = read_record(cls, value)
        except RecordError:
            return None
        return end if 0 <= end.process < processes else None


class Link:
    """A connection to the supervisor of another process."""

    def __init__(
        self, process: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.process = process
        self.reader = reader
        self.writer = writer

    def send(self, **message: Any) -> None:
        """Sends a message; it is lost if the process is gone."""
        if not self.writer.is_closing():
            self.writer.write(json.dumps(message).encode() + b"\n")

    def send_end(self, end: End) -> None:
        """Sends the end of a process."""
        self.send(end=asdict(end))

    async def receive(self, limit_s: float) -> dict[str, Any] | None:
        """Returns the next message; None if the connection is closed or the message is invalid.

        Raises:
            asyncio.TimeoutError: There was no message in time.
        """
        try:
            line = await asyncio.wait_for(self.reader.readline(), limit_s)
            message = json.loads(line)
        except asyncio.TimeoutError:  # an OSError too, from Python 3.11 on
            raise
        except (OSError, ValueError, RecursionError):
            return None
        return message if isinstance(message, dict) else None

    async def close(self) -> None:
        """Says goodbye, and closes when the other side has read it, or after a second."""
        self.send(bye=True)
        with contextlib.suppress(OSError, ValueError, asyncio.TimeoutError):
            self.writer.write_eof()
            await asyncio.wait_for(self.reader.read(), CLOSING_S)
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


async def meet(cluster: Cluster, job: Job, limit_s: float) -> tuple[list[Link], list[End]]:
    """Connects to process 0, or if this is process 0, to all others.

    Args:
        cluster: The processes.
        job: The settings of this process, as JSON values; those of the others must be equal.
        limit_s: How long to wait for processes that have not started yet.

    Returns:
        The connections, and the processes that could not be connected.

    Raises:
        ArgumentError: The port of this process cannot be opened.
    """
    if cluster.process:
        met = [await _answer(cluster, job, limit_s)]
    else:
        (await _listen(cluster, _refuse)).close()  # JAX crashes if it cannot open the port
        calls = (_call(cluster, process, job, limit_s) for process in range(1, len(cluster)))
        met = await asyncio.gather(*calls)
    links = [found for found, _ in met if found is not None]
    return links, [end for _, end in met if end is not None]


async def _call(
    cluster: Cluster, process: int, job: Job, limit_s: float
) -> tuple[Link | None, End | None]:
    """Connects process 0 to another process."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + limit_s
    reason = "no answer"
    while (left := deadline - loop.time()) > 0:
        try:
            connecting = asyncio.open_connection(*cluster.endpoint(process))
            link = Link(process, *await asyncio.wait_for(connecting, left))
        except asyncio.TimeoutError:
            break
        except OSError as error:
            reason = _reason(error)
        else:
            link.send(**_greeting(cluster, job, to=process))
            with contextlib.suppress(asyncio.TimeoutError):
                left = max(deadline - loop.time(), RETRY_S)
                answer = await link.receive(left)
                if _is_greeting(answer):
                    return link, _difference(cluster, process, job, answer)
            link.writer.close()
        await asyncio.sleep(RETRY_S)
    return None, _absent(process, f"could not be reached within {limit_s:g} s ({reason})")


async def _answer(cluster: Cluster, job: Job, limit_s: float) -> tuple[Link | None, End | None]:
    """Waits for the call of process 0."""
    called: asyncio.Future[tuple[Link, End | None]] = asyncio.get_running_loop().create_future()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(0, reader, writer)
        greeting: dict[str, Any] | None = None
        with contextlib.suppress(asyncio.TimeoutError):
            greeting = await link.receive(limit_s)
        if not _is_greeting(greeting) or called.done():
            writer.close()  # some other program that tries the port
            return
        link.send(**_greeting(cluster, job, to=0))
        called.set_result((link, _difference(cluster, 0, job, greeting)))

    server = await _listen(cluster, answer)
    try:
        return await asyncio.wait_for(called, limit_s)
    except asyncio.TimeoutError:
        return None, _absent(0, f"did not call within {limit_s:g} s")
    finally:
        server.close()  # not `async with`: from Python 3.12 on that waits for the link to end


def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _listen(cluster: Cluster, answer: Callable[..., Any]) -> asyncio.Server:
    _, port = cluster.endpoint(cluster.process)
    try:
        return await asyncio.start_server(answer, port=port)
    except OSError as error:
        raise ArgumentError(
            f"{cluster.name(cluster.process)} cannot open its port: {_reason(error)}. Choose "
            "another in --processes, in every process."
        ) from error


def _reason(error: OSError) -> str:
    # asyncio replaces `strerror` by its own text; the numbers of name lookups are negative.
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or str(error)


def _greeting(cluster: Cluster, job: Job, to: int) -> dict[str, Any]:
    return {"to": to, "addresses": list(cluster.addresses), "job": job}


def _is_greeting(message: dict[str, Any] | None) -> TypeGuard[dict[str, Any]]:
    """Returns whether a supervisor sent the message, and not some other program."""
    return (
        message is not None
        and isinstance(message.get("to"), int)
        and isinstance(message.get("addresses"), list)
        and isinstance(message.get("job"), dict)
    )


def _difference(cluster: Cluster, process: int, job: Job, theirs: dict[str, Any]) -> End | None:
    ours = json.loads(json.dumps(_greeting(cluster, job, to=cluster.process)))
    different = [key for key in ("addresses", "to") if theirs.get(key) != ours[key]]
    names = {"addresses": "processes", "to": "process-id"}
    different = [names[key] for key in different]
    found = theirs["job"]
    keys = sorted({*ours["job"], *found})
    different += [key for key in keys if found.get(key) != ours["job"].get(key)]
    if not different:
        return None
    how = f"was started with other settings: {', '.join(different)}"
    return End(process, how, "Give every process the same command.")


def _absent(process: int, how: str) -> End:
    advice = "Start every process, and check that its address is correct and its port is open."
    return End(process, how, advice)
