"""Addresses and process numbers, from options and from Keras's variables."""

from __future__ import annotations

import re

import pytest

from bnnzoo.errors import ArgumentError
from bnnzoo.training.distributed.cluster import ADDRESSES, COUNT, PROCESS, Cluster, read_cluster

TWO = ("a:8476", "b:8476")


@pytest.mark.parametrize(
    "processes, process_id, environ, expected",
    [
        (None, None, {}, None),
        ("a", None, {}, None),
        ("a,b", 1, {}, Cluster(TWO, 1)),
        ("a, b", 0, {}, Cluster(TWO, 0)),
        ("a:1,a:2", 1, {}, Cluster(("a:1", "a:2"), 1)),
        ("[::1]:1,[::1]", 1, {}, Cluster(("[::1]:1", "[::1]:8476"), 1)),
        (None, None, {ADDRESSES: "a,b", PROCESS: "1"}, Cluster(TWO, 1)),
        (None, None, {ADDRESSES: "a,b", COUNT: "2", PROCESS: "1"}, Cluster(TWO, 1)),
        ("a,b", 0, {ADDRESSES: "c", COUNT: "5", PROCESS: "1"}, Cluster(TWO, 0)),
    ],
    ids=str,
)
def test_a_cluster(processes, process_id, environ, expected):
    assert read_cluster(processes, process_id, environ) == expected


@pytest.mark.parametrize(
    "processes, process_id, environ, message",
    [
        (None, 1, {}, "processes must be given with process-id, got process-id 1 alone"),
        ("localhost", 5, {}, "process-id must be from 0 to 0, .* got 5"),
        ("a,b", None, {}, "process-id must be from 0 to 1, .* got None"),
        ("a,b", 2, {}, "process-id must be from 0 to 1, .* got 2"),
        ("a,b", None, {PROCESS: "one"}, "process-id must be from 0 to 1, .* got one"),
        ("a,a", 0, {}, "processes must be different addresses, got 'a,a'. On one machine"),
        ("a,", 0, {}, "must be addresses HOST or HOST:PORT, got ''"),
        ("a:x,b", 0, {}, "must be addresses .* got 'a:x'"),
        ("a:0,b", 0, {}, "must be addresses .* got 'a:0'"),
        ("a:65536,b", 0, {}, "must be addresses .* got 'a:65536'"),
        (":1,b", 0, {}, "must be addresses .* got ':1'"),
        ("::1,b", 0, {}, "got '::1'. Separate them by commas, and write IPv6 in brackets"),
        (None, None, {ADDRESSES: "a:1", COUNT: "2", PROCESS: "0"}, f"{COUNT} must be 1, .* '2'"),
    ],
    ids=str,
)
def test_what_is_no_cluster(processes, process_id, environ, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        read_cluster(processes, process_id, environ)
    assert re.search(r"\. [A-Z].*\.$", str(caught.value)), "it says what to do"


def test_names_and_endpoints():
    cluster = Cluster(("host:1", "[::1]:2"), 0)
    assert len(cluster) == 2
    assert cluster.name(1) == "Process 1 at [::1]:2"
    assert [cluster.endpoint(i) for i in (0, 1)] == [("host", 1), ("::1", 2)]
