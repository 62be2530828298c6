"""The lock keeps others out, dies with its holder, and leaves no file."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from bnnzoo import file_lock
from bnnzoo.file_lock import lock


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "file.lock"


def test_it_is_held_inside_and_gone_afterwards(path):
    with lock(path) as held:
        assert held
        assert path.exists()
    assert not path.exists()


def test_it_is_gone_after_an_exception(path):
    with pytest.raises(KeyError), lock(path):
        raise KeyError
    assert not path.exists()
    with lock(path, wait=False) as held:
        assert held


def test_who_does_not_wait_is_told(path):
    with lock(path):
        with lock(path, wait=False) as held:
            assert not held
        assert path.exists()


def test_a_file_left_by_a_dead_process_is_no_obstacle(path):
    path.touch()
    with lock(path, wait=False) as held:
        assert held
    assert not path.exists()


def test_many_threads_are_inside_one_at_a_time(path):
    inside: list[int] = []
    crowds: list[int] = []

    def enter() -> None:
        for _ in range(20):
            with lock(path) as held:
                inside.append(held)
                crowds.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert crowds == [1] * 120
    assert not path.exists()


def test_a_file_system_without_locks_is_not_locked(path, monkeypatch):
    def refuse(*_arguments):
        raise OSError("no locks available")

    monkeypatch.setattr(file_lock.fcntl, "flock", refuse)
    with lock(path) as held:
        assert not held
    assert not path.exists()


def test_a_platform_without_flock_is_not_locked(path, monkeypatch):
    monkeypatch.setattr(file_lock, "fcntl", None)
    with lock(path) as held:
        assert not held
        assert not path.exists()


def test_a_folder_that_is_not_there_is_an_os_error(path):
    with pytest.raises(FileNotFoundError), lock(path / "x"):
        pass
