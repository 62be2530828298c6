"""Strangers on the port of a training neither end it nor say anything in it."""

from __future__ import annotations

import asyncio
import json

import pytest

from bnnzoo.training.distributed.cluster import Cluster
from bnnzoo.training.distributed.peers import End, meet
from tests.training.ports import addresses

GARBAGE = {
    "other protocol": b"GET / HTTP/1.1\r\n\r\n",
    "no line": b"\xff" * 200_000,
    "deep": b"[" * 60_000 + b"\n",
    "a number": b"5\n",
    "addresses of a number": b'{"addresses": 5}\n',
    "no job": json.dumps({"to": 1, "addresses": ["a:1"]}).encode() + b"\n",
    "nothing": b"",
}


async def met_after(data: bytes) -> list[End]:
    """Lets a stranger speak first, and returns what two processes say of each other then."""
    both = tuple(addresses(2))
    waiting = asyncio.ensure_future(meet(Cluster(both, 1), {}, 20))
    while True:
        try:
            _, stranger = await asyncio.open_connection(*Cluster(both, 0).endpoint(1))
            break
        except OSError:
            await asyncio.sleep(0.05)
    stranger.write(data)
    results = await asyncio.gather(waiting, meet(Cluster(both, 0), {}, 20))
    stranger.close()
    await asyncio.gather(*(link.close() for links, _ in results for link in links))
    assert [len(links) for links, _ in results] == [1, 1]
    return [end for _, ends in results for end in ends]


@pytest.mark.parametrize("what", GARBAGE)
def test_a_stranger_is_not_taken_for_a_process(what):
    assert asyncio.run(met_after(GARBAGE[what])) == []


RIGHT = {"process": 1, "how": "is gone", "advice": "Look.", "consequence": False}


@pytest.mark.parametrize(
    "value",
    [None, [], {}, {"process": 1}, {**RIGHT, "process": 2}, {**RIGHT, "process": -1},
     {**RIGHT, "how": 5}, {**RIGHT, "more": 1}],
)  # fmt: skip
def test_an_end_is_of_one_of_the_processes(value):
    assert End.received(RIGHT, 2) == End(**RIGHT)
    assert End.received(value, 2) is None
