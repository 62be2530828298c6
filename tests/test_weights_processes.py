"""Processes that fetch the same file share one download, and a killed one leaves no harm."""

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
from bnnzoo.weights import cached_files
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
from bnnzoo.network import Patience
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


def test_processes_that_want_the_same_file_download_it_once(client, server, cache):
    url = server.serve(Answer(gated=True))
    first = client(url)
    wait_for(lambda: server.requests)
    others = [client(url) for _ in range(3)]
    for other in others:
        assert "Waiting for another process, which holds" in other.stderr.readline()
    server.gate.set()
    for process in (first, *others):
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        assert out.strip() == str(cache / CACHED)
    assert (cache / CACHED).read_bytes() == GOOD
    assert names_in(cache) == {CACHED}
    assert len(server.requests) == 1


def test_processes_without_locks_never_see_a_broken_file(client, server, cache, monkeypatch):
    monkeypatch.setattr("bnnzoo.file_lock.fcntl", None)
    url = server.serve(Answer(gated=True), Answer())
    process = client(url)
    wait_for(lambda: server.requests)
    assert get(file_at(url)).read_bytes() == GOOD
    server.gate.set()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert names_in(cache) == {CACHED}
    assert (cache / CACHED).read_bytes() == GOOD
    assert len(server.requests) == 2


def test_a_process_whose_forerunner_fails_downloads_itself(client, server, cache):
    url = server.serve(Answer(404, b"no", gated=True), Answer())
    first = client(url)
    wait_for(lambda: server.requests)
    second = client(url)
    assert "Waiting for another process" in second.stderr.readline()
    server.gate.set()
    assert "answers 404" in first.communicate(timeout=30)[1]
    assert second.communicate(timeout=30)[0].strip() == str(cache / CACHED)
    assert names_in(cache) == {CACHED}


def test_a_killed_process_leaves_nothing_that_the_next_fetch_keeps(client, server, cache):
    url = server.serve(Answer(stall_after=200_000), Answer())
    process = client(url)
    wait_for(lambda: parts(cache))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(names_in(cache)) == 2  # a part and a lock, but no broken file
    assert not (cache / CACHED).exists()
    assert get(file_at(url)).read_bytes() == GOOD
    assert names_in(cache) == {CACHED}


def test_an_interrupted_process_leaves_nothing(client, server, cache):
    process = client(server.serve(Answer(stall_after=200_000)))
    wait_for(lambda: parts(cache))
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate(timeout=30)[1]
    assert names_in(cache) == set()


def test_a_fetch_leaves_the_parts_of_other_files_alone(server, cache):
    cache.mkdir()
    other = cache / f".{NAME}-notop-00000000.h5.01234567.part"
    other.write_bytes(b"half")
    get(file_at(server.serve(Answer())))
    assert names_in(cache) == {CACHED, other.name}


@pytest.mark.parametrize(("age_s", "stays"), [(60.0, True), (25 * 3600.0, False)])
def test_without_locks_only_an_old_part_is_dead(age_s, stays, server, cache, monkeypatch):
    monkeypatch.setattr("bnnzoo.file_lock.fcntl", None)
    cache.mkdir()
    part = cache / f".{CACHED}.01234567.part"
    part.write_bytes(b"half")
    os.utime(part, (time.time() - age_s,) * 2)
    get(file_at(server.serve(Answer())))
    assert part.exists() is stays


@pytest.fixture
def records(server, tmp_path) -> manifest.Manifest:
    """A manifest with the file that the server has."""
    write_manifest(tmp_path / "manifest.json", {NAME: {"full": server.url()}})
    return manifest.load(tmp_path / "manifest.json")


def test_a_file_can_be_removed_but_not_the_part_of_a_running_download(
    client, server, cache, records
):
    url = server.serve(Answer(stall_after=200_000))
    process = client(url)
    wait_for(lambda: parts(cache))
    (running,) = cached_files(records)
    assert weights.remove(running) is False
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert weights.remove(running) is True
    assert names_in(cache) == set()
