"""`bnnzoo compare`: compares networks by accuracy, size, memory and time on this machine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bnnzoo.atomic import check_writable, write_file
from bnnzoo.cli import _completing
from bnnzoo.cli.output import echo, note, print_json, print_table, progress_bar
from bnnzoo.errors import ArgumentError

if TYPE_CHECKING:
    from bnnzoo.comparing import Comparison

UNITS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}


def _bytes(_ctx: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    """Returns the bytes of a size such as `2MB`, `500 kB` or `80000`."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kMG]?)B?", value)
    if found is None:
        raise click.BadParameter(f"{value!r} is not a size. Write 2MB, 500kB or 80000.")
    return float(found[1]) * UNITS[found[2]]


@click.command("compare")
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME[.TAG]...", shell_complete=_completing.models
)
@click.option("--max-bytes", callback=_bytes, help="Leave out larger networks, as in 2MB.")
@click.option("--max-ms", type=click.FloatRange(min=0), help="Leave out slower networks.")
@click.option("--threads", type=int, default=1, show_default=True)
@click.option("--runs", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--plot", type=click.Path(path_type=Path), help="Write a .png, .svg or .pdf.")
@click.option("--csv", "as_csv", is_flag=True, help="Write comma-separated values.")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON array.")
@click.option("--force", is_flag=True, help="Overwrite the file of --plot.")
def command(
    names: tuple[str, ...],
    max_bytes: float | None,
    max_ms: float | None,
    threads: int,
    runs: int,
    plot: Path | None,
    as_csv: bool,
    as_json: bool,
    force: bool,
) -> None:
    """Compare networks side by side, the most accurate ones first.

    A NAME may be a pattern, as in 'quick*'. Times are measured here, on random images. A network
    without a packed file is built with random weights, which requires Keras.
    """
    from bnnzoo.comparing import compare, fitting, matching
    from bnnzoo.comparing.drawing import FORMATS, drawn

    if plot is not None:
        if plot.suffix not in FORMATS:
            raise ArgumentError(f"--plot must end in {', '.join(FORMATS)}, got {plot}.")
        check_writable(plot, force)
    chosen = matching(names)
    with progress_bar(" networks") as bar:
        bar.total = len(chosen)
        rows = compare(chosen, threads=threads, rounds=runs, progress=lambda _name: bar.update())
    rows = fitting(rows, max_bytes=max_bytes, max_ms=max_ms)
    if plot is not None:
        write_file(plot, drawn(rows, plot.suffix))
        note(f"Wrote {plot}.")
    if as_json:
        print_json(rows.to_dicts())
    elif as_csv:
        echo(rows.to_csv().rstrip("\n"))
    else:
        _print(rows)


def _print(rows: Sequence[Comparison]) -> None:
    if not rows:
        note("No network is within --max-bytes and --max-ms.")
        return
    sizes = ["packed kB", "RAM kB", "binary M", "other M"]
    print_table(
        ["name", "top-1 %", "data set", "by", *sizes, "ms"],
        [
            [
                row.name,
                row.top1,
                row.dataset,
                row.by,
                None if row.packed_bytes is None else round(row.packed_bytes / 1e3),
                round(row.ram_bytes / 1e3),
                round(row.binary_macs / 1e6),
                round(row.other_macs / 1e6),
                row.ms,
            ]
            for row in rows
        ],
        title="binary M and other M: millions of multiply-accumulates for one image",
        optional=("by", "other M", "binary M", "RAM kB", "data set"),
    )
