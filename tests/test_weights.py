"""Weights come right or not at all: every fault ends in one clear error and a clean cache."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import bnnzoo
from bnnzoo import manifest, weights
from bnnzoo.errors import WeightsError
from bnnzoo.manifest import WeightsFile
from bnnzoo.weights import cached_files, fetch
from tests.weight_server import (
    GOOD,
    HURRY,
    IMPATIENT,
    NAME,
    Answer,
    Server,
    file_at,
    names_in,
    serving,
    write_manifest,
)

BAD = GOOD[:-1] + b"?"
CACHED = f"{NAME}-full-{file_at().sha256[:8]}.h5"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    for name in ("BNNZOO_OFFLINE", "BNNZOO_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BNNZOO_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def get(file: WeightsFile, **settings) -> Path:
    return fetch(file, name=NAME, **{"patience": HURRY, **settings})


def wait_for(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


# --- what works


def test_a_good_file_is_kept_under_a_name_that_tells_what_it_is(server, cache):
    path = get(file_at(server.serve(Answer())))
    assert path == cache / CACHED
    assert path.read_bytes() == GOOD
    assert names_in(cache) == {CACHED}


def test_a_cached_file_is_verified_and_not_fetched_again(server, cache):
    file = file_at(server.serve(Answer()))
    assert get(file) == get(file)
    assert len(server.requests) == 1


@pytest.mark.parametrize("content", [BAD, GOOD[:100], b""], ids=["same_size", "short", "empty"])
def test_a_broken_cached_file_is_fetched_again_and_said(content, server, cache, caplog):
    file = file_at(server.serve(Answer()))
    get(file).write_bytes(content)
    assert get(file).read_bytes() == GOOD
    assert re.search(rf"{CACHED} must have .*, got .*\. It is downloaded again\.", caplog.text)


def test_without_a_size_the_sha256_decides(server, cache):
    file = file_at(server.serve(Answer(), path="/a.h5"), size=None)
    assert get(file).read_bytes() == GOOD
    server.serve(Answer(body=BAD), path="/b.h5")
    with pytest.raises(WeightsError, match=r"must have sha256 [0-9a-f]{16}\.\.\., got "):
        fetch(file_at(server.url("/b.h5"), size=None), name="birealnet18.other", patience=HURRY)


@pytest.mark.parametrize("suffix", weights.SUFFIXES)
def test_the_suffix_that_decides_how_a_file_is_read_is_kept(suffix, server, cache):
    path = get(file_at(server.serve(Answer(), path=f"/dir/x{suffix}")))
    assert path.name == CACHED.removesuffix(".h5") + suffix


def test_a_later_answer_or_url_may_be_the_good_one(server, cache):
    url = server.serve(Answer(500), Answer(body=BAD), Answer())
    assert get(file_at(url)).read_bytes() == GOOD
    assert len(server.requests) == 3


@pytest.mark.parametrize("dead", ["http://127.0.0.1:9/file.h5", "/gone.h5"], ids=["port", "404"])
def test_the_second_url_is_tried_when_the_first_is_dead(dead, server, cache):
    first = dead if dead.startswith("http") else server.url(dead)
    assert get(file_at(first, server.serve(Answer()))).read_bytes() == GOOD
    assert server.requests[-1:] == ["/file.h5"]


def test_a_redirect_on_this_machine_is_followed(server, cache):
    server.serve(Answer(), path="/there")
    url = server.serve(Answer(302, b"", headers=(("Location", "/there"),)))
    assert get(file_at(url)).read_bytes() == GOOD


def test_the_folder_is_tagged_as_a_cache(server, cache):
    get(file_at(server.serve(Answer())))
    tag = (cache / "CACHEDIR.TAG").read_text()
    assert tag.startswith("Signature: 8a477f597d28d172789f06886806bc55\n")


def test_a_folder_that_holds_other_things_is_not_tagged(server, cache):
    cache.mkdir()
    (cache / "thesis.tex").touch()
    get(file_at(server.serve(Answer())))
    assert not (cache / "CACHEDIR.TAG").exists()


def test_a_cached_file_has_the_permissions_of_the_umask(server, cache):
    previous = os.umask(0o027)
    try:
        path = get(file_at(server.serve(Answer())))
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_the_argument_beats_the_environment_and_home_is_expanded(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights.cache_folder() == cache
    assert weights.cache_folder("~/x") == tmp_path / "x"
    monkeypatch.delenv("BNNZOO_CACHE_DIR")
    assert weights.cache_folder().name == "bnnzoo"


def test_an_unknown_home_folder_is_a_clear_error(monkeypatch):
    monkeypatch.setenv("BNNZOO_CACHE_DIR", "~nobody_of_this_name/cache")
    with pytest.raises(WeightsError, match="BNNZOO_CACHE_DIR must be a folder, got '~nobody"):
        weights.cache_folder()


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
    "endless": (Answer(body=GOOD * 4), "gives more than 256000 bytes", 3),
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
    "redirect_loop": (Answer(302, b"", headers=LOOP), "fails: Exceeded 30 redirects", 31),
    "nonsense_length": (Answer(declared="many"), "fails: ", 1),
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


# --- offline and mirror


def test_offline_names_file_url_and_place(server, cache, monkeypatch):
    monkeypatch.setenv("BNNZOO_OFFLINE", "1")
    url = server.serve(Answer())
    expected = f"{NAME} (full) must be in the cache.*{cache / CACHED} is missing.*{url}"
    with pytest.raises(WeightsError, match=expected.replace("(", r"\(").replace(")", r"\)")):
        get(file_at(url))
    assert server.requests == []
    assert not cache.exists()


def test_offline_serves_the_cache_and_refuses_a_broken_file(server, cache, monkeypatch):
    file = file_at(server.serve(Answer()))
    path = get(file)
    monkeypatch.setenv("BNNZOO_OFFLINE", "1")
    assert get(file) == path
    path.write_bytes(BAD)
    with pytest.raises(WeightsError, match=rf"{path} must have sha256 .* Unset BNNZOO_OFFLINE"):
        get(file)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1", True), ("true", True), ("YES", True), ("0", False), ("", False), ("off", False)],
)
def test_offline_switch(value, expected, monkeypatch):
    monkeypatch.setenv("BNNZOO_OFFLINE", value)
    assert weights.offline() is expected


def test_a_mirror_may_be_a_copy_of_a_cache(server, cache, monkeypatch):
    monkeypatch.setenv("BNNZOO_BASE_URL", server.url("/zoo/"))
    server.serve(Answer(), path=f"/zoo/{CACHED}")
    assert get(file_at("https://github.example/larq/v1/file.h5")).read_bytes() == GOOD
    assert server.requests == [f"/zoo/{CACHED}"]


def test_a_mirror_may_stand_for_the_original_host(server, cache, monkeypatch):
    monkeypatch.setenv("BNNZOO_BASE_URL", server.url("/proxy"))
    server.serve(Answer(), path="/proxy/larq/v1/file.h5")
    assert get(file_at("https://github.example/larq/v1/file.h5?x=1")).read_bytes() == GOOD
    assert server.requests == [f"/proxy/{CACHED}", "/proxy/larq/v1/file.h5"]


def test_a_mirror_keeps_the_original_host_out_and_its_password_secret(server, cache, monkeypatch):
    original = server.serve(Answer())
    mirror = server.address.replace("//", "//user:secret@") + "/none"
    monkeypatch.setenv("BNNZOO_BASE_URL", mirror)
    with pytest.raises(WeightsError, match=r"/none/file\.h5 answers 404") as caught:
        get(file_at(original))
    assert server.requests == [f"/none/{CACHED}", "/none/file.h5"]
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("base", ["http://intranet.example", "ftp://127.0.0.1", "mirror"])
def test_a_mirror_obeys_the_rule_of_urls(base, cache, monkeypatch):
    monkeypatch.setenv("BNNZOO_BASE_URL", base)
    with pytest.raises(WeightsError, match="BNNZOO_BASE_URL must be https, or http to this mach"):
        get(file_at("https://github.example/file.h5"))


# --- names that must not be used

BAD_URLS = {
    "http": ("http://github.example/file.h5", "url of .* must be https, or http to this machine"),
    "file": ("file:///etc/passwd.h5", "must be https"),
    "pickle": ("https://github.example/file.pkl", r"must end in .*, got '/file\.pkl'"),
    "keras": ("https://github.example/file.keras", "must end in"),
    "query": ("https://github.example/file.npz?x=.h5", "must end in"),
    "no_name": ("https://github.example/", "must end in"),
}


@pytest.mark.parametrize("case", BAD_URLS)
def test_a_url_that_must_not_be_fetched(case, cache):
    url, message = BAD_URLS[case]
    with pytest.raises(WeightsError, match=message):
        get(file_at(url))
    assert not cache.exists()


BAD_NAMES = ["../x.y", "/x.y", "c:x.y", "a\\b.c", "a\0.b", "x/../../y.z", "x", "x.y\n", "X.y", ""]


@pytest.mark.parametrize("name", BAD_NAMES, ids=repr)
def test_a_name_cannot_leave_the_cache(name, cache):
    with pytest.raises(WeightsError, match=r"Name in the cache must be architecture\.tag-role-"):
        fetch(file_at("https://github.example/file.h5"), name=name)


@pytest.mark.parametrize("field", ["role", "sha256"])
def test_no_other_field_can_leave_the_cache(field, cache):
    file = replace(file_at("https://github.example/file.h5"), **{field: "../../x"})
    with pytest.raises(WeightsError, match="Name in the cache must be"):
        get(file)


BAD_PATHS = ["../x.h5", "/etc/x.h5", "data/../../x.h5", "c:/x.h5", "a\\x.h5", "a\0x.h5"]


@pytest.mark.parametrize("path", BAD_PATHS, ids=repr)
def test_a_packaged_path_cannot_leave_the_package(path):
    with pytest.raises(WeightsError, match="Weight files must lie inside"):
        fetch(replace(file_at(), path=path), name=NAME)


@pytest.mark.parametrize("target", ["outside.h5", CACHED], ids=["outside", "loop"])
def test_a_link_cannot_leave_the_cache(target, cache, tmp_path):
    cache.mkdir()
    (tmp_path / "outside.h5").write_bytes(GOOD)
    (cache / CACHED).symlink_to(cache / target if target == CACHED else tmp_path / target)
    with pytest.raises(WeightsError, match=f"must lie inside {cache}, got '{CACHED}'. Remove the"):
        get(file_at("https://github.example/file.h5"))
    assert (tmp_path / "outside.h5").read_bytes() == GOOD


def test_the_cache_itself_may_be_a_link(server, cache, tmp_path):
    (tmp_path / "disk").mkdir()
    cache.symlink_to(tmp_path / "disk")
    assert get(file_at(server.serve(Answer()))) == cache / CACHED


# --- files that are shipped inside the package


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(weights, "__file__", str(tmp_path / "bnnzoo" / "weights.py"))
    (tmp_path / "bnnzoo" / "shipped").mkdir(parents=True)
    return tmp_path / "bnnzoo"


def test_a_packaged_file_is_verified_where_it_is(package):
    path = package / "shipped" / "x.h5"
    path.write_bytes(GOOD)
    assert fetch(replace(file_at(), path="shipped/x.h5"), name=NAME) == path
    path.write_bytes(BAD)
    with pytest.raises(WeightsError, match=rf"{path} must have sha256 .* Install bnnzoo again"):
        fetch(replace(file_at(), path="shipped/x.h5"), name=NAME)


def test_a_missing_packaged_file_is_a_clear_error(package):
    with pytest.raises(WeightsError, match=r"x\.h5 is missing\. Install bnnzoo again"):
        fetch(replace(file_at(), path="shipped/x.h5"), name=NAME)


def test_a_packaged_file_is_data_too(package):
    with pytest.raises(WeightsError, match=r"must end in .*, got 'shipped/x\.pkl'"):
        fetch(replace(file_at(), path="shipped/x.pkl"), name=NAME)


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

    monkeypatch.setattr("bnnzoo.network._Bounded.write", full)
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


# --- several processes, killed processes

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


# --- what is in the cache


@pytest.fixture
def records(server, tmp_path) -> manifest.Manifest:
    """A manifest with the file that the server has."""
    write_manifest(tmp_path / "manifest.json", {NAME: {"full": server.url()}})
    return manifest.load(tmp_path / "manifest.json")


def test_cached_files_are_known_unknown_or_partial(server, cache, records):
    server.serve(Answer())
    file = records.weights[NAME].files[0]
    get(file)
    (cache / "birealnet18.test-full-00000000.h5").write_bytes(b"old")
    (cache / f".{CACHED}.01234567.part").write_bytes(b"half")
    (cache / "notes.txt").touch()
    (cache / "birealnet18.test-full-11111111.h5").mkdir()
    (cache / "birealnet18.test-full-22222222.h5").symlink_to("removed")
    found = cached_files(records)
    assert [(f.path.name, f.bytes, f.file, f.partial) for f in found] == [
        (f".{CACHED}.01234567.part", 4, file, True),
        ("birealnet18.test-full-00000000.h5", 3, None, False),
        (CACHED, len(GOOD), file, False),
    ]
    assert {(f.name, f.role) for f in found} == {(NAME, "full")}


def test_a_cache_that_does_not_exist_is_empty(cache, records):
    assert cached_files(records) == []


def test_a_cache_that_cannot_be_read_is_a_clear_error(cache, records):
    cache.write_bytes(b"")
    with pytest.raises(WeightsError, match=f"{cache} cannot be read: Not a directory"):
        cached_files(records)


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


def test_a_file_that_cannot_be_removed_is_a_clear_error(server, cache, records):
    server.serve(Answer())
    get(records.weights[NAME].files[0])
    (entry,) = cached_files(records)
    nowhere = replace(entry, path=cache / "nowhere" / CACHED)
    message = rf"nowhere/{CACHED} cannot be removed: No such file or directory\. Remove it by"
    with pytest.raises(WeightsError, match=message):
        weights.remove(nowhere)


def test_a_download_is_logged(server, cache, caplog):
    with caplog.at_level(logging.INFO, logger="bnnzoo"):
        url = server.serve(Answer())
        get(file_at(url))
    assert f"Downloading {NAME} (full) from {url}" in caplog.messages
