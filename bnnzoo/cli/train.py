"""`bnnzoo train`: a recipe, its data, a folder for the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from bnnzoo.cli.evaluate import Recorded
from bnnzoo.cli.output import print_json, print_table
from bnnzoo.training.recipe import Recipe
from bnnzoo.training.settings import apply_settings, both_splits


@click.command("train", cls=Recorded)
@click.argument("recipe")
@click.option("--data", help="Training images, as `evaluate --data` takes them.")
@click.option("--test-data", help="Images to measure on. By default the test split of --data.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE",
    help="Change the recipe: epochs=2, augmentation.pad=2, arguments.width=64.",
)  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run: runs/RECIPE.")
@click.option("--resume", is_flag=True, help="Go on after the last finished epoch.")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON object.")
@click.pass_context
def command(
    ctx: click.Context,
    recipe: str,
    data: str | None,
    test_data: str | None,
    settings: tuple[str, ...],
    out: Path | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Train a network by RECIPE; `bnnzoo recipes` lists them."""
    from bnnzoo import training

    chosen = apply_settings(training.recipe(recipe), settings)
    chosen = with_data(chosen, data, test_data)
    folder = out or Path("runs") / chosen.name
    with tqdm(unit=" steps", leave=False, disable=None, delay=0.1) as bar:
        report = training.train(
            chosen,
            folder,
            resume=resume,
            progress=follow(bar),
            on_epoch=print_epoch,
            command=ctx.meta["bnnzoo.command"],
        )
    if as_json:
        print_json(report)
    else:
        print_report(report, folder)


def with_data(recipe: Recipe, data: str | None, test_data: str | None) -> Recipe:
    """Returns the recipe with other images; both splits of `keras:NAME` and `FILE.npz`."""
    if data is None:
        return recipe if test_data is None else dataclasses.replace(recipe, test_data=test_data)
    train, test = both_splits(data, test_data)
    return dataclasses.replace(recipe, data=train, test_data=test)


def follow(bar: Any) -> Callable[[Any], None]:
    """Returns what moves a progress bar over all epochs, with rate and time left."""

    def advance(progress: Any) -> None:
        before = (progress.epoch - 1) * progress.steps
        if bar.total is None:
            bar.reset(progress.epochs * progress.steps)
            bar.initial = bar.n = before  # of epochs that were done before
        bar.set_description(f"epoch {progress.epoch}/{progress.epochs}", refresh=False)
        bar.update(before + progress.step - bar.n)

    return advance


def print_epoch(row: dict[str, Any]) -> None:
    """Writes a line per epoch to standard error, above a bar."""
    text = (
        f"epoch {row['epoch']:>3}  loss {row['loss']:.4f}  top-1 {row['top1']:.2f} %  "
        f"val loss {row['val_loss']:.4f}  val top-1 {row['val_top1']:.2f} %  "
        f"flips {100 * row['flip_ratio']:.2f} %  {row['images_per_second']:,.0f} images/s"
    )
    with tqdm.external_write_mode():
        click.echo(text, err=True)


def print_report(report: dict[str, Any], folder: Path) -> None:
    """Writes the table of results."""
    measured = report["evaluation"]
    low, high = measured["top1_interval"]
    facts = {
        "recipe": report["recipe"],
        "epochs": report["epochs"],
        "data set": f"{measured['dataset']} (n = {measured['n']:,})",
        "top-1": f"{measured['top1']:.2f} % ({low:.2f} to {high:.2f}, 95 %)",
        "model": str(folder / "model.keras"),
    }
    print_table(["result", ""], [(name, str(value)) for name, value in facts.items()])
