"""Only the right hosts are spoken to, patiently, and the bar is drawn for people only."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

import bnnzoo
from bnnzoo import network
from bnnzoo.errors import WeightsError
from bnnzoo.network import Patience
from tests.weight_server import GOOD, HURRY, Answer, Server, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def right(path: Path) -> str | None:
    return None if path.read_bytes() == GOOD else "is wrong"


ALLOWED = [
    "https://github.com/larq/zoo/releases/x.h5",
    "HTTPS://GITHUB.COM/x.h5",
    "http://127.0.0.1/x.h5",
    "http://127.8.9.1:8000/x.h5",
    "http://localhost:80/x.h5",
    "http://[::1]:8000/x.h5",
]
REFUSED = [
    "http://github.com/x.h5",
    "http://127.0.0.1.github.com/x.h5",
    "http://localhost.github.com/x.h5",
    "http://127.0.0.1@github.com/x.h5",
    "http://github.com\\@127.0.0.1/x.h5",
    "http://github.com #@127.0.0.1/x.h5",
    "http://0.0.0.0/x.h5",
    "http://[::]/x.h5",
    "http://[::1/x.h5",
    "http:///x.h5",
    "https:///x.h5",
    "https://github.com/x.h5\n",
    "https://github.com/\0x.h5",
    "ftp://127.0.0.1/x.h5",
    "file:///x.h5",
    "//127.0.0.1/x.h5",
    "/x.h5",
    "x.h5",
    "",
]


@pytest.mark.parametrize("url", ALLOWED)
def test_https_and_this_machine_are_allowed(url):
    assert network.allowed(url)
    network.check_url(url, "url")


@pytest.mark.parametrize("url", REFUSED, ids=repr)
def test_everything_else_is_refused(url):
    assert not network.allowed(url)
    with pytest.raises(WeightsError, match=r"^mirror must be https, or http to this machine, got"):
        network.check_url(url, "mirror")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://user:secret@a.b/x.h5?token=1", "https://a.b/x.h5"),
        ("https://us/er@a.b/x.h5", "https://us/er@a.b/x.h5"),
        ("https://a.b/x@y.h5", "https://a.b/x@y.h5"),
    ],
)
def test_messages_show_no_secrets(url, expected):
    assert network.shown(url) == expected


def test_the_pause_doubles_after_each_round(server, tmp_path, monkeypatch):
    pauses: list[float] = []
    monkeypatch.setattr(network.time, "sleep", pauses.append)
    url = server.serve(Answer(503, b""))
    with pytest.raises(WeightsError, match="answers 503 Service Unavailable"):
        network.download([url], tmp_path / "x", what="x", verify=right, patience=Patience(rounds=4))
    assert pauses == [0.0, 1.0, 2.0, 4.0]
    assert len(server.requests) == 4


def test_nothing_is_waited_for_when_no_url_is_left(server, tmp_path, monkeypatch):
    pauses: list[float] = []
    monkeypatch.setattr(network.time, "sleep", pauses.append)
    with pytest.raises(WeightsError, match="answers 404"):
        network.download([server.url("/none")], tmp_path / "x", what="x", verify=right)
    assert sum(pauses) == 0
    assert len(server.requests) == 1


def test_the_file_is_asked_for_as_it_is(server, tmp_path):
    network.download([server.serve(Answer())], tmp_path / "x", what="x", verify=right)
    assert server.headers[0]["Accept-Encoding"] == "identity"


def test_a_server_without_tls_is_a_clear_error(server, tmp_path):
    url = server.serve(Answer()).replace("http:", "https:")
    with pytest.raises(
        WeightsError, match=r"x\.h5 fails: \[SSL.*\. Check the connection"
    ) as caught:
        network.download(
            [url.replace("file", "x")], tmp_path / "x", what="x", verify=right, patience=HURRY
        )
    assert "\n" not in str(caught.value)


def test_http_to_this_machine_goes_through_no_proxy(server, tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server.serve(Answer(), path="/there")
    url = server.serve(Answer(302, b"", headers=(("Location", "/there"),)))
    network.download([url], tmp_path / "x", what="x", verify=right, patience=HURRY)
    assert server.requests == ["/file.h5", "/there"]


def test_other_hosts_go_through_the_proxy_of_the_user(server, tmp_path, monkeypatch):
    monkeypatch.setenv("https_proxy", server.address)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    arguments = {"what": "x", "verify": right, "patience": HURRY}
    with pytest.raises(WeightsError, match="fails: Tunnel connection failed"):
        network.download(["https://zoo.example/x.h5"], tmp_path / "x", **arguments)
    monkeypatch.setenv("NO_PROXY", "zoo.example")
    with pytest.raises(WeightsError, match=r"fails: (?!Tunnel)"):
        network.download(["https://zoo.example/x.h5"], tmp_path / "x", **arguments)


def test_a_part_that_cannot_be_written_is_an_os_error(server, tmp_path):
    with pytest.raises(IsADirectoryError):
        network.download([server.serve(Answer())], tmp_path, what="x", verify=right)


CLIENT = """
import sys
from pathlib import Path
from bnnzoo import network

network.download([sys.argv[1]], Path(sys.argv[2]), what="x", verify=lambda path: None)
"""


def standard_error(url: str, part: Path, terminal: bool) -> str:
    """What a process of its own writes to standard error while it downloads."""
    ours, theirs = pty.openpty() if terminal else os.pipe()
    if terminal:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with os.fdopen(ours, "rb", buffering=0) as stream:
        try:
            subprocess.run(
                [sys.executable, "-c", CLIENT, url, str(part)],
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


def test_a_bar_is_drawn_on_a_terminal(server, tmp_path):
    text = standard_error(server.serve(Answer()), tmp_path / "x", terminal=True)
    assert "100%" in text
    assert "256k/256k" in text


def test_nothing_is_drawn_into_a_pipe(server, tmp_path):
    assert standard_error(server.serve(Answer()), tmp_path / "x", terminal=False) == ""


@pytest.mark.parametrize("progress", [True, False, None], ids=str)
def test_the_bar_can_be_forced(progress, server, tmp_path, capsys):
    network.download(
        [server.serve(Answer())], tmp_path / "x", what="x", verify=right, progress=progress
    )
    captured = capsys.readouterr()
    assert ("100%" in captured.err) is (progress is True)
    assert captured.out == ""


def test_a_process_without_standard_error_can_download(server, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    network.download([server.serve(Answer())], tmp_path / "x", what="x", verify=right)
    assert (tmp_path / "x").read_bytes() == GOOD


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1", True), ("true", True), ("YES", True), ("0", False), ("", False), ("off", False)],
)
def test_offline_switch(value, expected, monkeypatch):
    monkeypatch.setenv("BNNZOO_OFFLINE", value)
    assert network.offline() is expected
