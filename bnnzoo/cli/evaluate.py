"""`bnnzoo evaluate`: measures the accuracy of a model on a data set."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bnnzoo.atomic import check_writable, write_file
from bnnzoo.cli import _completing
from bnnzoo.cli._labelling import LABELS, PREPROCESSING, TASK, names_and_table
from bnnzoo.cli.output import note, print_json, print_table, progress_bar
from bnnzoo.errors import ArgumentError
from bnnzoo.tables import class_table

if TYPE_CHECKING:
    from bnnzoo.evaluation import Report

MOST_SKIPPED = 10
FILE = click.Path(dir_okay=False, path_type=Path)


class Recorded(click.Command):
    """A command that records its command line for the result."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Records the arguments as typed."""
        ctx.meta["bnnzoo.command"] = shlex.join(["bnnzoo", str(ctx.info_name), *args])
        return super().parse_args(ctx, args)


def _shard(
    _ctx: click.Context, _option: click.Parameter, value: str | None
) -> tuple[int, int] | None:
    if value is None:
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", value)
    if found is None or int(found[1]) >= int(found[2]):
        raise click.BadParameter(f"{value!r} is not I/N with I below N. Write 0/8 to 7/8.")
    return int(found[1]), int(found[2])


@click.command("evaluate", cls=Recorded)
@click.argument("model", shell_complete=_completing.models)
@click.option(
    "--data",
    required=True,
    help="FOLDER (of class folders, or of images with --labels), FILE.npz, sample:fashion_mnist, "
    "keras:NAME[:SPLIT], tfds:NAME[:SPLIT], or for segmentation folder:IMAGES,MASKS.",
)
@click.option("--task", type=click.Choice(["classification", "segmentation"]), help=TASK)
@click.option("--labels", help=LABELS)
@click.option("--class-map", type=FILE, help="CSV or JSON file: index by class folder.")
@click.option("--preprocessing", help=PREPROCESSING)
@click.option(
    "--runtime",
    type=click.Choice(["keras", "packed"]),
    help="Runtime of the model. packed converts a model in memory if it has no packed file. "
    "Default: packed for packed files and without Keras, otherwise keras.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Evaluate the first N images only.")
@click.option(
    "--shard", callback=_shard, metavar="I/N",
    help="Evaluate every N-th image, from number I, counted from 0. `bnnzoo report merge` merges.",
)  # fmt: skip
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True)
@click.option("--per-class", is_flag=True, help="Add the accuracy of each class.")
@click.option("--confusion-matrix", type=FILE, help="Write a .csv or .png file.")
@click.option("--log-samples", type=FILE, help="Write one line of JSON per image.")
@click.option("-o", "--output", type=FILE, help="Write the result as JSON.")
@click.option("--skip-bad", is_flag=True, help="Skip broken images, and list them.")
@click.option("--random-weights", is_flag=True, help="Use random weights.")
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON object.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: str,
    data: str,
    labels: str | None,
    class_map: Path | None,
    per_class: bool,
    confusion_matrix: Path | None,
    log_samples: Path | None,
    output: Path | None,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure the accuracy of MODEL: a name, NAME.TAG, a .keras, .h5 or packed file."""
    if confusion_matrix is not None:
        _check_drawable(confusion_matrix)
    from bnnzoo.data.sources import source_files

    names, table = names_and_table(labels)
    sources = [model, *source_files(data), labels, class_map]
    _check_files([output, confusion_matrix, log_samples], force, sources)
    from bnnzoo.evaluation import evaluate

    with progress_bar(" images") as bar:
        report = evaluate(
            model,
            data,
            labels_csv=table,
            labels=names,
            class_map=class_map,
            progress=lambda done, total: _advance(bar, done, total),
            command=ctx.meta["bnnzoo.command"],
            **options,
        )
    result = report.to_dict(per_class)
    if output is not None:
        write_file(output, json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    if log_samples is not None:
        write_file(log_samples, "".join(report.samples()))
    if confusion_matrix is not None:
        write_file(confusion_matrix, _drawn(report, confusion_matrix))
    _warn(report)
    if as_json:
        print_json(result)
    else:
        _print_tables(report, per_class)


def _check_files(paths: Sequence[Path | None], force: bool, sources: Sequence[Any]) -> None:
    named = [path for path in paths if path is not None]
    files = [os.path.realpath(path) for path in named if path.is_file() or not path.exists()]
    if len(set(files)) < len(files):
        raise ArgumentError("-o, --confusion-matrix and --log-samples must name different files.")
    for path in named:
        check_writable(path, force, sources)


def _check_drawable(path: Path) -> None:
    from bnnzoo.evaluation.confusion import import_matplotlib

    if path.suffix not in (".csv", ".png"):
        raise ArgumentError(f"--confusion-matrix must end in .csv or .png, got {path}.")
    if path.suffix == ".png":
        import_matplotlib()  # fails here instead of after the evaluation


def _advance(bar: Any, done: int, total: int) -> None:
    if bar.total is None:
        bar.reset(total)  # so that the time to load the model does not count
    bar.update(done - bar.n)


def _drawn(report: Report, path: Path) -> bytes | str:
    from bnnzoo.evaluation.confusion import confusion_csv, confusion_png

    matrix = report.confusion_matrix()
    if path.suffix == ".csv":
        return confusion_csv(matrix, report.class_names)
    return confusion_png(matrix, report.class_names, f"{report.full_name} on {report.dataset}")


def _warn(report: Report) -> None:
    """Writes warnings to standard error."""
    if report.random_weights:
        note("The weights are random: only the throughput is meaningful.")
    for skipped in report.skipped[:MOST_SKIPPED]:
        note(f"Skipped {skipped.reason}")
    if len(report.skipped) > MOST_SKIPPED:
        note(f"Skipped {len(report.skipped):,} images in total. -o lists all.")


def _print_tables(report: Report, per_class: bool) -> None:
    print_table(["result", ""], list(report.facts().items()))
    if per_class:
        print_table(*class_table(report.per_class()))
