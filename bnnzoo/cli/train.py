"""`bnnzoo train`: trains a network with a recipe."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from bnnzoo.cli import _completing
from bnnzoo.cli.evaluate import Recorded
from bnnzoo.cli.output import note, print_json, print_table, progress_bar
from bnnzoo.data.sources import check_source
from bnnzoo.errors import ArgumentError
from bnnzoo.tables import metric_rows
from bnnzoo.training.distributed import lifeline
from bnnzoo.training.distributed.cluster import Cluster, read_cluster
from bnnzoo.training.progress import epoch_line, follow
from bnnzoo.training.recipes import recipe as find_recipe
from bnnzoo.training.recipes.schema import Recipe, check
from bnnzoo.training.recipes.settings import apply_settings, both_splits
from bnnzoo.training.run_folder import check_folder

ENGINES = ("auto", "native", "keras")
ENGINE = (
    "What trains: the native engine or Keras. Default: native on a CPU, if it knows the network; "
    "Keras otherwise."
)
SETTING = "Change a setting of the recipe: epochs=2, augmentation.pad=2, arguments.width=64."
SPLIT = (
    "Fraction of --data to test on, as in 0.1, for a folder without test images. A hash of the "
    "seed and their names selects them."
)


@click.command("train", cls=Recorded)
@click.argument("recipe", shell_complete=_completing.recipes)
@click.option("--data", help="Training images, in the forms of `evaluate --data`.")
@click.option("--test-data", help="Test images. Default: the test split of --data.")
@click.option("--split", type=click.FloatRange(0, 1, True, True), help=SPLIT)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help=SETTING)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run [runs/RECIPE].")
@click.option("--resume", is_flag=True, help="Resume after the last finished epoch.")
@click.option("--engine", type=click.Choice(ENGINES), default="auto", help=ENGINE)
@click.option(
    "--processes",
    metavar="ADDRESSES",
    help="HOST[:PORT] of all processes, separated by commas.",
)
@click.option("--process-id", type=click.IntRange(min=0), help="Index of this process, from 0.")
@click.option(
    "--peer-timeout", type=click.FloatRange(min=5), default=60, show_default=True,
    metavar="SECONDS", help="Time after which a silent process counts as dead.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Write a JSON object.")
@click.pass_context
def command(
    ctx: click.Context,
    recipe: str,
    data: str | None,
    test_data: str | None,
    split: float | None,
    settings: tuple[str, ...],
    out: Path | None,
    resume: bool,
    engine: str,
    processes: str | None,
    process_id: int | None,
    peer_timeout: float,
    as_json: bool,
) -> int:
    """Train a network with RECIPE. `bnnzoo recipes` lists the recipes."""
    if split and data is None:
        raise ArgumentError(f"--split must be given with --data, got {split:g} alone. Add --data.")
    chosen = with_data(apply_settings(find_recipe(recipe), settings), data, test_data, split or 0.0)
    folder = out or Path("runs") / chosen.name
    cluster = read_cluster(processes, process_id)
    if cluster is None:
        check_folder(folder, resume)
    for source in (chosen.data, chosen.test_data):
        check_source(source)
    typed = ctx.meta["bnnzoo.command"]
    if cluster is not None and not lifeline.is_held():
        return in_worker(cluster, typed, chosen, resume, peer_timeout)
    report = train_in(cluster, chosen, folder, resume, typed, engine)
    if as_json and report:
        print_json(report)
    elif report:
        print_report(report, folder)
    return 0


def in_worker(cluster: Cluster, typed: str, recipe: Recipe, resume: bool, silence_s: float) -> int:
    """Runs the same command in a worker process that this process supervises."""
    from bnnzoo.cli.doctor import configured_backend
    from bnnzoo.training.distributed.distribution import check_backend
    from bnnzoo.training.distributed.supervisor import supervise

    check_backend(configured_backend())
    worker = [sys.executable, "-m", "bnnzoo.cli._train_worker", *shlex.split(typed)[1:]]
    values = recipe.to_dict()
    # The path of the data may differ between machines.
    job = {key: values[key] for key in values if key not in ("data", "test_data", "summary")}
    return supervise(cluster, worker, {**job, "resume": resume}, silence_s)


def train_in(
    cluster: Cluster | None,
    recipe: Recipe,
    folder: Path,
    resume: bool,
    typed: str,
    engine: str = "auto",
) -> dict[str, Any]:
    """Trains alone or as a process of a cluster, with a progress bar."""
    from bnnzoo.training.distributed.distribution import joined

    quiet = cluster is not None and cluster.process > 0
    with joined(cluster), progress_bar(" steps", hidden=quiet) as bar:
        from bnnzoo.training.trainer import train

        return train(
            recipe,
            folder,
            resume=resume,
            progress=follow(bar),
            on_epoch=None if quiet else print_epoch,
            verbose=False,
            command=typed,
            engine=engine,
        )


def with_data(
    recipe: Recipe, data: str | None, test_data: str | None, split: float = 0.0
) -> Recipe:
    """Returns the recipe with other data. `keras:NAME` and `FILE.npz` have both splits."""
    if data is None:
        return recipe if test_data is None else dataclasses.replace(recipe, test_data=test_data)
    train, test = both_splits(data, test_data, split=split)
    return check(dataclasses.replace(recipe, data=train, test_data=test, split=split))


def print_epoch(row: dict[str, Any]) -> None:
    """Writes the line of an epoch to standard error, above the progress bar."""
    note(epoch_line(row))


def print_report(report: dict[str, Any], folder: Path) -> None:
    """Writes the table of results."""
    measured = report["evaluation"]
    facts = {
        "recipe": report["recipe"],
        "epochs": report["epochs"],
        "data set": f"{measured['dataset']} (n = {measured['n']:,})",
        **metric_rows(measured),
        "model": str(folder / "model.keras"),
    }
    known = [(name, str(value)) for name, value in facts.items() if value is not None]
    print_table(["result", ""], known)
