"""Where a network is written to, and what is refused before any work is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from bnnzoo.conversion.writing import Target, find_format
from bnnzoo.errors import ArgumentError, BnnZooError
from bnnzoo.formats import WRITTEN, Format

FILE = Format("one", ".one", "a test", "one")
FOLDER = Format("many", "", "a test", "many")


@pytest.mark.parametrize("known", WRITTEN, ids=lambda known: known.name)
def test_a_format_is_found_by_its_name_and_by_its_suffix(known: Format) -> None:
    assert find_format(f"net{known.suffix}", known.name) == known
    assert find_format(None, known.name) == known
    if known.suffix:
        assert find_format(Path(f"net{known.suffix}"), None) == known


def test_nothing_is_a_packed_file() -> None:
    assert find_format(None, None).name == "packed"


@pytest.mark.parametrize("path", ["net", "net.pb", "net.one/net"])
def test_a_path_that_says_no_format(path: str) -> None:
    with pytest.raises(ArgumentError, match=rf"path must end in .*, got {path}\. .*list-formats"):
        find_format(path, None)


def test_a_file_is_written_and_nothing_beside_it(tmp_path: Path) -> None:
    Target(tmp_path / "net.one", FILE, force=False).write({"": b"content"})
    assert [p.name for p in tmp_path.iterdir()] == ["net.one"]
    assert (tmp_path / "net.one").read_bytes() == b"content"


def test_a_file_is_replaced_at_once(tmp_path: Path) -> None:
    path, plain = tmp_path / "net.one", tmp_path / "plain"
    for content in (b"before", b"after"):
        Target(path, FILE, force=True).write({"": content})
    plain.touch()
    assert path.read_bytes() == b"after"
    assert path.stat().st_mode == plain.stat().st_mode
    assert {p.name for p in tmp_path.iterdir()} == {"net.one", "plain"}


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(BnnZooError, match="cannot be written: No space left"):
        Target(tmp_path / "net.one", FILE, force=False).write({"": b"content"})
    assert not list(tmp_path.iterdir())


def test_a_folder_is_made_and_its_files_written(tmp_path: Path) -> None:
    files = {"a.c": b"1", "a.h": b"2"}
    Target(tmp_path / "net", FOLDER, force=False).write(files)
    assert {p.name: p.read_bytes() for p in (tmp_path / "net").iterdir()} == files


def test_what_is_there_needs_force(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    Target(tmp_path / "net", FOLDER, force=False)  # an empty folder is no loss
    (tmp_path / "net" / "a.c").touch()
    (tmp_path / "net.one").touch()
    for path, kind in ((tmp_path / "net", FOLDER), (tmp_path / "net.one", FILE)):
        with pytest.raises(ArgumentError, match=r"(already exists|is not empty). Use --force"):
            Target(path, kind, force=False)
        Target(path, kind, force=True)


@pytest.mark.parametrize(
    ("path", "kind", "match"),
    [
        ("no/net.one", FILE, "net.one cannot be written: the folder .*no does not exist"),
        ("folder.one", FILE, "folder.one must be a file, got a folder"),
        ("no/net", FOLDER, "net cannot be created: the folder .*no does not exist"),
        ("file", FOLDER, "path must be a folder for many, got the file"),
    ],
)
def test_a_place_that_cannot_be_written(
    path: str, kind: Format, match: str, tmp_path: Path
) -> None:
    (tmp_path / "folder.one").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ArgumentError, match=match):
        Target(tmp_path / path, kind, force=True)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    target = Target(tmp_path / "net", FOLDER, force=False)
    (tmp_path / "net").touch()
    with pytest.raises(BnnZooError, match="net cannot be created: File exists"):
        target.write({"a.c": b""})
