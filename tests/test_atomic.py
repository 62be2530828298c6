"""Atomic file writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bnnzoo.atomic import check_writable, replacing, write_file
from bnnzoo.errors import ArgumentError, BnnZooError


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


def test_a_link_stays_and_its_target_is_written(tmp_path):
    target, link = tmp_path / "there" / "real.json", tmp_path / "link.json"
    target.parent.mkdir()
    link.symlink_to(target)
    for content in ("first", "second"):  # the target does not exist, then it does
        check_writable(link, force=content == "second")
        write_file(link, content)
        assert target.read_text() == content
        assert link.is_symlink()
    assert list(target.parent.iterdir()) == [target]
    with pytest.raises(ArgumentError, match=r"link.json already exists. Use --force"):
        check_writable(link, force=False)


def test_a_pipe_takes_what_is_written_and_stays(tmp_path):
    """So do devices, such as /dev/null, which must not be replaced by files."""
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    check_writable(pipe, force=False)
    write_file(pipe, b"content")
    reader.join(timeout=60)
    assert read == [b"content"]
    assert pipe.is_fifo()


def test_a_full_device_is_one_line():
    with pytest.raises(
        BnnZooError, match=r"^/dev/full cannot be written: No space left.* Free some"
    ):
        write_file(Path("/dev/full"), b"content")
    assert Path("/dev/full").is_char_device()


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("dangling", r"dangling cannot be written: the folder .*gone does not exist"),
        ("folder", r"folder must be a file, got a folder"),
        ("n" * 300, r"cannot be written: File name too long. Choose another path"),
        ("file/part", r"file/part cannot be written: the folder .*file does not exist"),
    ],
    ids=["link into nowhere", "folder", "long name", "file for a folder"],
)
def test_what_cannot_be_written_is_told_before_any_work(name, match, tmp_path):
    (tmp_path / "dangling").symlink_to(tmp_path / "gone" / "file")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ArgumentError, match=match):
        check_writable(tmp_path / name, force=True)


AS_NOBODY = """
import os, pathlib
from bnnzoo.atomic import check_writable
from bnnzoo.errors import ArgumentError
if os.geteuid() == 0: os.setuid(65534)  # root may write everywhere
try: check_writable(pathlib.Path("/new"), force=True)
except ArgumentError as error: print(error)
"""


def test_a_read_only_folder_is_told_before_any_work():
    done = subprocess.run([sys.executable, "-c", AS_NOBODY], capture_output=True, text=True)
    assert done.stdout == "/new cannot be written: / is not writable. Choose another path.\n", (
        done.stderr
    )


def test_a_source_is_not_overwritten(tmp_path):
    path, link = tmp_path / "images.npz", tmp_path / "link.npz"
    path.touch()
    link.symlink_to(path)
    sources = [None, "birealnet20", tmp_path / "other.npz", path]
    check_writable(tmp_path / "new.npz", force=True, sources=sources)
    for output in (path, link):
        with pytest.raises(ArgumentError, match=f"{output} is an input of this command"):
            check_writable(output, force=True, sources=sources)


def test_what_is_no_utf8_is_escaped_as_json_does(tmp_path):
    write_file(
        tmp_path / "log.jsonl", json.dumps({"id": os.fsdecode(b"bad\xff")}, ensure_ascii=False)
    )
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {"id": os.fsdecode(b"bad\xff")}
