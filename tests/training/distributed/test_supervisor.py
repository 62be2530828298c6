"""Whatever ends one process of a run ends all, is named in all, and leaves no worker behind.

Supervisors are real processes with real connections; their workers only wait to be told to end.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from bnnzoo.training.distributed.lifeline import BEAT_S
from tests.training.ports import addresses

ROOT = Path(__file__).parents[3]
LIMIT_S = 120  # a fault that is not noticed fails here

# Ends as its file tells: with an exit code, or not at all. Its number shows that it has begun.
WORKER = """
import os, pathlib, sys, time
from bnnzoo.training.distributed import lifeline
lifeline.hold()
path = pathlib.Path(sys.argv[1])
path.with_suffix(".pid").write_text(str(os.getpid()))
while not path.exists():
    time.sleep(0.05)
os._exit(int(path.read_text()))
"""
SUPERVISOR = """
import json, sys
from bnnzoo.errors import BnnZooError
from bnnzoo.training.distributed.cluster import Cluster
from bnnzoo.training.distributed.supervisor import supervise
addresses, process, code, path, job, silence_s = json.loads(sys.argv[1])
try:
    worker = [sys.executable, "-c", code, path]
    sys.exit(supervise(Cluster(tuple(addresses), process), worker, job, silence_s))
except BnnZooError as error:
    sys.exit(f"Error: {error}")
"""


class Ended(NamedTuple):
    """What a supervisor says and returns, and when, in seconds after the fault."""

    code: int
    error: str
    seconds: float


class Run:
    """Processes of one run on this machine."""

    def __init__(self, folder, count=2, silence_s=30.0, jobs=None, start=None):
        self.addresses = addresses(count)
        self.files = [folder / f"worker{i}.exit" for i in range(count)]
        self.silence_s = silence_s
        self.jobs = jobs or [{"epochs": 1}] * count
        self.supervisors = {}
        for i in range(count) if start is None else start:
            self.begin(i)

    def begin(self, i):
        path, job = str(self.files[i]), self.jobs[i]
        values = [self.addresses, i, WORKER, path, job, self.silence_s]
        self.supervisors[i] = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, json.dumps(values)],
            cwd=ROOT, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def pid(self, i):
        """The number of a worker, once it has begun."""
        file = self.files[i].with_suffix(".pid")
        deadline = time.monotonic() + LIMIT_S
        while not file.exists() or not file.read_text():
            assert self.supervisors[i].poll() is None, self.supervisors[i].stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return int(file.read_text())

    def name(self, i):
        return f"Process {i} at {self.addresses[i]}"

    def ends(self):
        """Waits for all; nothing of them is left."""
        start, ended = time.monotonic(), {}
        for i, supervisor in self.supervisors.items():
            error = supervisor.communicate(timeout=LIMIT_S)[1]
            ended[i] = Ended(supervisor.returncode, error, time.monotonic() - start)
        return ended

    def kill(self):
        for file in self.files:
            if (path := file.with_suffix(".pid")).exists() and not is_gone(int(path.read_text())):
                os.kill(int(path.read_text()), signal.SIGKILL)  # it would keep the pipe open
        for supervisor in self.supervisors.values():
            supervisor.kill()
            supervisor.communicate()


@pytest.fixture
def run(tmp_path):
    """Starts runs; their workers are gone at the end, and none is left in any case."""
    begun = []

    def start(**arguments):
        folder = tmp_path / str(len(begun))
        folder.mkdir()
        begun.append(Run(folder, **arguments))
        return begun[-1]

    yield start
    left = [path for path in tmp_path.glob("*/*.pid") if not is_gone(int(path.read_text()))]
    for one in begun:
        one.kill()
    assert not left


def is_gone(pid):
    """Whether a process has ended, or is only kept until somebody asks for its exit code."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")

# What is sent to whom of process 1: what process 0 says of it.
SIGNALS = {
    "worker KILL": "was killed by signal 9 (SIGKILL)",
    "supervisor KILL": "is gone: it closed its connection",
    "supervisor INT": "was interrupted",
}


@pytest.mark.parametrize("fault", SIGNALS)
def test_a_signal_ends_all_and_is_named(run, fault):
    pair = run()
    pids = [pair.pid(0), pair.pid(1)]
    whom, name = fault.split()
    target = pids[1] if whom == "worker" else pair.supervisors[1].pid
    os.kill(target, getattr(signal, f"SIG{name}"))
    ended = pair.ends()
    assert ended[0].code == 1
    assert f"Error: {pair.name(1)} {SIGNALS[fault]}. The checkpoint of the" in ended[0].error
    assert "start every process again with --resume" in ended[0].error
    assert ended[1].code != 0
    if whom == "worker":
        assert f"Error: {pair.name(1)} {SIGNALS[fault]}." in ended[1].error


def test_the_first_process_is_named_too(run):
    pair = run()
    pair.pid(1)
    os.kill(pair.pid(0), signal.SIGKILL)
    ended = pair.ends()
    assert [ended[i].code for i in (0, 1)] == [1, 1]
    for i in (0, 1):
        assert f"Error: {pair.name(0)} was killed by signal 9 (SIGKILL)." in ended[i].error


