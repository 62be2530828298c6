"""Every fault of a server or a disk ends in one clear error and a cache without broken files."""

from __future__ import annotations

import errno
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bnnzoo
from bnnzoo.errors import WeightsError
from tests.weight_server import (
    BAD,
    CACHED,
    GOOD,
    HURRY,
    IMPATIENT,
    NAME,
    Answer,
    Server,
    file_at,
    get,
    names_in,
    serving,
    use_cache,
    wait_for,
)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    return use_cache(tmp_path / "cache", monkeypatch)


# --- a server that fails

ELSEWHERE = (("Location", "http://elsewhere.example/file.h5"),)
HIDDEN_HOST = (("Location", "http://elsewhere.example\\@127.0.0.1/file.h5"),)
LOOP = (("Location", "/file.h5"),)

# Fault -> what the server answers, the reason in the message, the number of requests.
FAULTS = {
    "truncated": (
        Answer(body=GOOD[:500], declared=len(GOOD)),
        "fails: .*500 bytes read|must have 256000 bytes, got 500",  # the latter: urllib3 1.26
        3,
    ),
    "short": (Answer(body=GOOD[:500]), "must have 256000 bytes, got 500", 3),
    "short_without_length": (
        Answer(body=GOOD[:500], declared=None),
        "must have 256000 bytes, got 500",
        3,
    ),
    "empty": (Answer(body=b""), "must have 256000 bytes, got 0", 3),
    "corrupted": (Answer(body=BAD), r"must have sha256 \w{16}\.\.\., got \w{16}\.\.\.", 3),
    "endless": (Answer(body=GOOD * 4), "sends more than 256000 bytes", 3),
    "absent": (Answer(404, b"no"), "answers 404 Not Found", 1),
    "forbidden": (Answer(403, b"no"), "answers 403 Forbidden", 1),
    "failing": (Answer(500, b"no"), "answers 500 Internal Server Error", 3),
    "busy": (Answer(429, b"no"), "answers 429 Too Many Requests", 3),
    "silent": (Answer(stall_after=-1), "fails: .*timed out", 3),
    "stalled": (Answer(stall_after=1000), "fails: .*timed out", 3),
    "redirect_elsewhere": (
        Answer(302, b"", headers=ELSEWHERE),
        "redirects to 'http://elsewhere.example/file.h5', which is neither https nor this machine",
        1,
    ),
    "redirect_hidden": (Answer(302, b"", headers=HIDDEN_HOST), "redirects to .*, which is nei", 1),
    "redirect_bad": (
        Answer(302, b"", headers=(("Location", "http://[::1/"),)),
        "fails: .*Invalid IPv6 URL",
        1,
    ),
    "redirect_loop": (Answer(302, b"", headers=LOOP), "redirects more than 10 times", 11),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_server_is_one_clear_error_and_a_clean_cache(fault, server, cache):
    answer, reason, requests = FAULTS[fault]
    url = server.serve(answer)
    with pytest.raises(WeightsError) as caught:
        get(file_at(url), patience=HURRY if answer.stall_after is None else IMPATIENT)
    message = str(caught.value)
    start = f"{NAME} (full) cannot be downloaded: {url} "
    end = ". Check the connection, or set BNNZOO_BASE_URL to a mirror."
    assert message.startswith(start)
    assert message.endswith(end)
    assert re.search(reason, message)
    assert "\n" not in message
    wait_for(lambda: len(server.requests) >= requests)  # a busy machine serves late
    assert len(server.requests) == requests
    assert names_in(cache) == set()


@pytest.mark.parametrize("fault", ["corrupted", "truncated", "absent", "silent"])
def test_a_broken_cached_file_does_not_survive_a_fault(fault, server, cache):
    cache.mkdir()
    (cache / CACHED).write_bytes(BAD)
    with pytest.raises(WeightsError, match="cannot be downloaded"):
        get(file_at(server.serve(FAULTS[fault][0])), patience=IMPATIENT)
    assert names_in(cache) == set()


def test_a_dead_port_is_a_clear_error(cache):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/file.h5"
        with pytest.raises(WeightsError, match=rf"{url} fails: .*[Cc]onnection refused"):
            get(file_at(url))
    assert names_in(cache) == set()


def test_the_reason_of_every_url_is_told(server, cache):
    urls = server.serve(Answer(500), path="/a.h5"), server.url("/b.h5")
    with pytest.raises(WeightsError, match=r"/a\.h5 answers 500 .*; .*/b\.h5 answers 404 "):
        get(file_at(*urls))
    assert server.requests == ["/a.h5", "/b.h5", "/a.h5", "/a.h5"]


# --- a cache folder that cannot be written

FETCH = """
import os, sys
from bnnzoo.errors import WeightsError
from bnnzoo.manifest import WeightsFile
from bnnzoo.weights import fetch

url, sha256, size, cache = sys.argv[1:]
file = WeightsFile("full", sha256, "keras_h5", (url,), bytes=int(size))
try:
    print(fetch(file, name="birealnet18.test", cache_dir=cache))
except WeightsError as error:
    print(error)
print(sorted(os.listdir(cache)))
"""


def in_tmpfs(folder: Path, options: str, *commands: str) -> list[str]:
    """Runs shell commands that see a tmpfs at `folder`, and returns the lines they print.

    The mount is in a namespace of its own, so that it is gone with the shell whatever happens.
    """
    folder.mkdir()
    shell = ["unshare", *([] if os.geteuid() == 0 else ["-r"]), "-m", "sh", "-ec"]
    mount = f"mount -t tmpfs -o {options} none {folder}"
    if shutil.which("unshare") is None or subprocess.run([*shell, mount]).returncode:
        pytest.skip("this system does not permit a mount in a namespace of its own")
    done = subprocess.run(
        [*shell, "\n".join([mount, *commands])],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=Path(bnnzoo.__file__).parents[1],
        timeout=60,
    )
    return done.stdout.splitlines()


def fetching(url: str, cache: Path) -> str:
    """The shell command that fetches the file and prints the outcome and what the cache holds."""
    file = file_at(url)
    return shlex.join([sys.executable, "-c", FETCH, url, file.sha256, str(file.bytes), str(cache)])


# Takes from root what other users do not have.
AS_USER = "setpriv --bounding-set -fowner,-dac_override --inh-caps -fowner,-dac_override "


@pytest.fixture
def sticky(tmp_path) -> Path:
    """A cache of another user that all may write to, and remove their own files from."""
    if os.geteuid() or shutil.which("setpriv") is None:
        pytest.skip("only root can make files of another user")
    (tmp_path / "sticky").mkdir()
    os.chown(tmp_path / "sticky", 12345, 12345)
    (tmp_path / "sticky").chmod(0o1777)
    return tmp_path / "sticky"


def fetched_as_user(url: str, cache: Path) -> list[str]:
    done = subprocess.run(
        AS_USER + fetching(url, cache), shell=True, check=True, stdout=subprocess.PIPE, text=True,
        cwd=Path(bnnzoo.__file__).parents[1], timeout=60,
    )  # fmt: skip
    return done.stdout.splitlines()


def test_dead_parts_of_other_users_stop_no_download(server, sticky):
    part = sticky / f".{CACHED}.01234567.part"
    part.write_bytes(b"half")
    os.chown(part, 12345, 12345)
    os.utime(part, (0, 0))
    path, left = fetched_as_user(server.serve(Answer()), sticky)
    assert path == str(sticky / CACHED)
    assert left == str(sorted([part.name, CACHED]))


def test_a_broken_file_of_another_user_is_a_clear_error(server, sticky):
    (sticky / CACHED).write_bytes(BAD)
    os.chown(sticky / CACHED, 12345, 12345)
    message, left = fetched_as_user(server.serve(Answer()), sticky)
    assert re.match(
        rf"{sticky / CACHED} must have sha256 .*, and cannot be replaced: Operation not permitted"
        r"\. Ask the owner of the file to remove it, or set BNNZOO_CACHE_DIR to a folder of yo",
        message,
    )
    assert left == f"['{CACHED}']"
    assert server.requests == []


def test_a_read_only_cache_is_a_clear_error(server, cache):
    message, left = in_tmpfs(cache, "ro", fetching(server.serve(Answer()), cache))
    assert re.search(rf"cannot be written to {cache}: Read-only file system\. .*_DIR to", message)
    assert left == "[]"
    assert server.requests == []


def test_a_read_only_cache_still_serves_what_it_has(server, cache):
    fetch_it = fetching(server.serve(Answer()), cache)
    lines = in_tmpfs(cache, "size=1m", fetch_it, f"mount -o remount,ro {cache}", fetch_it)
    assert lines == [str(cache / CACHED), f"['CACHEDIR.TAG', '{CACHED}']"] * 2
    assert len(server.requests) == 1


def test_a_full_cache_is_a_clear_error(server, cache):
    message, left = in_tmpfs(cache, "size=64k", fetching(server.serve(Answer()), cache))
    start = f"{NAME} (full) cannot be written to {cache}: No space left on device. Make room there"
    assert message.startswith(start)
    assert left == "['CACHEDIR.TAG']"
    assert len(server.requests) == 1


def test_a_full_disk_leaves_no_half_of_a_tag(server, tmp_path):
    disk = tmp_path / "disk"
    fill = f"head -c 4096 /dev/zero > {disk}/fill"
    message, left = in_tmpfs(
        disk, "size=4k", fill, fetching(server.serve(Answer()), disk / "cache")
    )
    assert "No space left on device" in message
    assert left == "[]"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.get)
def test_a_write_that_fails_is_a_clear_error(number, server, cache, monkeypatch):
    def full(*_arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("bnnzoo.download.transfer._Part.write", full)
    with pytest.raises(WeightsError, match=f"to {cache}: {os.strerror(number)}. Make room"):
        get(file_at(server.serve(Answer())))
    assert names_in(cache) == set()


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/bnnzoo"])
def test_a_cache_that_cannot_be_made_is_a_clear_error(place, server, tmp_path):
    if place.startswith("/proc") and not Path("/proc/self").exists():
        pytest.skip("this system has no /proc")
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match=r"\(full\) cannot be written to .*BNNZOO_CACHE_DIR"):
        get(file_at(server.serve(Answer())), cache_dir=tmp_path / place)


def test_a_folder_in_place_of_the_file_is_a_clear_error(server, cache):
    (cache / CACHED).mkdir(parents=True)
    with pytest.raises(WeightsError, match=f"cannot be written to {cache}: "):
        get(file_at(server.serve(Answer())))
    assert names_in(cache) == {CACHED}
