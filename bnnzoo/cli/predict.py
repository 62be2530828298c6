"""`bnnzoo predict`: predicts the classes of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bnnzoo.cli import _completing
from bnnzoo.cli._labelling import NAMES, PREPROCESSING, class_names
from bnnzoo.cli.output import print_json, print_table


@click.command("predict")
@click.argument("model", shell_complete=_completing.models)
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="Classes.")
@click.option("--preprocessing", help=PREPROCESSING)
@click.option("--labels", help=f"Class names: {NAMES}. The model's own by default.")
@click.option(
    "--runtime",
    type=click.Choice(["keras", "packed"]),
    help="Runtime of the model. packed converts a model in memory if it has no packed file. "
    "Default: packed for packed files, otherwise keras.",
)
@click.option("--skip-bad", is_flag=True, help="Skip broken images, and name them.")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON array.")
def command(
    model: str, images: tuple[Path, ...], labels: str | None, as_json: bool, **options: Any
) -> None:
    """Classify IMAGES with MODEL: a name, NAME.TAG, a .keras, .h5 or packed file."""
    from bnnzoo.evaluation.prediction import predict

    names = None if labels is None else class_names(labels)
    results = predict(model, images, labels=names, **options)
    if as_json:
        print_json(
            [{"file": r.file, "predictions": [p._asdict() for p in r.predictions]} for r in results]
        )
        return
    rows = [
        (result.file, p.class_index, p.name, f"{100 * p.score:.2f} %")
        for result in results
        for p in result.predictions
    ]
    print_table(["file", "class", "name", "probability"], rows)
