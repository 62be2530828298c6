"""`bnnzoo download` prints paths of verified files, or one line and the exit code of the design."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bnnzoo
from bnnzoo import manifest
from bnnzoo.cli.main import main
from bnnzoo.download import transfer
from tests.weight_server import GOOD, Answer, Server, file_at, serving, use_cache, write_manifest

FULL = f"birealnet18.one-full-{file_at().sha256[:8]}.h5"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def cache(server, tmp_path, monkeypatch) -> Path:
    """A cache, and a manifest of two models whose files are on the server."""
    for path in ("/full.h5", "/notop.h5", "/other.h5", "/quick.h5"):
        server.serve(Answer(), path=path)
    write_manifest(
        tmp_path / "manifest.json",
        {
            "birealnet18.one": {"full": server.url("/full.h5"), "notop": server.url("/notop.h5")},
            "birealnet18.two": {"full": server.url("/other.h5")},
            "quicknet.one": {"notop": server.url("/quick.h5")},
        },
    )
    monkeypatch.setattr(manifest, "manifest_path", lambda: tmp_path / "manifest.json")
    monkeypatch.setattr(transfer.time, "sleep", lambda _seconds: None)
    return use_cache(tmp_path / "cache", monkeypatch)


# Arguments -> names of the printed files.
CASES = {
    "default_tag": (["birealnet18"], ["birealnet18.one-full"]),
    "alias": (["birealnet"], ["birealnet18.one-full"]),
    "tag": (["birealnet18.two"], ["birealnet18.two-full"]),
    "two": (["quicknet", "birealnet"], ["quicknet.one-notop", "birealnet18.one-full"]),
    "twice": (["birealnet", "birealnet"], ["birealnet18.one-full"]),
    "role": (["birealnet", "--role", "notop"], ["birealnet18.one-notop"]),
    "roles": (
        ["birealnet", "--role", "notop", "--role", "full"],
        ["birealnet18.one-full", "birealnet18.one-notop"],
    ),
    "all": (["--all"], ["birealnet18.one-full", "birealnet18.two-full", "quicknet.one-notop"]),
    "all_of_a_role": (
        ["--all", "--role", "full"],
        ["birealnet18.one-full", "birealnet18.two-full"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_prints_the_path_of_each_file(case, cache, capsys):
    arguments, names = CASES[case]
    assert main(["download", *arguments]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [path.name.rsplit("-", 1)[0] for path in paths] == names
    assert all(path.parent == cache and path.read_bytes() == GOOD for path in paths)


def test_json_has_the_facts_of_each_file(cache, capsys):
    assert main(["download", "birealnet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "name": "birealnet18.one",
            "role": "full",
            "path": str(cache / FULL),
            "bytes": len(GOOD),
            "sha256": file_at().sha256,
        }
    ]


MISTAKES = {
    "nothing": ([], 2, "Pass either NAMEs or --all."),
    "both": (["birealnet", "--all"], 2, "Pass either NAMEs or --all."),
    "model": (["birealnt"], 3, "Unknown model 'birealnt'. Did you mean 'birealnet"),
    "tag": (["birealnet18.three"], 3, "has no weights tagged 'three'. It has: one, two."),
    "untrained": (["xnornet"], 3, "'xnornet' has no pretrained weights. `bnnzoo list --pretr"),
    "role": (["--role", "half", "birealnet"], 2, "'half' is not one of 'full', 'notop'"),
    "no_such_file": (
        ["quicknet", "--role", "full"],
        2,
        "Weights 'quicknet.one' have no file for --role full. Available roles: notop.",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_before_anything_is_fetched(case, cache, server, capsys):
    arguments, code, message = MISTAKES[case]
    assert main(["download", *arguments]) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert server.requests == []


def test_a_mistake_in_the_second_name_stops_the_first(cache, server):
    assert main(["download", "birealnet", "quickent"]) == 3
    assert main(["download", "birealnet", "quicknet", "--role", "full"]) == 2
    assert server.requests == []


def test_a_fault_is_exit_code_4_and_does_not_stop_the_others(cache, server, capsys):
    server.serve(Answer(404, b""), path="/full.h5")
    server.serve(Answer(body=GOOD[:-1] + b"?"), path="/quick.h5")
    assert main(["download", "--all"]) == 4
    captured = capsys.readouterr()
    assert [Path(line).name[:15] for line in captured.out.splitlines()] == ["birealnet18.two"]
    first, second = captured.err.splitlines()
    assert first.startswith("Error: birealnet18.one (full) cannot be downloaded: ")
    assert second.startswith("Error: quicknet.one (notop) cannot be downloaded: ")
    assert "must have sha256" in second
    assert {path.name[:15] for path in cache.iterdir()} == {"CACHEDIR.TAG", "birealnet18.two"}


def test_offline_is_exit_code_4(cache, server, capsys, monkeypatch):
    monkeypatch.setenv("BNNZOO_OFFLINE", "1")
    assert main(["download", "birealnet"]) == 4
    assert capsys.readouterr().err == (
        f"Error: birealnet18.one (full) must be in the cache, as BNNZOO_OFFLINE is set, but "
        f"{cache / FULL} is missing. Unset BNNZOO_OFFLINE, or put {server.url('/full.h5')} there.\n"
    )


def test_the_real_command_fails_in_one_line_without_a_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "bnnzoo", "download", "birealnet18.larq_in1k"],
        capture_output=True,
        text=True,
        cwd=Path(bnnzoo.__file__).parents[1],
        env={"PATH": "", "BNNZOO_OFFLINE": "1", "BNNZOO_CACHE_DIR": str(tmp_path / "none")},
        timeout=60,
    )
    assert done.returncode == 4
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("Error: birealnet18.larq_in1k (full) must be in the cache")
