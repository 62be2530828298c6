"""A real HTTP server on loopback that serves files well, badly, or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bnnzoo.download.policy import Patience
from bnnzoo.manifest import WeightsFile
from bnnzoo.weights import fetch

GOOD = bytes(range(256)) * 1000
BAD = GOOD[:-1] + b"?"
NAME = "birealnet18.test"
HURRY = Patience(backoff_s=0.01, connect_timeout_s=10.0, read_timeout_s=10.0)
IMPATIENT = replace(HURRY, read_timeout_s=0.5)  # for servers that stall


@dataclass(frozen=True)
class Answer:
    """What the server does with one request.

    Attributes:
        declared: The Content-Length if it is not that of the body; None sends no such header.
        stall_after: Sends so many bytes of the body, then nothing more; at -1 not even a status.
        gated: Waits with the answer until the test opens the gate.
        ranges: Answers a `Range` with 206 and the rest of the body.
        sends: Closes the connection after so many bytes of what it declared.
        reason: What the status line says; None takes the usual words.
        drips: Sends one byte after the other, slowly and without end, of the `body` or `headers`.
    """

    status: int = 200
    body: bytes = GOOD
    headers: tuple[tuple[str, str], ...] = ()
    declared: int | str | None = "body"
    stall_after: int | None = None
    gated: bool = False
    ranges: bool = False
    sends: int | None = None
    drips: str | None = None
    reason: str | None = None

    def to(self, asked: str | None) -> Answer:
        """The answer to a request with this `Range`."""
        if asked is None or not self.ranges:
            return self
        begin, end = int(asked.removeprefix("bytes=").removesuffix("-")), len(self.body)
        place = ("Content-Range", f"bytes {begin}-{end - 1}/{end}")
        return replace(self, status=206, body=self.body[begin:], headers=(*self.headers, place))


@dataclass
class Server:
    """The address of the server, its answers by path (the last one repeats), and what it saw."""

    address: str
    answers: dict[str, Sequence[Answer]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "/file.h5") -> str:
        return self.address + path

    def serve(self, *answers: Answer, path: str = "/file.h5") -> str:
        self.answers[path] = answers
        return self.url(path)


def file_at(*urls: str, content: bytes = GOOD, size: int | None = len(GOOD)) -> WeightsFile:
    """A manifest entry for `content` at these URLs."""
    return WeightsFile("full", hashlib.sha256(content).hexdigest(), "keras_h5", urls, bytes=size)


CACHED = f"{NAME}-full-{file_at().sha256[:8]}.h5"  # the name of GOOD in a cache


def get(file: WeightsFile, patience: Patience = HURRY, cache_dir: Path | None = None) -> Path:
    """Fetches without long pauses."""
    return fetch(file, name=NAME, patience=patience, cache_dir=cache_dir)


def use_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes `folder` the cache, whatever the user's environment says."""
    for name in ("BNNZOO_OFFLINE", "BNNZOO_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BNNZOO_CACHE_DIR", str(folder))
    return folder


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Waits until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def names_in(folder: Path) -> set[str]:
    """What is in a cache folder besides its tag."""
    return {path.name for path in folder.iterdir()} - {"CACHEDIR.TAG"}


def write_manifest(path: Path, weights: Mapping[str, Mapping[str, str]]) -> None:
    """Writes a manifest with records `name.tag` -> role -> URL of a file with content GOOD.

    The first tag of each model is its default.
    """
    records: dict[str, object] = {}
    for name, urls in weights.items():
        architecture, tag = name.split(".")
        records[name] = {
            "architecture": architecture,
            "tag": tag,
            "default": not any(other.startswith(f"{architecture}.") for other in records),
            "files": [
                {"role": role, "url": [url], "sha256": file_at().sha256, "bytes": len(GOOD),
                 "format": "keras_h5"}
                for role, url in urls.items()
            ],
            "num_classes": 1000,
            "labels": "imagenet1k",
            "preprocessing": "larq_in1k",
            "metrics": [],
            "licence": "Apache-2.0",
            "source": "https://github.example",
            "paper": "https://arxiv.example",
        }  # fmt: skip
    path.write_text(json.dumps({"schema": 1, "weights": records}))


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """Runs a server in threads of this process."""
    with _QuietServer(("127.0.0.1", 0), _Handler) as http:
        http.state = Server(f"http://127.0.0.1:{http.server_port}")
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield http.state
        finally:
            http.state.gate.set()
            http.state.closing.set()
            http.shutdown()
            thread.join()


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = False  # so that leaving the `with` waits for every answer
    state: Server

    def handle_error(self, *_arguments: object) -> None:
        """A client that hangs up early is what the tests provoke."""


class _Handler(BaseHTTPRequestHandler):
    server: _QuietServer

    def do_GET(self) -> None:
        state = self.server.state
        self.close_connection = True
        state.requests.append(self.path)
        state.headers.append(dict(self.headers))
        answers = state.answers.get(self.path, (Answer(404, b"no"),))
        answer = answers[min(state.requests.count(self.path), len(answers)) - 1]
        answer = answer.to(self.headers.get("Range"))
        if answer.gated:
            state.gate.wait(30)
        if answer.stall_after == -1:
            state.closing.wait(5)
            return
        self.send_response(answer.status, answer.reason)
        declared = len(answer.body) if answer.declared == "body" else answer.declared
        if declared is not None:
            self.send_header("Content-Length", str(declared))
        for header in answer.headers:
            self.send_header(*header)
        if answer.drips == "headers":
            self.flush_headers()
            self.drip()
        self.end_headers()
        if answer.drips == "body":
            self.drip()
        self.wfile.write(answer.body[: answer.sends][: answer.stall_after])
        if answer.stall_after is not None:
            self.wfile.flush()
            state.closing.wait(5)

    def drip(self) -> None:
        while not self.server.state.closing.wait(0.02):
            self.wfile.write(b"a")
            self.wfile.flush()

    def log_message(self, *_arguments: object) -> None:
        """Standard error belongs to the tests."""
