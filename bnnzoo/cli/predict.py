"""`bnnzoo predict`: predicts the classes of images, or of their pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from bnnzoo.atomic import check_writable, write_file
from bnnzoo.cli import _completing
from bnnzoo.cli._labelling import NAMES, PREPROCESSING, TASK, class_names
from bnnzoo.cli.output import print_json, print_table
from bnnzoo.errors import ArgumentError

if TYPE_CHECKING:
    from bnnzoo.evaluation.classifier import Classifier
    from bnnzoo.evaluation.prediction import ImageMask, ImagePredictions


@click.command("predict")
@click.argument("model", shell_complete=_completing.models)
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="Classes.")
@click.option("--task", type=click.Choice(["classification", "segmentation"]), help=TASK)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="For segmentation: folder of the masks, PNG files named as the images.",
)
@click.option("--preprocessing", help=PREPROCESSING)
@click.option("--labels", help=f"Class names: {NAMES}. The model's own by default.")
@click.option(
    "--runtime",
    type=click.Choice(["keras", "packed"]),
    help="Runtime of the model. packed converts a model in memory if it has no packed file. "
    "Default: packed for packed files and without Keras, otherwise keras.",
)
@click.option("--skip-bad", is_flag=True, help="Skip broken images, and name them.")
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON array.")
def command(
    model: str,
    images: tuple[Path, ...],
    labels: str | None,
    out: Path | None,
    top: int,
    skip_bad: bool,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Classify IMAGES with MODEL: a name, NAME.TAG, a .keras, .h5 or packed file.

    A network for segmentation writes a mask for each image: a PNG file with a palette, whose pixels
    are class indices.
    """
    from bnnzoo.evaluation.classifiers import open_classifier
    from bnnzoo.evaluation.prediction import image_files, predict_with

    files = {} if out is None else _files(out, images, force)
    names = None if labels is None else class_names(labels)
    source = image_files(images, skip_bad)
    classifier = open_classifier(model, labels=names, **options)
    if (classifier.task == "segmentation") != (out is not None):
        raise ArgumentError(
            f"--out must be given for segmentation only, got {out} for {classifier.name}, whose "
            f"task is {classifier.task}. Add it or leave it out."
        )
    results = predict_with(classifier, source, top=top, skip_bad=skip_bad)
    rows = _mask_rows(classifier, results, files) if files else _class_rows(results)
    if as_json:
        print_json(rows)
    elif files:
        cells = [(r["file"], r["mask"], _shares(r["classes"])) for r in rows]
        print_table(["file", "mask", "classes"], cells)
    else:
        print_table(
            ["file", "class", "name", "probability"],
            [
                (r["file"], p["class_index"], p["name"], f"{100 * p['score']:.2f} %")
                for r in rows
                for p in r["predictions"]
            ],
        )


def _files(out: Path, images: Iterable[Path], force: bool) -> dict[str, Path]:
    """Returns the file of each image's mask, after checking that all can be written."""
    files = {str(image): out / f"{image.stem}.png" for image in images}
    most, count = Counter(files.values()).most_common(1)[0]
    if count > 1:
        raise ArgumentError(
            f"Images must have different names, got {count} for {most}. Call the command for each "
            "folder."
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(
            f"--out {out} cannot be created: {error.strerror}. Choose another folder."
        ) from error
    for file in files.values():
        check_writable(file, force, list(files))
    return files


def _class_rows(results: Iterable[ImagePredictions]) -> list[dict[str, Any]]:
    return [{"file": r.file, "predictions": [p._asdict() for p in r.predictions]} for r in results]


def _mask_rows(
    classifier: Classifier, results: Iterable[ImageMask], files: dict[str, Path]
) -> list[dict[str, Any]]:
    """Writes the masks, and returns the share of each class in the pixels that the network saw."""
    from bnnzoo.data.palette import mask_png
    from bnnzoo.data.source import IGNORED

    names = classifier.class_names or tuple(f"class {i}" for i in range(classifier.num_classes))
    rows = []
    for file, mask in results:
        path = files[file]
        write_file(path, mask_png(mask))
        counts = np.bincount(mask[mask != IGNORED], minlength=classifier.num_classes)
        classes = [
            {"class_index": i, "name": names[i], "share": round(count / int(counts.sum()), 6)}
            for i, count in enumerate(counts.tolist())
            if count
        ]
        rows.append({"file": file, "mask": str(path), "classes": classes})
    return rows


def _shares(classes: list[dict[str, Any]]) -> str:
    ordered = sorted(classes, key=lambda row: -row["share"])
    return ", ".join(f"{row['name']} {100 * row['share']:.1f} %" for row in ordered)
