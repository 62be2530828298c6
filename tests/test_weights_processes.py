"""Processes that fetch the same file at once never see half of it; a killed one does no harm."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import bnnzoo
from bnnzoo import manifest, weights
from bnnzoo.weights import STALE_PART_S, cached_files
from tests.weight_server import (
    CACHED,
    GOOD,
    NAME,
    Answer,
    Server,
    file_at,
    get,
    names_in,
    serving,
    use_cache,
    wait_for,
    write_manifest,
)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    return use_cache(tmp_path / "cache", monkeypatch)


CLIENT = """
import sys
from bnnzoo.manifest import WeightsFile
from bnnzoo.download.policy import Patience
from bnnzoo.weights import fetch

url, sha256, size = sys.argv[1:]
file = WeightsFile("full", sha256, "keras_h5", (url,), bytes=int(size))
print(fetch(file, name="birealnet18.test", patience=Patience(read_timeout_s=20.0)))
"""


@pytest.fixture
def client() -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts processes of their own that fetch a file."""
    with contextlib.ExitStack() as stack:

        def start(url: str) -> subprocess.Popen[str]:
            file = file_at(url)
            process = subprocess.Popen(
                [sys.executable, "-c", CLIENT, url, file.sha256, str(file.bytes)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=Path(bnnzoo.__file__).parents[1],
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


def parts(cache: Path) -> list[Path]:
    return [path for path in cache.glob(".*.part") if path.stat().st_size] if cache.exists() else []


def test_processes_that_want_the_same_file_never_see_a_broken_one(client, server, cache):
    url = server.serve(Answer(gated=True))
    processes = [client(url) for _ in range(4)]
    wait_for(lambda: len(server.requests) == 4, seconds=60)
    assert names_in(cache) == set() or all(name.endswith(".part") for name in names_in(cache))
    server.gate.set()
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert out.strip() == str(cache / CACHED)
    assert (cache / CACHED).read_bytes() == GOOD
    assert names_in(cache) == {CACHED}


def test_a_process_does_not_wait_for_a_slow_one(client, server, cache):
    url = server.serve(Answer(stall_after=200_000), Answer())
    process = client(url)
    wait_for(lambda: parts(cache))
    assert get(file_at(url)).read_bytes() == GOOD
    assert process.poll() is None
    assert {path.name for path in parts(cache)} == names_in(cache) - {CACHED} != set()


def test_what_a_killed_process_leaves_is_removed_once_it_is_old(client, server, cache):
    url = server.serve(Answer(stall_after=200_000), Answer())
    process = client(url)
    wait_for(lambda: parts(cache))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (cache / CACHED).exists()
    (part,) = parts(cache)
    assert names_in(cache) == {part.name}
    os.utime(part, (time.time() - STALE_PART_S - 1,) * 2)
    assert get(file_at(url)).read_bytes() == GOOD
    assert names_in(cache) == {CACHED}


def test_an_interrupted_process_leaves_nothing(client, server, cache):
    process = client(server.serve(Answer(stall_after=200_000)))
    wait_for(lambda: parts(cache))
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate(timeout=30)[1]
    assert names_in(cache) == set()


PARTS = {
    "young": (f".{CACHED}.01234567.part", 60.0, True),
    "old": (f".{CACHED}.01234567.part", 2 * STALE_PART_S, False),
    "old, of another file": (f".{NAME}-notop-00000000.h5.01234567.part", 2 * STALE_PART_S, False),
    "old, but not ours": (".letter.01234567.part", 2 * STALE_PART_S, True),
}


@pytest.mark.parametrize("case", PARTS)
def test_a_download_removes_dead_parts_only(case, server, cache):
    name, age_s, stays = PARTS[case]
    cache.mkdir()
    (cache / name).write_bytes(b"half")
    os.utime(cache / name, (time.time() - age_s,) * 2)
    get(file_at(server.serve(Answer())))
    assert (cache / name).exists() is stays


@pytest.fixture
def records(server, tmp_path) -> manifest.Manifest:
    """A manifest with the file that the server has."""
    write_manifest(tmp_path / "manifest.json", {NAME: {"full": server.url()}})
    return manifest.load(tmp_path / "manifest.json")


def test_the_part_of_a_killed_process_can_be_removed(client, server, cache, records):
    process = client(server.serve(Answer(stall_after=200_000)))
    wait_for(lambda: parts(cache))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (part,) = cached_files(records)
    assert part.partial
    weights.remove(part)
    assert names_in(cache) == set()
