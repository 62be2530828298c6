"""`bnnzoo plot`: draws the training curves of runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from bnnzoo.atomic import check_writable, write_file
from bnnzoo.cli.output import echo, print_table
from bnnzoo.errors import ArgumentError


@click.command("plot")
@click.argument("runs", metavar="RUN_DIR...", nargs=-1, required=True, type=click.Path())
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Write a .png, .svg or .pdf.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
def command(runs: tuple[str, ...], out: Path | None, force: bool) -> None:
    """Draw loss, accuracy, flip ratio and learning rate of runs, by epoch.

    RUN_DIR is the folder of a run, finished or not, or a log.csv. Without --out, the curves are
    sketched as text: each row is one run, and the last two columns are its first and last epoch.
    """
    from bnnzoo.training.curves import FORMATS, drawn, read_curves, sketched

    if out is not None:
        if out.suffix not in FORMATS:
            raise ArgumentError(f"--out must end in {', '.join(FORMATS)}, got {out}.")
        check_writable(out, force)
    curves = [read_curves(run) for run in runs]
    if out is not None:
        write_file(out, drawn(curves, out.suffix))
        echo(f"Wrote {out}.")
        return
    epochs = ", ".join(f"{run.name} {run.epochs:,}" for run in curves)
    width = min(40, max(8, shutil.get_terminal_size((100, 24)).columns - 60))
    rows = [
        [name, quantity, bars, f"{first:.4g}", f"{last:.4g}"]
        for name, quantity, bars, first, last in sketched(curves, width)
    ]
    print_table(["run", "", "", "first", "last"], rows, title=f"Epochs: {epochs}")
