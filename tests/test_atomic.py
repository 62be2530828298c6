"""Files that are there whole or not at all."""

from __future__ import annotations

import pytest

from bnnzoo.atomic import replacing


def test_the_new_file_takes_the_place_of_the_old_one_at_the_end(tmp_path):
    path = tmp_path / "model.keras"
    path.write_text("old")
    with replacing(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
        assert part.suffix == ".keras" and part.parent == tmp_path and part.name.startswith(".")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_after_an_error_the_old_file_is_as_it_was(tmp_path):
    path = tmp_path / "model.keras"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "log.csv"
    with replacing(path) as first, replacing(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first", "the last one to finish wins"
    assert list(tmp_path.iterdir()) == [path]


def test_a_mark_is_taken_again_after_a_crash(tmp_path):
    path = tmp_path / "last.keras"
    names = []
    for _ in range(2):
        with replacing(path, mark="tmp") as part:
            part.touch()
            names.append(part)
    assert names[0] == names[1]
