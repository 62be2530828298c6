"""Download policy: offline mode, allowed URLs, timeouts and retries.

Only https, and http to this machine, is allowed, also in redirects.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from bnnzoo.errors import WeightsError

__all__ = ["PATIENCE", "Patience", "allowed", "check_url", "offline", "shown"]


@dataclass(frozen=True)
class Patience:
    """Timeouts and retries of a download.

    Attributes:
        rounds: Number of times that all URLs are tried.
        backoff_s: Pause after the first round, doubled after each further round.
        connect_timeout_s: How long to wait for a connection.
        read_timeout_s: How long to wait for the next bytes.
        retry_after_s: The longest pause that a server may request (`Retry-After`).
    """

    rounds: int = 3
    backoff_s: float = 1.0
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0
    retry_after_s: float = 120.0


PATIENCE = Patience()


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
    """Refuses a URL that must not be fetched; `what` names it in the message.

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
