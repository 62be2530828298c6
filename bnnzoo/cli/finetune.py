"""`bnnzoo finetune`: trains a pretrained network on other classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bnnzoo.cli import _completing
from bnnzoo.cli.evaluate import Recorded
from bnnzoo.cli.output import print_json, progress_bar
from bnnzoo.cli.train import ENGINE, ENGINES, SETTING, SPLIT, print_epoch, print_report
from bnnzoo.data.sources import check_source
from bnnzoo.training.progress import follow
from bnnzoo.training.recipes.settings import both_splits
from bnnzoo.training.run_folder import check_folder


@click.command("finetune", cls=Recorded)
@click.argument("model", shell_complete=_completing.models)
@click.option("--data", required=True, help="keras:NAME, FILE.npz, or FOLDER with train and test.")
@click.option("--test-data", help="Test images, if --data has training images only.")
@click.option("--split", type=click.FloatRange(0, 1, True, True), help=SPLIT)
@click.option("--epochs", type=click.IntRange(min=0), default=10, show_default=True)
@click.option(
    "--lr", "learning_rate", type=float, default=1e-3, show_default=True,
    help="Highest learning rate.",
)  # fmt: skip
@click.option(
    "--freeze-backbone", type=click.IntRange(min=0), default=5, show_default=True, metavar="N",
    help="Freeze the backbone for the first N epochs.",
)  # fmt: skip
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--pad", type=click.IntRange(min=0), default=0, help="Shift by up to N pixels.")
@click.option("--flip", is_flag=True, help="Flip images horizontally with probability 0.5.")
@click.option(
    "--min-area", type=click.FloatRange(0, 1, min_open=True), default=1.0, metavar="SHARE",
    help="Train on random parts of images, at least this fraction of their area.",
)  # fmt: skip
@click.option(
    "--held-out", type=click.IntRange(min=0), default=0, metavar="N",
    help="Measure each epoch on N training images, kept for this, instead of the test images.",
)  # fmt: skip
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help=SETTING)
@click.option("--engine", type=click.Choice(ENGINES), default="auto", help=ENGINE)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run.")
@click.option("--resume", is_flag=True, help="Resume after the last finished epoch.")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON object.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: str,
    data: str,
    out: Path | None,
    resume: bool,
    split: float | None,
    engine: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Train MODEL (NAME.TAG, a .keras, .h5 or packed file) on other classes."""
    folder = out or Path("runs") / f"{Path(model).name}-finetuned"
    check_folder(folder, resume)
    for source in both_splits(data, options["test_data"], split=split or 0.0):
        check_source(source)
    from bnnzoo.training.finetuning import finetuning_recipe
    from bnnzoo.training.trainer import train

    recipe = finetuning_recipe(model, data, split=split or 0.0, **options)
    with progress_bar(" steps") as bar:
        report = train(
            recipe,
            folder,
            resume=resume,
            progress=follow(bar),
            on_epoch=print_epoch,
            verbose=False,
            engine=engine,
            command=ctx.meta["bnnzoo.command"],
        )
    print_json(report) if as_json else print_report(report, folder)
