"""Claim: batches come in order, a few made ahead in threads that never outlive their use."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from bnnzoo.data import preprocessing
from bnnzoo.data.prefetch import batches
from bnnzoo.data.source import Item, Source
from bnnzoo.errors import DataError

RAW = preprocessing.get("raw")


def source(n: int, read: Callable[[int], np.ndarray]) -> Source:
    items = tuple(Item(f"image {i}", i % 7, lambda i=i: read(i)) for i in range(n))  # type: ignore[misc]
    return Source("made", n, items)


def pixel(i: int) -> np.ndarray:
    return np.full((2, 2), i, dtype=np.uint8)


def data_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("bnnzoo-data")]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_order_is_that_of_the_items(workers: int, rng: np.random.Generator) -> None:
    delays = rng.uniform(0, 0.003, 50)

    def slow(i: int) -> np.ndarray:
        time.sleep(delays[i])
        return pixel(i)

    found = list(batches(source(50, slow), RAW, 8, workers=workers))
    assert [len(batch.ids) for batch in found] == [8] * 6 + [2]
    values = np.concatenate(
        [batch.images[:, 0, 0, 0] for batch in found if batch.images is not None]
    )
    np.testing.assert_array_equal(values, np.arange(50))
    assert [name for batch in found for name in batch.ids] == [f"image {i}" for i in range(50)]
    assert np.concatenate([batch.labels for batch in found]).tolist() == [i % 7 for i in range(50)]
    assert not data_threads()


@pytest.mark.parametrize(("limit", "sizes"), [(1, [1]), (8, [8]), (9, [8, 1]), (99, [8, 8, 4])])
def test_limit_takes_the_first(limit: int, sizes: list[int]) -> None:
    found = list(batches(source(20, pixel), RAW, 8, limit=limit))
    assert [len(batch.ids) for batch in found] == sizes


def test_only_a_few_batches_are_made_ahead() -> None:
    read: list[int] = []
    stream = batches(source(1000, lambda i: read.append(i) or pixel(i)), RAW, 10, workers=2)
    next(stream)
    time.sleep(0.1)
    assert 10 <= len(read) <= 30
    stream.close()


def test_the_next_batch_is_made_while_the_consumer_works() -> None:
    made = threading.Event()

    def read(i: int) -> np.ndarray:
        if i == 1:
            made.set()
        return pixel(i)

    stream = batches(source(3, read), RAW, 1, workers=1)
    next(stream)
    assert made.wait(timeout=10), "nobody asked for the second batch, so it was not made"
    stream.close()


def test_stopping_early_leaves_no_thread() -> None:
    read: list[int] = []
    stream = batches(source(1000, lambda i: read.append(i) or pixel(i)), RAW, 10, workers=2)
    next(stream)
    assert data_threads()
    stream.close()
    assert not data_threads()
    assert len(read) <= 40


def test_an_error_comes_in_its_turn_and_leaves_no_thread() -> None:
    def broken(i: int) -> np.ndarray:
        if i == 15:
            raise DataError("image 15 is broken.")
        return pixel(i)

    stream = batches(source(100, broken), RAW, 10, workers=4)
    assert next(stream).ids[0] == "image 0"
    with pytest.raises(DataError, match=r"image 15 is broken\. Or skip it .*--skip-bad"):
        next(stream)
    assert not data_threads()


def test_skip_bad_leaves_out_and_lists() -> None:
    def broken(i: int) -> np.ndarray:
        if i in (1, 4, 5):
            raise DataError(f"image {i} is broken.")
        return pixel(i)

    found = list(batches(source(7, broken), RAW, 2, skip_bad=True))
    assert [batch.ids for batch in found] == [
        ("image 0",),
        ("image 2", "image 3"),
        (),
        ("image 6",),
    ]
    assert found[2].images is None
    assert [s.id for batch in found for s in batch.skipped] == ["image 1", "image 4", "image 5"]


def test_a_stream_that_fails_leaves_no_thread() -> None:
    class Failing:
        def __iter__(self):  # type: ignore[no-untyped-def]
            yield Item("image 0", 0, lambda: pixel(0))
            raise DataError("the stream broke.")

    with pytest.raises(DataError, match="the stream broke"):
        list(batches(Source("made", 2, Failing()), RAW, 1))
    assert not data_threads()


def test_labels_of_a_stream_are_checked_as_they_come() -> None:
    class Stream:
        def __iter__(self):  # type: ignore[no-untyped-def]
            yield from (Item(f"image {i}", i, lambda: pixel(0)) for i in range(5))

    checked = Source("made", 5, Stream()).within(3)
    with pytest.raises(DataError, match="image 3: class index must be from 0 to 2, got 3"):
        list(batches(checked, RAW, 2))


# Each thread needs megabytes for its stack.
SHORT_OF_MEMORY = """
import resource, sys
from pathlib import Path
from bnnzoo.data.prefetch import Prefetcher
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]),) * 2)
made = Prefetcher(lambda i: i * i, range(50), 40, 41)
print(list(made) == [i * i for i in range(50)])
made.close()
print(list(made))
"""


@pytest.mark.parametrize("room", [4_000_000, 30_000_000])
def test_batches_are_made_on_the_threads_that_the_system_grants(room: int) -> None:
    command = [sys.executable, "-c", SHORT_OF_MEMORY, str(room)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("True\n[]\n", "")
