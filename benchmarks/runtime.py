"""Times the runtime: kernels per instruction set, networks, threads.

    python -m benchmarks.runtime [FILE ...] [--json OUT]

Needs only the package. FILEs are packed networks written by `bnnzoo convert` or
`python -m benchmarks.networks`. Minima of interleaved rounds are compared; see `benchmarks.peers`.

Kernels: a binary 3 x 3 convolution that stores its sums as float32, on one thread. The unit of
comparison is `popcnt`: 64-bit popcounts of four output channels at a time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import numpy as np

from benchmarks.contest import Contestant, run_rounds
from bnnzoo import runtime
from bnnzoo.graph.ir import Graph, Node

SHAPES = ((64, 56), (128, 28), (256, 14), (512, 7))
UNIT = "popcnt"


def convolution(channels: int, size: int) -> Graph:
    """Returns a sign and a binary 3 x 3 convolution with equal numbers of channels."""
    rng = np.random.default_rng(0)
    kernel = rng.choice(np.array([-1, 1], np.int8), (channels, 3, 3, channels))
    window = {"strides": (1, 1), "dilation": (1, 1), "padding": (1, 1, 1, 1), "groups": 1}
    nodes = (
        Node("bits", "sign", ("images",)),
        Node("sums", "bconv2d", ("bits",), {**window, "pad_value": 1}, {"kernel": "kernel"}),
    )
    return Graph({"images": (size, size, channels)}, nodes, ("sums",), {"kernel": kernel})


def measure_kernels(rounds: int) -> dict[str, dict[str, float]]:
    """Returns GMAC/s of the binary convolution by shape and instruction set."""
    models = {
        (f"{channels} channels, {size} x {size}", isa): runtime.Model(
            convolution(channels, size), threads=1, isa=isa
        )
        for channels, size in SHAPES
        for isa in runtime.isas()
    }
    best = dict.fromkeys(models, 0.0)
    for _ in range(rounds):
        for key, model in models.items():
            (node,) = (node for node in model.profile(runs=3) if node.op == "bconv2d")
            best[key] = max(best[key], node.gmacs_per_second or 0.0)
    table: dict[str, dict[str, float]] = {}
    for (shape, isa), speed in best.items():
        table.setdefault(shape, {})[isa] = speed
    return table


def measure_networks(files: list[Path], rounds: int, runs: int) -> dict[str, float]:
    """Returns the milliseconds of each network on one thread, on two, and with a busy core."""
    contestants = [
        Contestant(f"{path.stem}, {threads} threads", "bnnzoo", path, threads)
        for path in files
        for threads in (1, 2)
    ]
    times = run_rounds(contestants, rounds, runs)
    if len(os.sched_getaffinity(0)) < 2:
        return times
    with stolen_core():
        stolen = [c for c in contestants if c.threads == 2]
        times |= {f"{n}, one stolen": t for n, t in run_rounds(stolen, rounds, runs).items()}
    return times


@contextmanager
def stolen_core() -> Iterator[None]:
    """Keeps the second core of this process busy with another process."""
    core = sorted(os.sched_getaffinity(0))[1]
    thief = multiprocessing.Process(target=_spin, args=(core,), daemon=True)
    thief.start()
    time.sleep(0.5)
    try:
        yield
    finally:
        thief.terminate()
        thief.join()


def _spin(core: int) -> None:
    os.sched_setaffinity(0, {core})
    while True:
        pass


def print_kernels(table: dict[str, dict[str, float]]) -> None:
    """Prints GMAC/s and the ratio to the unit."""
    print("Binary 3 x 3 convolution, 1 thread, GMAC/s (multiple of the unit)\n")
    for shape, speeds in table.items():
        unit = speeds.get(UNIT)
        cells = (
            f"{isa} {speed:.0f}" + (f" ({speed / unit:.2f}x)" if unit else "")
            for isa, speed in speeds.items()
        )
        print(f"{shape:24}", "  ".join(cells))


def print_networks(times: dict[str, float]) -> None:
    """Prints milliseconds and the ratio to the time of one thread."""
    print("\nNetworks, one image, ms (multiple of the time of 1 thread)\n")
    for name, ms in times.items():
        alone = times[f"{name.partition(',')[0]}, 1 threads"]
        print(f"{name:40} {ms:8.2f} ({ms / alone:.2f}x)")


def main() -> None:
    """Reads the command line and runs the benchmarks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, help="where to write the results")
    args = parser.parse_args()
    kernels = measure_kernels(args.rounds)
    print_kernels(kernels)
    networks = measure_networks(args.files, args.rounds, args.runs) if args.files else {}
    if networks:
        print_networks(networks)
    if args.json:
        machine = {"machine": platform.platform(), "date": date.today().isoformat()}
        results = {**machine, "gmacs_per_second": kernels, "ms": networks}
        args.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
