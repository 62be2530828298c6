"""Runs contestants in interleaved rounds, and returns the minimum time of each."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Contestant", "run_rounds"]

_WORKER = Path(__file__).with_name("worker.py")


@dataclass(frozen=True)
class Contestant:
    """One network in one engine.

    Attributes:
        name: Its name in the tables.
        engine: An engine of `benchmarks.worker`.
        file: The network.
        threads: Threads of the engine. The process is pinned to the same number of cores.
        batch: Images per run.
        python: Interpreter with the engine. Defaults to this one.
        environment: Additional environment variables.
        cpu_time: Count the CPU time of the process, not the time that passes: for one thread on a
            machine that does something else as well.
    """

    name: str
    engine: str
    file: Path
    threads: int = 1
    batch: int = 1
    python: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    cpu_time: bool = False

    def start(self, cpus: Sequence[int]) -> subprocess.Popen[str]:
        """Starts the worker and waits until it has loaded the network."""
        command = [self.python or sys.executable, str(_WORKER), self.engine, str(self.file)]
        command += ["--threads", str(self.threads), "--batch", str(self.batch)]
        command += ["--cpus", *map(str, cpus[: self.threads])]
        command += ["--cpu-time"] * self.cpu_time
        with tempfile.TemporaryFile("w+") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **self.environment},
            )
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                with process:
                    process.kill()
                log.seek(0)
                raise RuntimeError(f"{self.name} does not run:\n{log.read()}")
        return process


def run_rounds(contestants: Sequence[Contestant], rounds: int, runs: int) -> dict[str, float]:
    """Returns the minimum time of each contestant in milliseconds.

    In every round, each contestant in turn runs its network `runs` times.
    """
    cpus = sorted(os.sched_getaffinity(0))
    workers = [(contestant, contestant.start(cpus)) for contestant in contestants]
    best = {contestant.name: float("inf") for contestant in contestants}
    try:
        for _ in range(rounds):
            for contestant, worker in workers:
                assert worker.stdin is not None and worker.stdout is not None
                print(runs, file=worker.stdin, flush=True)
                best[contestant.name] = min(best[contestant.name], float(worker.stdout.readline()))
    finally:
        for _, worker in workers:
            with worker:
                worker.kill()
    return best
