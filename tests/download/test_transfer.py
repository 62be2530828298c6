"""A download is patient within bounds, goes on where it broke, and draws a bar for people only."""

from __future__ import annotations

import contextlib
import email.utils
import fcntl
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

import bnnzoo
from bnnzoo.download import transfer
from bnnzoo.download.policy import Patience
from bnnzoo.errors import WeightsError
from tests.weight_server import BAD, GOOD, HURRY, Answer, Server, serving, wait_for

BRIEF = Patience(rounds=1, backoff_s=0.01, connect_timeout_s=0.2, read_timeout_s=0.3)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def pauses(monkeypatch) -> list[float]:
    """The pauses that are asked for; none is made."""
    pauses: list[float] = []
    monkeypatch.setattr(transfer.time, "sleep", pauses.append)
    return pauses


def right(stream: IO[bytes]) -> str | None:
    stream.seek(0)
    return None if stream.read() == GOOD else "is wrong"


def fetch(*urls: str, patience: Patience = HURRY, progress: bool | None = None) -> bytes:
    """Returns what a download writes."""
    with tempfile.TemporaryFile() as part:
        transfer.download(
            urls, part, what="x", verify=right, max_bytes=len(GOOD), patience=patience,
            progress=progress,
        )  # fmt: skip
        part.seek(0)
        return part.read()


# --- patience


def test_the_pause_doubles_after_each_round(server, pauses):
    url = server.serve(Answer(503, b""))
    with pytest.raises(WeightsError, match="answers 503 Service Unavailable"):
        fetch(url, patience=Patience(rounds=4))
    assert pauses == [0.0, 1.0, 2.0, 4.0]
    assert len(server.requests) == 4


def test_nothing_is_waited_for_when_no_url_is_left(server, pauses):
    with pytest.raises(WeightsError, match="answers 404"):
        fetch(server.url("/none"))
    assert sum(pauses) == 0
    assert len(server.requests) == 1


def asking(status: int, pause: str) -> Answer:
    return Answer(status, b"", headers=(("Retry-After", pause),))


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_is_asked_again_when_it_wants(status, server, pauses, caplog):
    assert fetch(server.serve(asking(status, "7"), Answer())) == GOOD
    assert max(pauses) == pytest.approx(7, abs=0.5)
    assert f"{server.url()} answers {status} " in caplog.text
    assert "Retrying in 7 s." in caplog.text


def test_a_server_may_want_to_be_asked_at_a_date(server, pauses):
    date = email.utils.formatdate(time.time() + 60, usegmt=True)
    assert fetch(server.serve(asking(503, date), Answer())) == GOOD
    assert max(pauses) == pytest.approx(60, abs=2)


def test_a_url_that_wants_no_pause_is_not_held_up_by_one_that_does(server, pauses):
    first = server.serve(asking(429, "60"), path="/busy.h5")
    assert fetch(first, server.serve(Answer())) == GOOD
    assert sum(pauses) == 0


def test_a_long_pause_is_not_waited_for(server, pauses):
    with pytest.raises(WeightsError, match=r"answers 429 Too Many Requests and asks to wait"
                       r" 3600 s\. Check"):  # fmt: skip
        fetch(server.serve(asking(429, "3600")))
    assert sum(pauses) == 0
    assert len(server.requests) == 1


PAST = "Mon, 01 Jan 2001 00:00:00 GMT"


BROKEN_DATES = ("Mon, 99 Jan 9999 99:00 GMT", "Mon, 01 Jan 2001 00:00:00 +99999999999999")


@pytest.mark.parametrize("pause", ["soon", "-5", "", "1e3", PAST, *BROKEN_DATES])
def test_a_pause_that_makes_no_sense_is_none(pause, server, pauses):
    assert fetch(server.serve(asking(429, pause), Answer())) == GOOD
    assert max(pauses) == HURRY.backoff_s


@pytest.mark.parametrize("part", ["body", "headers"])
def test_a_server_that_drips_is_given_up(part, server):
    start = time.monotonic()
    with pytest.raises(WeightsError, match=r"sends less than 65536 bytes in 0\.5 s\. Check"):
        fetch(server.serve(Answer(drips=part)), patience=BRIEF)
    assert time.monotonic() - start < 5


