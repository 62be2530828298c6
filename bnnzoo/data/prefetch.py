"""Decodes and preprocesses batches ahead of the network, in threads."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bnnzoo.data.preprocessing import Preprocessing
from bnnzoo.data.source import Item, Skipped, Source
from bnnzoo.errors import DataError

__all__ = ["Batch", "batches"]

MAX_WORKERS = 16


@dataclass(frozen=True)
class Batch:
    """Preprocessed images with their labels.

    Attributes:
        images: float32 `(n, h, w, c)`; None if every image of the batch was skipped.
        labels: int64 `(n,)`.
        ids: n names.
        skipped: Images that `skip_bad` left out of this batch.
    """

    images: NDArray[np.float32] | None
    labels: NDArray[np.int64]
    ids: tuple[str, ...]
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
    """Yields the source's batches in order; the next ones are made meanwhile.

    One task makes one batch, and at most `workers + 1` batches exist at a time. When the consumer
    stops early, closing the generator cancels what has not begun and joins the threads.

    Args:
        source: The data set.
        preprocessing: Applied to every image.
        batch_size: Items of a batch; the last one may have fewer.
        limit: Take the first items only.
        skip_bad: Leave out images that cannot be decoded, instead of raising.
        workers: Threads; as many as there are CPUs by default.

    Raises:
        DataError: An image cannot be decoded or preprocessed, in the order of the items.
    """
    items = itertools.islice(iter(source.items), limit)
    workers = workers or min(os.cpu_count() or 1, MAX_WORKERS)
    pending: deque[Future[Batch]] = deque()
    executor = ThreadPoolExecutor(workers, thread_name_prefix="bnnzoo-data")
    try:
        while True:
            while len(pending) <= workers and (chunk := list(itertools.islice(items, batch_size))):
                pending.append(executor.submit(_make_batch, chunk, preprocessing, skip_bad))
            if not pending:
                return
            yield pending.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _make_batch(chunk: Sequence[Item], preprocessing: Preprocessing, skip_bad: bool) -> Batch:
    good, pixels, skipped = [], [], []
    for item in chunk:
        try:
            pixels.append(item.read())
            good.append(item)
        except DataError as error:
            if not skip_bad:
                raise DataError(f"{error} Or go on without it with --skip-bad.") from error
            skipped.append(Skipped(item.id, str(error)))
    images = preprocessing(pixels) if pixels else None
    labels = np.array([item.label for item in good], dtype=np.int64)
    return Batch(images, labels, tuple(item.id for item in good), tuple(skipped))
