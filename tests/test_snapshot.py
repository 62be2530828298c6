"""What a file held when it was read first is what everybody gets."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from bnnzoo.snapshot import Snapshot


@pytest.fixture
def path(tmp_path) -> Path:
    (tmp_path / "x.h5").write_bytes(b"first")
    return tmp_path / "x.h5"


def test_a_file_is_read_once(path):
    snapshot = Snapshot(path)
    assert snapshot == path and snapshot.name == "x.h5"
    assert snapshot.read_bytes() == b"first"
    path.write_bytes(b"second")
    assert snapshot.read_bytes() == b"first"
    assert path.read_bytes() == Snapshot(path).read_bytes() == b"second"


@pytest.mark.parametrize("again", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_a_copy_of_it_holds_the_same(again, path):
    snapshot = Snapshot(path)
    snapshot.read_bytes()
    path.unlink()
    assert again(snapshot).read_bytes() == b"first"
    assert again(snapshot) == path


def test_another_path_made_from_it_holds_nothing(path):
    Snapshot(path).read_bytes()
    (path.parent / "y.h5").write_bytes(b"other")
    assert Snapshot(path).with_name("y.h5").read_bytes() == b"other"


def test_a_private_copy_is_gone_afterwards(path):
    with Snapshot(path).private_copy() as own:
        path.write_bytes(b"second")
        assert own.read_bytes() == b"first" and own.name == path.name
    assert not own.parent.exists()


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        Snapshot(tmp_path / "none").read_bytes()
