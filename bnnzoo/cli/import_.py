"""`bnnzoo import`: converts a PyTorch checkpoint published by a paper's authors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bnnzoo.cli import _completing
from bnnzoo.cli._labelling import NAMES, PREPROCESSING, class_names
from bnnzoo.cli._sizes import INPUT_SHAPE, NUM_CLASSES
from bnnzoo.cli.output import echo, print_json, print_table
from bnnzoo.plain_text import counted

if TYPE_CHECKING:
    from bnnzoo.importing import ImportReport


@click.command("import")
@click.argument("weights", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--as",
    "name",
    required=True,
    metavar="NAME",
    shell_complete=_completing.models,
    help="The network in WEIGHTS.",
)
@click.option("--key", help="Key of the weights in WEIGHTS, if it has several networks.")
@NUM_CLASSES
@INPUT_SHAPE
@click.option("--labels", help=f"Class names to store in a packed file: {NAMES}.")
@click.option("--preprocessing", help=PREPROCESSING)
@click.option("--force", is_flag=True, help="Overwrite OUT.")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON object.")
def command(
    weights: Path,
    out: Path,
    name: str,
    key: str | None,
    num_classes: int | None,
    input_shape: tuple[int, ...] | None,
    labels: str | None,
    preprocessing: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Convert WEIGHTS, a PyTorch checkpoint (.pth, .pt, .th), to OUT.

    OUT is a packed .safetensors file, or .weights.h5 with the latent weights. PyTorch is not
    needed, and no code in the checkpoint is executed.
    """
    from bnnzoo.importing import import_weights

    report = import_weights(
        weights,
        name,
        out,
        key=key,
        num_classes=num_classes,
        input_shape=input_shape,
        preprocessing=preprocessing,
        labels=None if labels is None else class_names(labels),
        force=force,
    )
    if as_json:
        print_json(report.to_dict())
    else:
        _print(report, weights)


def _print(report: ImportReport, weights: Path) -> None:
    rows = [(a.source, str(a.shape), a.target, str(a.target_shape)) for a in report.assignments]
    print_table(["tensor", "shape", f"weight of {report.model}", "its shape"], rows)
    place = "the whole file" if report.key is None else f"its {report.key!r}"
    prefix = f", without the prefix {report.prefix!r}" if report.prefix else ""
    assigned = counted(len(rows), "tensor")
    echo(f"Assigned {assigned} from {place}{prefix}. Unused: {len(report.unused):,}.")
    echo(f"The sha256 of {weights} is {report.sha256}.")
    echo(f"Wrote {report.path}.")
