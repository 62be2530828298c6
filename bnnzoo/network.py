"""Downloads one file over https: several URLs, retries, verification, no surprises.

Only https, and http to this machine, is spoken, by redirects too.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from bnnzoo.errors import WeightsError

if TYPE_CHECKING:
    import requests

__all__ = ["PATIENCE", "Patience", "allowed", "check_url", "download", "offline", "shown"]

MAX_BYTES = 4 * 2**30  # of a file whose size is not known: stops a server that never ends
_CHUNK_BYTES = 2**16
_TRY_AGAIN_STATUS = {408, 425, 429}  # and all from 500
# What urllib3 puts before the reason: the connection, in old versions as an address in memory.
_CONNECTION = re.compile(r"^(<urllib3[^>]*>|HTTPS?Connection(Pool)?\(.*?\)): ")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How patiently a file is fetched.

    Attributes:
        rounds: How often the URLs are gone through.
        backoff_s: Pause after the first round; doubled after each further one.
        connect_timeout_s: How long to wait for a connection.
        read_timeout_s: How long to wait for the next bytes.
    """

    rounds: int = 3
    backoff_s: float = 1.0
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0


PATIENCE = Patience()


class _AttemptError(Exception):
    """A URL did not give the file; `transient` if it may the next time."""

    def __init__(self, reason: str, transient: bool) -> None:
        super().__init__(reason)
        self.transient = transient


def offline() -> bool:
    """Returns whether `BNNZOO_OFFLINE` forbids the network: anything but 0, false, no, off."""
    value = os.environ.get("BNNZOO_OFFLINE", "").strip().lower()
    return value not in {"", "0", "false", "no", "off"}


def allowed(url: str) -> bool:
    """Returns whether a URL may be fetched: https, or http to this machine."""
    if not url.isprintable() or "\\" in url or " " in url:  # parsers disagree about these
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme == "https":
            return bool(host)
        return parts.scheme == "http" and _is_loopback(host)
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


def check_url(url: str, what: str) -> None:
    """Refuses a URL that must not be fetched; `what` names it.

    Raises:
        WeightsError: It is neither https nor http to this machine.
    """
    if not allowed(url):
        raise WeightsError(
            f"{what} must be https, or http to this machine, got {shown(url)!r}. Correct it."
        )


def shown(url: str) -> str:
    """Returns a URL for messages: without user, password and query."""
    return re.sub(r"//[^/]*@", "//", url.partition("?")[0])


def download(
    urls: Sequence[str],
    part: Path,
    *,
    what: str,
    verify: Callable[[Path], str | None],
    max_bytes: int | None = None,
    patience: Patience = PATIENCE,
    progress: bool | None = None,
) -> None:
    """Writes the file of the first URL that gives the right one to `part`.

    Args:
        urls: Tried in this order; after a failure that may pass, again, `patience.rounds` times.
        part: Written, and rewritten by each attempt; the caller removes it.
        what: What is downloaded, for messages.
        verify: Returns what is wrong with a file, None if it is right.
        max_bytes: A server that sends more is stopped. None takes 4 GiB.
        patience: Timeouts and retries.
        progress: Whether a bar is drawn on standard error. None draws it on a terminal only.

    Raises:
        WeightsError: No URL gave the file; the message has the reason of each.
        OSError: `part` cannot be written.
    """
    failures: dict[str, str] = {}
    alive = list(urls)
    for pause in _pauses(patience):
        time.sleep(pause if alive else 0.0)
        for url in tuple(alive):
            logger.info("Downloading %s from %s", what, shown(url))
            try:
                _fetch(url, part, max_bytes or MAX_BYTES, patience, _draws_bar(progress))
                return _check(part, verify)
            except _AttemptError as error:
                failures[url] = f"{shown(url)} {error}"
                if not error.transient:
                    alive.remove(url)
    raise WeightsError(
        f"{what} cannot be downloaded: {'; '.join(failures.values())}. "
        "Check the connection, or set BNNZOO_BASE_URL to a mirror."
    )


def _pauses(patience: Patience) -> list[float]:
    waits = [patience.backoff_s * 2**i for i in range(patience.rounds - 1)]
    return [0.0, *waits]


def _draws_bar(progress: bool | None) -> bool:
    if progress is None:
        return sys.stderr is not None and sys.stderr.isatty()
    return progress


def _check(part: Path, verify: Callable[[Path], str | None]) -> None:
    problem = verify(part)
    if problem is not None:
        raise _AttemptError(f"gives a file that {problem}", transient=True)


def _fetch(url: str, part: Path, limit: int, patience: Patience, bar: bool) -> None:
    import pooch
    import requests

    with contextlib.ExitStack() as stack:

        def check(response: requests.Response, *_: object, **__: object) -> None:
            stack.callback(response.close)
            _check_redirect(response)

        download = pooch.HTTPDownloader(
            progressbar=bar,
            chunk_size=_CHUNK_BYTES,
            timeout=(patience.connect_timeout_s, patience.read_timeout_s),
            headers={"Accept-Encoding": "identity"},
            hooks={"response": check},  # sees every answer before a redirect is followed
            proxies={"no_proxy": _no_proxy()},
        )
        stream = stack.enter_context(part.open("wb"))
        try:
            download(url, _Bounded(stream, limit), None)
        except (requests.RequestException, ValueError) as error:
            raise _AttemptError(_reason(error), _transient(error)) from error


def _check_redirect(response: requests.Response) -> None:
    target = urljoin(response.url, response.headers.get("location", ""))
    if response.is_redirect and not allowed(target):
        reason = f"redirects to {shown(target)!r}, which is neither https nor this machine"
        raise _AttemptError(reason, transient=False)


class _Bounded:
    """A stream that stops a server which sends more than the file can have."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._written = 0

    def write(self, data: bytes) -> int:
        self._written += len(data)
        if self._written > self._limit:
            raise _AttemptError(f"gives more than {self._limit} bytes", transient=True)
        return self._stream.write(data)

    def flush(self) -> None:
        self._stream.flush()


def _no_proxy() -> str:
    """Returns the user's NO_PROXY and this machine: http to it must not go through another."""
    user = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    return ",".join(filter(None, [user, "localhost", "127.0.0.0/8", "::1"]))


def _transient(error: Exception) -> bool:
    import requests

    if isinstance(error, requests.HTTPError):
        status = error.response.status_code
        return status >= 500 or status in _TRY_AGAIN_STATUS
    return not isinstance(error, (ValueError, requests.TooManyRedirects))


def _reason(error: BaseException) -> str:
    """Returns why a request failed, from its innermost cause, as the end of a sentence."""
    import requests

    if isinstance(error, requests.HTTPError):
        return f"answers {error.response.status_code} {error.response.reason}"
    while True:
        inner = (getattr(error, "reason", None), *error.args)
        cause = next((e for e in inner if isinstance(e, BaseException)), None)
        if cause is None:
            text = _CONNECTION.sub("", " ".join(str(error).split())) or type(error).__name__
            return f"fails: {text.rstrip('.')}"
        error = cause
