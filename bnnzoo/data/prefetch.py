"""Decodes and preprocesses batches in background threads."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from bnnzoo.data.preprocessing import Preprocessing
from bnnzoo.data.source import Item, Skipped, Source
from bnnzoo.errors import DataError

__all__ = ["Batch", "Prefetcher", "batches", "default_workers"]

MAX_WORKERS = 16

Task = TypeVar("Task")
Made = TypeVar("Made")


def default_workers() -> int:
    """Returns the number of CPUs, at most `MAX_WORKERS`."""
    return min(os.cpu_count() or 1, MAX_WORKERS)


class Prefetcher(Iterator[Made], Generic[Task, Made]):
    """Yields `make(task)` for every task in order, while threads compute the next results.

    Decoding and resizing release Python's lock, so that threads use all CPUs. An exception of
    `make` is raised where its result would be.

    Args:
        make: Makes one result; called in several threads at once.
        tasks: The tasks, read one by one as results are needed.
        workers: Number of threads. The system may allow fewer; without any, each result is computed
            when it is needed.
        depth: Number of results that are finished or being computed at a time.
    """

    def __init__(
        self, make: Callable[[Task], Made], tasks: Iterable[Task], workers: int, depth: int
    ) -> None:
        self._make = make
        self._tasks = iter(tasks)
        self._depth = depth
        self._pending: deque[Future[Made]] = deque()
        self._jobs: queue.SimpleQueue[_Job[Made, Task]] = queue.SimpleQueue()
        self._threads = _start_threads(workers, functools.partial(_work, make, self._jobs))
        self._lock = threading.Lock()
        self._closed = False

    def __next__(self) -> Made:
        with self._lock:
            if not self._closed:
                for task in itertools.islice(self._tasks, self._depth - len(self._pending)):
                    self._pending.append(Future())
                    self._jobs.put((self._pending[-1], task))
        if not self._pending:
            raise StopIteration
        if not self._threads:
            with contextlib.suppress(queue.Empty):  # closed meanwhile
                _do(self._make, self._jobs.get_nowait())
        try:
            return self._pending.popleft().result()
        except CancelledError:
            raise StopIteration from None

    def close(self) -> None:
        """Cancels the tasks that have not begun and joins the threads; thread-safe."""
        with self._lock:
            self._closed = True
        with contextlib.suppress(queue.Empty):
            while job := self._jobs.get_nowait():
                job[0].cancel()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()


_Job = tuple[Future[Made], Task] | None  # None ends a thread


def _start_threads(count: int, work: Callable[[], None]) -> list[threading.Thread]:
    threads: list[threading.Thread] = []
    for i in range(count):
        thread = threading.Thread(target=work, name=f"bnnzoo-data-{i}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the thread limit of the user or container
            break
        threads.append(thread)
    return threads


def _work(make: Callable[[Task], Made], jobs: queue.SimpleQueue[_Job[Made, Task]]) -> None:
    while _do(make, jobs.get()):  # a variable would keep the last result alive
        pass


def _do(make: Callable[[Task], Made], job: _Job[Made, Task]) -> bool:
    """Runs the job; returns False if there is none."""
    if job is None:
        return False
    future, task = job
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(make(task))
        except BaseException as error:  # an interrupt too: the waiting thread must not hang
            future.set_exception(error)
    return True


@dataclass(frozen=True)
class Batch:
    """Preprocessed images with their labels.

    Attributes:
        images: float32 `(n, h, w, c)`; None if every image of the batch was skipped.
        labels: int64 `(n,)`; with masks `(n, h, w)`, in the size of the images.
        ids: Names of the n images.
        sizes: Height and width of each of the n images before preprocessing.
        skipped: Images that `skip_bad` left out of this batch.
    """

    images: NDArray[np.float32] | None
    labels: NDArray[np.int64]
    ids: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    skipped: tuple[Skipped, ...] = ()


def batches(
    source: Source,
    preprocessing: Preprocessing,
    batch_size: int,
    *,
    limit: int | None = None,
    skip_bad: bool = False,
    workers: int | None = None,
) -> Generator[Batch, None, None]:
    """Yields the source's batches in order, while threads make the next ones.

    At most `workers + 1` batches exist at a time. If the consumer stops early, closing the
    generator cancels the batches that have not begun and joins the threads.

    Args:
        source: The data set.
        preprocessing: Applied to every image.
        batch_size: Images per batch; the last batch may have fewer.
        limit: Use only this many items, the first ones.
        skip_bad: Leave out images that cannot be decoded, instead of raising.
        workers: Number of threads; `default_workers()` by default.

    Raises:
        DataError: An image cannot be decoded or preprocessed.
    """
    items = itertools.islice(iter(source.items), limit)
    chunks = iter(lambda: list(itertools.islice(items, batch_size)), [])
    workers = workers or default_workers()

    def make(chunk: list[Item]) -> Batch:
        return _make_batch(chunk, preprocessing, skip_bad)

    with contextlib.closing(Prefetcher(make, chunks, workers, depth=workers + 1)) as made:
        yield from made


def _make_batch(chunk: Sequence[Item], preprocessing: Preprocessing, skip_bad: bool) -> Batch:
    good, prepared, labels, sizes, skipped = [], [], [], [], []
    for item in chunk:  # each is prepared when it is read: originals may be far larger
        try:
            image, mask = item.read_both()
            prepared.append(preprocessing([image])[0])
            labels.append(item.label if mask is None else preprocessing.fit_mask(mask))
            sizes.append((image.shape[0], image.shape[1]))
            good.append(item)
        except DataError as error:
            if not skip_bad:
                raise DataError(f"{error} Or skip it with --skip-bad.") from error
            skipped.append(Skipped(item.id, str(error)))
    images = preprocessing.stack(prepared) if prepared else None
    return Batch(
        images,
        np.array(labels, dtype=np.int64),
        tuple(item.id for item in good),
        tuple(sizes),
        tuple(skipped),
    )
