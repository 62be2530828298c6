"""Downloads one file: several URLs, retries, resumption, bounds, verification.

An interrupted download resumes where it stopped, if the server supports it (`Range`). Otherwise, or
if the parts do not give the right file, the download starts again.
"""

from __future__ import annotations

import contextlib
import email.utils
import logging
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timezone
from typing import IO, Any
from urllib.parse import urljoin

import pooch
import requests
from tqdm import tqdm

from bnnzoo.download.policy import PATIENCE, Patience, allowed, shown
from bnnzoo.errors import WeightsError

__all__ = ["MIN_BYTES", "download"]

# Minimum within a read timeout and a connect timeout. Timeouts of a socket restart with every byte,
# so that single bytes could keep a download alive for months.
MIN_BYTES = 2**16
_CHUNK_BYTES = 2**14  # what a connection that breaks can lose
_MAX_REDIRECTS = 10
_TRY_AGAIN_STATUS = {408, 425, 429}  # and all from 500
_PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE = 206, 416
_NUMBER = re.compile(r"[0-9]{1,18}")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]+/(?:([0-9]{1,18})|\*)")
# What urllib3 puts before the reason: the connection, in old versions as an address in memory.
_CONNECTION = re.compile(r"^(<urllib3[^>]*>|HTTPS?Connection(Pool)?\(.*?\)): ")

logger = logging.getLogger(__name__)

Verify = Callable[[IO[bytes]], "str | None"]


