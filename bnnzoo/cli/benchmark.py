"""`bnnzoo benchmark`: measures the speed of a packed file and of its nodes on this machine."""

from __future__ import annotations

import time
from datetime import date
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from bnnzoo.cli import _completing
from bnnzoo.cli._packed import packed_file
from bnnzoo.cli.output import echo, print_json, print_table
from bnnzoo.version import cpu_name, versions

if TYPE_CHECKING:
    from bnnzoo.runtime import Model

WARM_UP_RUNS = 5
DOMINANT = 5


@click.command("benchmark")
@click.argument("model", shell_complete=_completing.models)
@click.option("--threads", type=int, help="Default: all cores of the process, at most 8.")
@click.option("--runs", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--isa", help="Instruction set. Default: the best of this CPU.")
@click.option("--profile", is_flag=True, help="Show all nodes, not only the slowest.")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON object.")
def command(
    model: str,
    threads: int | None,
    runs: int,
    batch_size: int,
    isa: str | None,
    profile: bool,
    as_json: bool,
) -> None:
    """Measure the speed of MODEL, a packed file or a name, on random images."""
    from bnnzoo import runtime
    from bnnzoo.snapshot import Snapshot

    file = Snapshot.of(packed_file(model))
    network = runtime.load(file, threads=threads, isa=isa)
    report = {
        "file": str(file),
        "sha256": file.sha256,
        "model": network.info.name,
        "tag": network.info.tag,
        "random_weights": network.info.random_weights is True,
        "cpu": cpu_name(),
        "isa": network.isa,
        "threads": network.threads,
        **measure(network, runs, batch_size),
    }
    nodes = network.profile(runs=min(runs, 20))
    if not profile:
        nodes = sorted(nodes, key=lambda node: node.ms, reverse=True)[:DOMINANT]
    rows = [[n.name, n.op, n.ms, n.gmacs_per_second] for n in nodes]
    if as_json:
        names = ("name", "op", "ms", "gmacs_per_second")
        origin = {"versions": versions(), "date": date.today().isoformat()}
        listed = [dict(zip(names, row, strict=True)) for row in rows]
        print_json({**report, **origin, "nodes": listed})
        return
    for key, value in report.items():
        number = {int: ",", float: ",.3f"}.get(type(value), "")
        if value not in (None, False):
            echo(f"{key.replace('_', ' '):>18}  {format(value, number)}")
    echo()
    print_table(
        ["node", "operation", "ms", "GMAC/s"],
        [[name, op, f"{ms:.3f}", speed] for name, op, ms, speed in rows],
        title="Nodes, one image" if profile else f"The {len(rows)} slowest nodes, one image",
        optional=("operation", "GMAC/s"),
    )


def measure(model: Model, runs: int, batch_size: int) -> dict[str, Any]:
    """Returns percentiles of the time of one call in milliseconds, and the throughput."""
    images = model.random_inputs(batch_size)
    for _ in range(WARM_UP_RUNS):
        model(images)
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        model(images)
        times.append((time.perf_counter() - start) * 1e3)
    median, p90, p99 = (float(v) for v in np.percentile(times, (50, 90, 99)))
    return {
        "runs": runs,
        "batch_size": batch_size,
        "min_ms": min(times),
        "median_ms": median,
        "p90_ms": p90,
        "p99_ms": p99,
        "images_per_second": batch_size / median * 1e3,
        "macs": model.macs,
        "gmacs_per_second": batch_size * model.macs / (median * 1e6),
    }
