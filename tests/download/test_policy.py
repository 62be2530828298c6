"""Only the right hosts are spoken to, and only where the network may be used."""

from __future__ import annotations

import pytest

from bnnzoo.download import policy
from bnnzoo.errors import WeightsError

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
    assert policy.allowed(url)
    policy.check_url(url, "url")


@pytest.mark.parametrize("url", REFUSED, ids=repr)
def test_everything_else_is_refused(url):
    assert not policy.allowed(url)
    with pytest.raises(WeightsError, match=r"^mirror must be https, or http to this machine, got"):
        policy.check_url(url, "mirror")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://user:secret@a.b/x.h5?token=1", "https://a.b/x.h5"),
        ("https://us/er@a.b/x.h5", "https://us/er@a.b/x.h5"),
        ("https://a.b/x@y.h5", "https://a.b/x@y.h5"),
    ],
)
def test_messages_show_no_secrets(url, expected):
    assert policy.shown(url) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1", True), ("true", True), ("YES", True), ("0", False), ("", False), ("off", False)],
)
def test_offline_switch(value, expected, monkeypatch):
    monkeypatch.setenv("BNNZOO_OFFLINE", value)
    assert policy.offline() is expected
