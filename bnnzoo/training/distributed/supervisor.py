"""`supervise`: runs this machine's worker, and reports which process failed."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Sequence

from bnnzoo.errors import BnnZooError
from bnnzoo.training.distributed import lifeline
from bnnzoo.training.distributed.cluster import Cluster
from bnnzoo.training.distributed.peers import End, Job, Link, meet

__all__ = ["supervise"]

START_FACTOR = 2  # how many times longer to wait for other processes at the start
GRACE_S = 1.0  # for the reports of all processes about a failure that happens in each

# JAX aborts a worker when it finds another one dead.
ABORTED = -signal.SIGABRT


def supervise(cluster: Cluster, command: Sequence[str], job: Job, silence_s: float) -> int:
    """Runs a worker until it finishes, or until any process of the cluster fails.

    The worker is killed when this process ends, however it ends.

    Args:
        cluster: The processes.
        command: Starts the worker, which must call `lifeline.hold`.
        job: Settings that must be equal in all processes, as JSON values.
        silence_s: A process that sends nothing for this long is considered dead.

    Returns:
        The exit code of the worker.

    Raises:
        BnnZooError: A process has failed; the message names it.
    """
    return asyncio.run(_supervise(cluster, command, job, silence_s))


async def _supervise(cluster: Cluster, command: Sequence[str], job: Job, silence_s: float) -> int:
    links, absent = await meet(cluster, job, START_FACTOR * silence_s)
    board = _Board(cluster, links)
    try:
        for end in absent:
            board.add(end)
        if not absent:
            async with _worker(command) as (worker, line):
                await _watch(board, worker, line, silence_s)
        return board.result()
    except asyncio.CancelledError:
        board.add(End(cluster.process, "was interrupted"))
        raise
    finally:
        await asyncio.gather(*(link.close() for link in links))


class _Board:
    """What is known of the processes."""

    def __init__(self, cluster: Cluster, links: list[Link]) -> None:
        self.cluster = cluster
        self.links = links
        self.ends: dict[int, End] = {}
        self.code: int | None = None  # of this supervisor's worker
        self.over = asyncio.Event()  # this worker has finished, or some process has failed
        self.explained = asyncio.Event()  # it is known which process failed first

    def add(self, end: End, source: int | None = None) -> None:
        """Records an end and forwards it to the other supervisors."""
        if end.process in self.ends:
            return
        self.ends[end.process] = end
        for link in self.links:
            if link.process not in (source, end.process):
                link.send_end(end)
        self.over.set()
        if not end.consequence:
            self.explained.set()

    def add_code(self, code: int) -> None:
        """Records how this supervisor's worker ended."""
        self.code = code
        if code == 0:
            self.over.set()
            self.explained.set()
        elif code in (lifeline.LOST_CONTACT, ABORTED):
            self.add(End(self.cluster.process, "lost contact with the others", consequence=True))
        elif code < 0:
            name = signal.Signals(-code).name
            self.add(End(self.cluster.process, f"was killed by signal {-code} ({name})"))
        else:
            how = f"ended with exit code {code}; see its output"
            self.add(End(self.cluster.process, how))

    async def settle(self, silence_s: float) -> None:
        """Waits until it is known which process failed first."""
        if self.ends:
            await asyncio.sleep(GRACE_S)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.explained.wait(), silence_s)

    def result(self) -> int:
        """Returns the worker's exit code if its own output is the explanation.

        Raises:
            BnnZooError: A process has failed.
        """
        code = self.code or 0
        causes = [end for end in self.ends.values() if not end.consequence]
        spoken = self.ends.get(self.cluster.process) if code > 0 else None
        told = [end for end in causes if spoken is None or end.how != spoken.how]
        if not told and (not self.ends or spoken in causes):
            return code
        shown = told or causes or list(self.ends.values())
        raise BnnZooError(" ".join([*map(self._sentence, shown), shown[0].advice]))

    def _sentence(self, end: End) -> str:
        return f"{self.cluster.name(end.process)} {end.how}."


async def _watch(
    board: _Board, worker: asyncio.subprocess.Process, line: asyncio.StreamReader, silence_s: float
) -> None:
    """Returns when the worker has finished or it is known which process failed."""
    watching = [
        *(_listen(board, link, silence_s) for link in board.links),
        _beat(board.links),
        _follow(board, line, silence_s),
        _wait(board, worker),
    ]
    over = asyncio.ensure_future(board.over.wait())
    tasks = {over, *(asyncio.ensure_future(part) for part in watching)}
    try:
        while not over.done():
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # raises if the task failed
            tasks -= done
        await board.settle(silence_s)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _listen(board: _Board, link: Link, silence_s: float) -> None:
    """Follows another supervisor until it says goodbye or is gone."""
    while True:
        try:
            message = await link.receive(silence_s)
        except asyncio.TimeoutError:
            return board.add(_silent(link.process, silence_s))
        if message is None:
            return board.add(End(link.process, "is gone: it closed its connection"))
        if "bye" in message:
            return None
        if "end" in message:
            end = End.received(message["end"], len(board.cluster))
            strange = "sent an unknown message", "Check which program uses its address."
            board.add(end or End(link.process, *strange), source=link.process)


async def _beat(links: list[Link]) -> None:
    while True:
        for link in links:
            link.send()
        await asyncio.sleep(lifeline.BEAT_S)


async def _follow(board: _Board, line: asyncio.StreamReader, silence_s: float) -> None:
    """Follows the worker until it is gone or stuck."""
    beat = b"."
    while beat:
        try:
            beat = await asyncio.wait_for(line.read(64), silence_s)
        except asyncio.TimeoutError:
            return board.add(_silent(board.cluster.process, silence_s))
        except OSError:
            return None


async def _wait(board: _Board, worker: asyncio.subprocess.Process) -> None:
    board.add_code(await worker.wait())


def _silent(process: int, silence_s: float) -> End:
    return End(process, f"gave no sign of life for {silence_s:g} s")


@contextlib.asynccontextmanager
async def _worker(
    command: Sequence[str],
) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.StreamReader]]:
    """Starts a worker and yields it with its lifeline; it does not outlive the block."""
    ours, theirs = socket.socketpair()
    with theirs:
        worker = await asyncio.create_subprocess_exec(
            *command,
            stdin=theirs.fileno(),
            start_new_session=True,  # Ctrl-C is for the supervisor, which ends both
        )
    reader, writer = await asyncio.open_connection(sock=ours)
    try:
        yield worker, reader
    finally:
        with contextlib.suppress(ProcessLookupError):
            worker.kill()
        await worker.wait()
        writer.close()