def test_no_thread_stays_behind(server):
    def threads() -> list[str]:
        return [t.name for t in threading.enumerate() if t.name == "bnnzoo-download"]

    with pytest.raises(WeightsError, match="sends more than"):
        fetch(server.serve(Answer(body=GOOD * 40)))
    with pytest.raises(WeightsError, match="sends less than"):
        fetch(server.serve(Answer(drips="body"), path="/drip.h5"), patience=BRIEF)
    server.closing.set()
    wait_for(lambda: not threads())


# --- a connection that breaks

SENT = 6 * 2**14  # before it does


def asked(server: Server) -> list[str | None]:
    return [headers.get("Range") for headers in server.headers]


def test_a_broken_connection_goes_on_where_it_broke(server):
    assert fetch(server.serve(Answer(ranges=True, sends=SENT)), patience=BRIEF) == GOOD
    assert asked(server) == [None, f"bytes={SENT}-", f"bytes={2 * SENT}-"]


def test_another_url_goes_on_where_the_first_broke(server):
    first = server.serve(Answer(sends=SENT), Answer(404, b""), path="/first.h5")
    assert fetch(first, server.serve(Answer(ranges=True))) == GOOD
    assert asked(server) == [None, f"bytes={SENT}-", f"bytes={SENT}-"]


def test_a_server_without_ranges_begins_again(server):
    assert fetch(server.serve(Answer(sends=SENT), Answer())) == GOOD
    assert asked(server) == [None, f"bytes={SENT}-"]


def test_a_server_that_never_comes_further_is_given_up(server):
    with pytest.raises(WeightsError, match="fails: .*98304 bytes read|is wrong"):
        fetch(server.serve(Answer(sends=SENT)))
    assert len(server.requests) == 1 + HURRY.rounds


TAG, WEAK, DATE = '"1"', 'W/"1"', "Mon, 01 Jan 2024 00:00:00 GMT"
VERSIONS = {
    "tag": ((("ETag", TAG), ("Last-Modified", DATE)), TAG),
    "weak tag": ((("ETag", WEAK), ("Last-Modified", DATE)), DATE),
    "date": ((("Last-Modified", DATE),), DATE),
    "none": ((), None),
}


@pytest.mark.parametrize("case", VERSIONS)
def test_only_the_same_version_goes_on(case, server):
    headers, version = VERSIONS[case]
    assert fetch(server.serve(Answer(ranges=True, sends=SENT, headers=headers))) == GOOD
    assert [h.get("If-Range") for h in server.headers] == [None, version, version]


def test_what_came_together_wrong_is_fetched_whole(server):
    other = b"?" + GOOD[1:]
    url = server.serve(Answer(body=other, sends=SENT), Answer(ranges=True))
    assert fetch(url) == GOOD
    assert asked(server) == [None, f"bytes={SENT}-", None]


RANGES = {
    "other place": Answer(206, headers=(("Content-Range", "bytes 7-255999/256000"),)),
    "no place": Answer(206),
    "nonsense": Answer(206, headers=(("Content-Range", "bytes many-more/all"),)),
    "not satisfiable": Answer(416, b"", headers=(("Content-Range", "bytes */10"),)),
}


@pytest.mark.parametrize("case", RANGES)
def test_a_wrong_range_begins_again(case, server):
    assert fetch(server.serve(Answer(sends=SENT), RANGES[case], Answer())) == GOOD
    assert asked(server) == [None, f"bytes={SENT}-", None]


def test_a_range_of_more_than_the_file_is_stopped(server):
    more = Answer(206, GOOD, headers=(("Content-Range", f"bytes {SENT}-355999/356000"),))
    with pytest.raises(WeightsError, match="sends more than 256000 bytes"):
        fetch(server.serve(Answer(sends=SENT), more, Answer(404, b"")), patience=BRIEF)


# --- what is asked, and whom


def test_the_file_is_asked_for_as_it_is(server):
    fetch(server.serve(Answer()))
    assert server.headers[0]["Accept-Encoding"] == "identity"