class _AttemptError(Exception):
    """A URL failed; if `transient`, a retry after `wait_s` may succeed."""

    def __init__(self, reason: str, transient: bool, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.transient = transient
        self.wait_s = wait_s


def download(
    urls: Sequence[str],
    part: IO[bytes],
    *,
    what: str,
    verify: Verify,
    max_bytes: int,
    patience: Patience = PATIENCE,
    progress: bool | None = None,
) -> None:
    """Downloads the file to `part` from the first URL that serves the right one.

    Args:
        urls: URLs, tried in this order, and after temporary failures again, `patience.rounds`
            times.
        part: An empty file, open for reading and writing.
        what: What is downloaded, for messages.
        verify: Returns what is wrong with a file, None if it is right.
        max_bytes: Largest allowed size.
        patience: Timeouts and retries.
        progress: Whether to draw a bar on standard error. None draws it only on a terminal.

    Raises:
        WeightsError: No URL gave the file; the message has the reason of each.
        OSError: `part` cannot be written.
    """
    failures: dict[str, str] = {}
    ready = dict.fromkeys(urls, 0.0)  # when a URL may be asked
    with _bar(progress) as bar:
        arriving = _Part(part, max_bytes, bar)
        for pause_s in _pauses(patience):
            time.sleep(pause_s if ready else 0.0)
            for url in tuple(ready):
                _wait_until(ready[url], failures.get(url))
                logger.info("Downloading %s from %s", what, shown(url))
                try:
                    return _complete(url, arriving, verify, patience)
                except _AttemptError as error:
                    failures[url] = f"{shown(url)} {error}"
                    ready[url] = time.monotonic() + error.wait_s
                    if not error.transient:
                        del ready[url]
    raise WeightsError(
        f"{what} cannot be downloaded: {'; '.join(failures.values())}. "
        "Check the connection, or set BNNZOO_BASE_URL to a mirror."
    )


def _pauses(patience: Patience) -> list[float]:
    waits = [patience.backoff_s * 2**i for i in range(patience.rounds - 1)]
    return [0.0, *waits]


def _wait_until(moment: float, reason: str | None) -> None:
    wait_s = moment - time.monotonic()
    if wait_s > 0:
        logger.warning("%s. Retrying in %.0f s.", reason, wait_s)
        time.sleep(wait_s)


def _bar(progress: bool | None) -> Any:
    if progress is None:
        progress = sys.stderr is not None and sys.stderr.isatty()
    return tqdm(disable=not progress, unit="B", unit_scale=True, ncols=79)


@dataclass(frozen=True)
class _Answer:
    """The start of a server's response.

    Attributes:
        begin: Offset in the file of the first byte.
        end: Size of the file; None if unknown.
        version: Identifier of this version of the file, for `If-Range`.
    """

    begin: int
    end: int | None
    version: str | None


@dataclass
class _Part:
    """The part of the file that was received.

    Attributes:
        stream: The file.
        limit: Largest allowed size.
        bar: Progress bar of `size`.
        size: Number of bytes.
        most: Largest number of bytes so far.
        versions: URL -> version of the file there.
    """

    stream: IO[bytes]
    limit: int
    bar: Any
    size: int = 0
    most: int = 0
    versions: dict[str, str | None] = field(default_factory=dict)

    def begin(self, answer: _Answer) -> None:
        if answer.begin != self.size:
            self.clear()
        self.bar.total = answer.end
        self.bar.refresh()

    def write(self, data: bytes) -> None:
        if self.size + len(data) > self.limit:
            self.clear()
            raise _AttemptError(f"sends more than {self.limit} bytes", transient=True)
        self.stream.write(data)
        self.size += len(data)
        self.most = max(self.most, self.size)
        self.bar.update(len(data))

    def clear(self) -> None:
        self.stream.seek(0)
        self.stream.truncate()
        self.size = 0
        self.bar.reset()


def _complete(url: str, part: _Part, verify: Verify, patience: Patience) -> None:
    """Fetches the file from one URL, resuming while each response makes progress."""
    while True:
        begin, most = part.size, part.most
        try:
            _fetch(url, part, patience)
        except _AttemptError as error:
            if not error.transient or part.size < most + MIN_BYTES:
                raise
            logger.info("%s %s. Resuming at byte %d.", shown(url), error, part.size)
            time.sleep(patience.backoff_s)
            continue
        problem = verify(part.stream)
        if problem is None:
            return
        part.clear()
        if begin == 0:
            raise _AttemptError(f"sends a file that {problem}", transient=True)


def _fetch(url: str, part: _Part, patience: Patience) -> None:
    """Appends the data of one request to the part."""

    def ask(put: Callable[[_Answer | bytes], None]) -> None:
        _ask(url, part.size, part.versions.get(url), patience, put)

    for item in _in_time(ask, patience.connect_timeout_s + patience.read_timeout_s):
        if isinstance(item, bytes):
            part.write(item)
        else:
            part.begin(item)
            part.versions[url] = item.version


def _in_time(
    ask: Callable[[Callable[[_Answer | bytes], None]], None], seconds: float
) -> Iterator[_Answer | bytes]:
    """Yields what `ask` puts, as long as `MIN_BYTES` arrive within a number of seconds.

    A thread waits for the server, since name resolution, endless headers and single bytes have no
    timeout.
    """
    arrived: queue.Queue[_Answer | bytes | Exception | None] = queue.Queue(maxsize=16)
    stopped = threading.Event()

    def put(item: _Answer | bytes) -> None:
        if stopped.is_set():
            raise _AttemptError("was stopped", transient=True)
        arrived.put(item)

    def receive() -> None:
        try:
            ask(put)
            arrived.put(None)
        except Exception as error:
            arrived.put(error)

    threading.Thread(target=receive, name="bnnzoo-download", daemon=True).start()
    try:
        yield from _taken(arrived, seconds)
    finally:
        stopped.set()
        with contextlib.suppress(queue.Empty):  # the thread may wait for room
            while True:
                arrived.get_nowait()


def _taken(
    arrived: queue.Queue[_Answer | bytes | Exception | None], seconds: float
) -> Iterator[_Answer | bytes]:
    deadline, fresh = time.monotonic() + seconds, 0
    while True:
        try:
            item = arrived.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            reason = f"sends less than {MIN_BYTES} bytes in {seconds:g} s"
            raise _AttemptError(reason, transient=True) from None
        if item is None:
            return
        if isinstance(item, Exception):
            raise item
        yield item
        fresh += len(item) if isinstance(item, bytes) else 0
        if fresh >= MIN_BYTES:
            deadline, fresh = time.monotonic() + seconds, 0


class _OtherPartError(Exception):
    """A server returned another range than requested."""


class _RedirectError(Exception):
    """A server redirected to another URL."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__()
        self.response = response


def _ask(
    url: str, begin: int, version: str | None, patience: Patience, put: Callable[[Any], None]
) -> None:
    """Puts the start of a response and its data, from `begin` on, or from 0 if it cannot resume."""
    headers = {"Accept-Encoding": "identity"}
    if begin:
        headers["Range"] = f"bytes={begin}-"
    if begin and version:
        headers["If-Range"] = version
    try:
        _follow(url, headers, begin, patience, put)
    except (requests.RequestException, ValueError) as error:
        raise _failure(error, patience) from error
    except _OtherPartError:
        _ask(url, 0, None, patience, put)


def _follow(
    url: str, headers: dict[str, str], begin: int, patience: Patience, put: Callable[[Any], None]
) -> None:
    """Makes requests until none is redirected; requests itself would read every body on the way."""
    for _ in range(_MAX_REDIRECTS + 1):
        try:
            return _request(url, headers, begin, patience, put)
        except _RedirectError as redirect:
            url, headers = _redirected(redirect.response, headers)
    raise _AttemptError(f"redirects more than {_MAX_REDIRECTS} times", transient=False)


def _request(
    url: str, headers: dict[str, str], begin: int, patience: Patience, put: Callable[[Any], None]
) -> None:
    with contextlib.ExitStack() as stack:

        def check(response: requests.Response, *_: object, **__: object) -> None:
            stack.callback(response.close)
            if response.is_redirect:
                raise _RedirectError(response)
            if response.ok or (begin and response.status_code == _RANGE_NOT_SATISFIABLE):
                put(_answer(response, begin))

        pooch.HTTPDownloader(
            chunk_size=_CHUNK_BYTES,
            timeout=(patience.connect_timeout_s, patience.read_timeout_s),
            headers=headers,
            hooks={"response": check},  # sees an answer before its body is read
            allow_redirects=False,
            proxies={"no_proxy": _no_proxy()},
        )(url, _Stream(put), None)


class _Stream:
    """The file object that pooch writes to."""

    def __init__(self, put: Callable[[bytes], None]) -> None:
        self.write = put

    def flush(self) -> None:
        """Does nothing, since data is not buffered."""


def _answer(response: requests.Response, begin: int) -> _Answer:
    """Returns the start of a response.

    Raises:
        _OtherPartError: It is not the requested part.
    """
    headers = response.headers
    tag, length = headers.get("ETag", ""), headers.pop("Content-Length", "")  # pooch wants digits
    # A weak tag names what is equivalent, not what is equal.
    version = tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")
    if response.status_code not in (_PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE) or not begin:
        return _Answer(0, int(length) if _NUMBER.fullmatch(length) else None, version)
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if response.status_code == _RANGE_NOT_SATISFIABLE or found is None or int(found[1]) != begin:
        raise _OtherPartError
    return _Answer(begin, int(found[2]) if found[2] else None, version)


def _redirected(response: requests.Response, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Returns the redirect's target, and the headers (with credentials where allowed) for it."""
    url = _target(response)
    headers = {name: value for name, value in headers.items() if name != "Authorization"}
    password = response.request.headers.get("Authorization")
    if password and not requests.Session().should_strip_auth(response.url, url):  # type: ignore[no-untyped-call]
        headers["Authorization"] = password
    return url, headers


def _target(response: requests.Response) -> str:
    target = urljoin(response.url, response.headers["location"])
    if not allowed(target):
        reason = f"redirects to {shown(target)!r}, which is neither https nor this machine"
        raise _AttemptError(reason, transient=False)
    return target


def _no_proxy() -> str:
    """Returns the user's NO_PROXY and this machine: http to it must not go through another."""
    user = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    return ",".join(filter(None, [user, "localhost", "127.0.0.0/8", "::1"]))


def _failure(error: Exception, patience: Patience) -> _AttemptError:
    reason, transient, wait_s = _reason(error), _transient(error), _retry_after_s(error)
    if transient and wait_s > patience.retry_after_s:
        return _AttemptError(f"{reason} and asks to wait {wait_s:.0f} s", transient=False)
    return _AttemptError(reason, transient, wait_s)


def _transient(error: Exception) -> bool:
    if isinstance(error, requests.HTTPError):
        status = error.response.status_code
        return status >= 500 or status in _TRY_AGAIN_STATUS
    return not isinstance(error, ValueError)


def _retry_after_s(error: Exception) -> float:
    """Returns how long a server asks to wait, as a number of seconds or as a date."""
    response = error.response if isinstance(error, requests.HTTPError) else None
    text = "" if response is None else response.headers.get("Retry-After", "").strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    # The first of a huge time zone, the second in Python 3.10 to 3.12 of what is not a date at all.
    except (OverflowError, TypeError, ValueError):
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, moment.timestamp() - time.time())


def _reason(error: BaseException) -> str:
    """Returns why a request failed, from its innermost cause, as the end of a sentence."""
    if isinstance(error, requests.HTTPError):
        return f"answers {error.response.status_code} {error.response.reason}"
    while True:
        inner = (getattr(error, "reason", None), *error.args)
        cause = next((e for e in inner if isinstance(e, BaseException)), None)
        if cause is None:
            text = _CONNECTION.sub("", " ".join(str(error).split())) or type(error).__name__
            return f"fails: {text.rstrip('.')}"
        error = cause
