"""`bnnzoo cache` shows, verifies and removes weight files, and touches nothing else."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from bnnzoo import manifest
from bnnzoo.cli.cache import _age
from bnnzoo.cli.main import main
from tests.weight_server import GOOD, file_at, use_cache, write_manifest

SHA = file_at().sha256[:8]
FULL = f"birealnet18.one-full-{SHA}.h5"
NOTOP = f"birealnet18.one-notop-{SHA}.h5"
QUICK = f"quicknet.one-full-{SHA}.h5"
OLD = "birealnet18.old-full-00000000.h5"
FOREIGN = "gone.one-full-00000000.safetensors"
PART = f".{FULL}.01234567.part"


@pytest.fixture
def empty(tmp_path, monkeypatch) -> Path:
    """A cache that does not exist yet, and a manifest."""
    url = "https://github.example/x.h5"
    write_manifest(
        tmp_path / "manifest.json",
        {"birealnet18.one": {"full": url, "notop": url}, "quicknet.one": {"full": url}},
    )
    monkeypatch.setattr(manifest, "manifest_path", lambda: tmp_path / "manifest.json")
    return use_cache(tmp_path / "cache", monkeypatch)


@pytest.fixture
def cache(empty) -> Path:
    """A cache with files of every state, and something that is not of it."""
    empty.mkdir()
    for name in (FULL, NOTOP, QUICK):
        (empty / name).write_bytes(GOOD)
    for name in (OLD, FOREIGN, PART):
        (empty / name).write_bytes(b"x")
    (empty / "notes.txt").touch()
    (empty / "mine.h5").touch()
    return empty


def states(capsys) -> dict[str, str]:
    return {Path(row["path"]).name: row["state"] for row in json.loads(capsys.readouterr().out)}


def test_path_prints_the_folder(empty, capsys):
    assert main(["cache", "path"]) == 0
    assert capsys.readouterr().out == f"{empty}\n"
    assert not empty.exists()


def test_ls_tells_name_role_bytes_age_and_state(cache, capsys):
    two_days_ago = time.time() - 2 * 86400
    os.utime(cache / FULL, (two_days_ago, two_days_ago))
    assert main(["cache", "ls"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["name", "role", "bytes", "age", "state"] in lines
    assert ["birealnet18.one", "full", "256,000", "2", "d", "cached"] in lines
    assert ["birealnet18.old", "full", "1", "0", "s", "unknown"] in lines


def test_ls_json(cache, capsys):
    (cache / NOTOP).write_bytes(b"half")
    assert main(["cache", "ls", "--json"]) == 0
    out = capsys.readouterr().out
    row = next(row for row in json.loads(out) if row["path"] == str(cache / QUICK))
    assert row["name"] == "quicknet.one"
    assert row["role"] == "full"
    assert row["bytes"] == len(GOOD)
    assert row["modified"].endswith("+00:00")
    assert {Path(row["path"]).name: row["state"] for row in json.loads(out)} == {
        PART: "partial", OLD: "unknown", FOREIGN: "unknown",
        FULL: "cached", NOTOP: "broken", QUICK: "cached",
    }  # fmt: skip


@pytest.mark.parametrize("command", ["ls", "verify"])
def test_an_empty_cache_is_said_on_standard_error(command, empty, capsys):
    assert main(["cache", command]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"No weights in {empty}.\n"
    assert main(["cache", command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_verify_reads_the_content(cache, capsys):
    assert main(["cache", "verify", "--json"]) == 0
    good = states(capsys)
    assert good == {
        PART: "partial", OLD: "unknown", FOREIGN: "unknown",
        FULL: "ok", NOTOP: "ok", QUICK: "ok",
    }  # fmt: skip
    (cache / NOTOP).write_bytes(GOOD[:-1] + b"?")
    assert main(["cache", "verify", "--json"]) == 4
    assert states(capsys) == {**good, NOTOP: "broken"}


def test_verify_tells_what_is_wrong_and_what_to_do(cache, capsys):
    (cache / NOTOP).write_bytes(GOOD[:-1] + b"?")
    (cache / QUICK).write_bytes(b"")
    assert main(["cache", "verify"]) == 4
    captured = capsys.readouterr()
    assert ["birealnet18.one", "notop", "broken", NOTOP] in [
        line.split() for line in captured.out.splitlines()
    ]
    assert captured.err.startswith(
        f"Error: 2 of 6 cached files differ from the manifest: {cache / NOTOP} must have sha256 "
    )
    assert captured.err.endswith("Run: bnnzoo download birealnet18.one --role notop\n")
    assert captured.err.count("\n") == 1


# Arguments -> the files that go.
REMOVALS = {
    "model": (["birealnet18"], {FULL, NOTOP, OLD, PART}),
    "alias": (["birealnet"], {FULL, NOTOP, OLD, PART}),
    "tag": (["birealnet18.one"], {FULL, NOTOP, PART}),
    "alias_with_tag": (["birealnet.one"], {FULL, NOTOP, PART}),
    "old_tag": (["birealnet18.old"], {OLD}),
    "old_model": (["gone"], {FOREIGN}),
    "two": (["gone.one", "quicknet", "quicknet.one"], {FOREIGN, QUICK}),
    "all": (["--all", "--yes"], {FULL, NOTOP, QUICK, OLD, FOREIGN, PART}),
}


@pytest.mark.parametrize("case", REMOVALS)
def test_rm_removes_the_named_weights_and_prints_them(case, cache, capsys):
    arguments, gone = REMOVALS[case]
    before = {path.name for path in cache.iterdir()}
    assert main(["cache", "rm", *arguments]) == 0
    assert {Path(line).name for line in capsys.readouterr().out.splitlines()} == gone
    assert {path.name for path in cache.iterdir()} == before - gone


def test_rm_json(cache, capsys):
    assert main(["cache", "rm", "quicknet", "--json"]) == 0
    assert [row["path"] for row in json.loads(capsys.readouterr().out)] == [str(cache / QUICK)]


def test_rm_of_what_is_not_there_is_said(cache, capsys):
    assert main(["cache", "rm", "xnornet"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"No weights of 'xnornet' in {cache}.\n"


MISTAKES = {
    "nothing": ([], 2, "Pass either NAMEs or --all."),
    "both": (["quicknet", "--all"], 2, "Pass either NAMEs or --all."),
    "model": (["quickent"], 3, "Unknown model 'quickent'. Did you mean 'quicknet'?"),
    "second_model": (["quicknet", "quickent"], 3, "Unknown model 'quickent'."),
    "unasked": (["--all"], 2, "--all needs a confirmation, but there is no terminal. Add --yes."),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_rm_with_a_mistake_removes_nothing(case, cache, capsys):
    arguments, code, message = MISTAKES[case]
    before = set(cache.iterdir())
    assert main(["cache", "rm", *arguments]) == code
    assert message in capsys.readouterr().err
    assert set(cache.iterdir()) == before


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, 0), ("n", 1, 3), ("", 1, 3)])
def test_rm_of_everything_asks_a_person(answer, code, left, cache, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _prompt: answer)
    assert main(["cache", "rm", "--all"]) == code
    captured = capsys.readouterr()
    assert (
        len([path for path in cache.iterdir() if SHA in path.name and path.name[0] != "."]) == left
    )
    assert ("Nothing was removed." in captured.err) is (left > 0)


def test_cache_lists_its_commands(capsys):
    assert main(["cache", "--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in ("ls", "path", "rm", "verify"))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-5.0, "0 s"), (59.0, "59 s"), (60.0, "1 min"), (3600.0, "1 h"), (1e6, "12 d")],
)
def test_age(seconds, expected):
    assert _age(seconds) == expected