def test_a_server_without_tls_is_a_clear_error(server):
    url = server.serve(Answer()).replace("http:", "https:").replace("file", "x")
    with pytest.raises(WeightsError, match=r"x\.h5 fails: \[SSL.*\. Check the connec") as caught:
        fetch(url)
    assert "\n" not in str(caught.value)


def redirect(place: str, body: bytes = b"", stall_after: int | None = None) -> Answer:
    return Answer(302, body, (("Location", place),), declared=None, stall_after=stall_after)


def test_the_body_of_a_redirect_is_not_read(server):
    server.serve(Answer(), path="/there")
    start = time.monotonic()
    assert fetch(server.serve(redirect("/there", GOOD, stall_after=len(GOOD)))) == GOOD
    assert time.monotonic() - start < 4


def test_a_password_goes_to_its_own_host_only(server):
    server.serve(Answer(), path="/there")
    mirror = server.serve(redirect("/there")).replace("//", "//user:secret@")
    assert fetch(mirror) == GOOD
    with serving() as other:
        server.serve(redirect(other.serve(Answer())))
        assert fetch(mirror) == GOOD
    given = ["Authorization" in headers for headers in (*server.headers, *other.headers)]
    assert given == [True, True, True, False]


def test_http_to_this_machine_goes_through_no_proxy(server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server.serve(Answer(), path="/there")
    assert fetch(server.serve(redirect("/there"))) == GOOD
    assert server.requests == ["/file.h5", "/there"]


def test_other_hosts_go_through_the_proxy_of_the_user(server, monkeypatch):
    monkeypatch.setenv("https_proxy", server.address)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(WeightsError, match="fails: Tunnel connection failed"):
        fetch("https://zoo.example/x.h5")
    monkeypatch.setenv("NO_PROXY", "zoo.example")
    with pytest.raises(WeightsError, match=r"fails: (?!Tunnel)"):
        fetch("https://zoo.example/x.h5")


def test_a_part_that_cannot_be_written_is_an_os_error(server):
    with (
        Path("/dev/full").open("rb+", buffering=0) as part,
        pytest.raises(OSError, match="No space"),
    ):
        transfer.download(
            [server.serve(Answer())], part, what="x", verify=right, max_bytes=len(GOOD)
        )


# --- the bar

CLIENT = """
import sys, tempfile
from bnnzoo.download.transfer import download

with tempfile.TemporaryFile() as part:
    download([sys.argv[1]], part, what="x", verify=lambda stream: None, max_bytes=10**6)
"""


def standard_error(url: str, terminal: bool) -> str:
    """What a process of its own writes to standard error while it downloads."""
    ours, theirs = pty.openpty() if terminal else os.pipe()
    if terminal:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with os.fdopen(ours, "rb", buffering=0) as stream:
        try:
            subprocess.run(
                [sys.executable, "-c", CLIENT, url],
                stderr=theirs,
                check=True,
                timeout=60,
                cwd=Path(bnnzoo.__file__).parents[1],
            )
        finally:
            os.close(theirs)
        text = b""
        with contextlib.suppress(OSError):  # how Linux says that a terminal was closed
            while chunk := stream.read(2**16):
                text += chunk
        return text.decode()


@pytest.mark.parametrize("answers", [(Answer(),), (Answer(body=BAD * 4), Answer())], ids=len)
def test_a_bar_is_drawn_on_a_terminal(answers, server):
    text = standard_error(server.serve(*answers), terminal=True)
    assert "100%" in text
    assert "256k/256k" in text


def test_nothing_is_drawn_into_a_pipe(server):
    assert standard_error(server.serve(Answer()), terminal=False) == ""


@pytest.mark.parametrize("progress", [True, False, None], ids=str)
def test_the_bar_can_be_forced(progress, server, capsys):
    fetch(server.serve(Answer()), progress=progress)
    captured = capsys.readouterr()
    assert ("100%" in captured.err) is (progress is True)
    assert captured.out == ""


def test_a_process_without_standard_error_can_download(server, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert fetch(server.serve(Answer())) == GOOD