def test_process_0_tells_the_others(run):
    three = run(count=3)
    three.pid(0), three.pid(2)
    os.kill(three.pid(1), signal.SIGKILL)
    ended = three.ends()
    assert f"Error: {three.name(1)} was killed by signal 9" in ended[2].error
    assert three.name(0) not in ended[2].error


def test_silence_is_noticed_in_time(run):
    """A frozen process sends nothing and closes nothing, as one behind a broken line.

    Three runs at once, to wait once: a machine is frozen, a worker is, and one has lost contact to
    nobody knows whom. A loaded machine needs seconds to start anything.
    """
    silence_s = 8.0
    machine, worker, lost = (run(silence_s=silence_s) for _ in range(3))
    pids = {pair: (pair.pid(0), pair.pid(1)) for pair in (machine, worker, lost)}
    start = time.monotonic()
    for pid in (pids[machine][1], machine.supervisors[1].pid, pids[worker][1]):
        os.kill(pid, signal.SIGSTOP)
    lost.files[0].write_text("75")
    for pair in (machine, worker):
        error = pair.supervisors[0].communicate(timeout=LIMIT_S)[1]
        assert pair.supervisors[0].returncode == 1
        assert f"Error: {pair.name(1)} gave no sign of life for 8 s." in error
    seconds = time.monotonic() - start
    assert silence_s - BEAT_S - 1 < seconds < 4 * silence_s, "at once would be no waiting"
    os.kill(machine.supervisors[1].pid, signal.SIGCONT)
    for pair in (machine, worker):
        pair.supervisors[1].communicate(timeout=LIMIT_S)
    for ended in lost.ends().values():
        assert f"Error: {lost.name(0)} lost contact with the others." in ended.error


@pytest.mark.parametrize(
    "codes, expected",
    [
        ((0, 0), (0, 0)),
        ((0, 3), (1, 3)),
        ((2, 2), (2, 2)),
    ],
    ids=str,
)
def test_exit_codes(run, codes, expected):
    """A worker that fails says itself why; the others name it."""
    pair = run()
    pair.pid(0), pair.pid(1)
    for i in (1, 0) if codes[1] else (0, 1):
        pair.files[i].write_text(str(codes[i]))
        if codes[i] and codes[0] != codes[1]:
            break  # the other one goes on
    ended = pair.ends()
    assert tuple(ended[i].code for i in (0, 1)) == expected
    for i in (0, 1):
        other = f"{pair.name(1 - i)} ended with exit code {codes[1 - i]}; see its output"
        assert (other in ended[i].error) == (codes[0] != codes[1] and codes[1 - i] != 0)


def test_a_consequence_waits_for_its_cause(run):
    """A worker without contact does not know which process is gone; its supervisor learns it."""
    pair = run()
    victim = pair.pid(1)
    pair.pid(0)
    pair.files[0].write_text("75")
    time.sleep(0.3)
    os.kill(victim, signal.SIGKILL)
    ended = pair.ends()
    for i in (0, 1):
        assert f"Error: {pair.name(1)} was killed by signal 9" in ended[i].error
        assert "lost contact" not in ended[i].error


def test_a_killed_worker_is_named_beside_what_comes_of_it(run):
    """The other worker may fail of it before its supervisor knows, in its own words."""
    pair = run()
    victim = pair.pid(1)
    pair.pid(0)
    pair.files[0].write_text("1")
    os.kill(victim, signal.SIGKILL)
    ended = pair.ends()
    for i in (0, 1):
        assert f"{pair.name(1)} was killed by signal 9 (SIGKILL)." in ended[i].error


@pytest.mark.parametrize(
    "start, absent, how",
    [
        (0, 1, r"could not be reached within 2 s (Connection refused)"),
        (1, 0, "did not call within 2 s"),
    ],
)
def test_a_process_that_is_not_there_is_named(run, start, absent, how):
    one = run(silence_s=1.0, start=[start])
    (ended,) = one.ends().values()
    assert ended.code == 1
    assert f"Error: {one.name(absent)} {how}. Start every process" in ended.error


def test_a_stranger_is_sent_away(run):
    """Something that tries every port is no process 0."""
    pair = run(start=[1])
    host, port = pair.addresses[1].split(":")
    deadline = time.monotonic() + LIMIT_S
    while True:
        try:
            stranger = socket.create_connection((host, int(port)), LIMIT_S)
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    with stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert stranger.recv(100) == b""
    pair.begin(0)
    for i in (0, 1):
        pair.pid(i)
        pair.files[i].write_text("0")
    assert [ended.code for ended in pair.ends().values()] == [0, 0]


def test_another_command_is_named(run):
    pair = run(jobs=[{"epochs": 1, "seed": 1}, {"epochs": 2, "seed": 1}])
    ended = pair.ends()
    for i in (0, 1):
        assert (
            f"Error: {pair.name(1 - i)} was started with other settings: epochs. Give every "
            "process the same command."
        ) in ended[i].error
