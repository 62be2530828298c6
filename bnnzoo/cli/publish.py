"""`bnnzoo publish`: adds the network of a finished run to the zoo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bnnzoo.cli.output import echo, note, print_json, print_table, progress_bar
from bnnzoo.plain_text import counted

if TYPE_CHECKING:
    from bnnzoo.publishing import Publication


@click.command("publish")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--tag", help="Tag of the weights. Default: the tag in the recipe's name.")
@click.option(
    "--weights-dtype",
    type=click.Choice(["float32", "float16", "int8"]),
    help="Data type of real-valued kernels. Default: float16 if it keeps the accuracy.",
)
@click.option("--latent", is_flag=True, help="Publish the latent weights too, for fine-tuning.")
@click.option("--note", help="A note for users.")
@click.option("--hardware", help="Training hardware, in words. Default: as recorded by the run.")
@click.option("--default", is_flag=True, help="Make these the default weights of the network.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for a file that --url serves.")
@click.option("--url", help="URL of the file, with --out.")
@click.option("--dry-run", is_flag=True, help="Do everything except write.")
@click.option("--force", is_flag=True, help="Replace weights with the same name.")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON object.")
def command(run_dir: Path, as_json: bool, **options: Any) -> None:
    """Publish the network of the finished run in RUN_DIR to this source tree.

    Packs the network and measures it in Keras and packed on all test images. If the accuracies
    agree to 0.1 percentage points, writes the weights, the log and the manifest record.
    """
    from bnnzoo.publishing import publish

    with progress_bar(" images") as bar:
        published = publish(run_dir, progress=_follow(bar), **options)
    if as_json:
        print_json(_to_dict(published))
        return
    _print(published)
    if published.files:
        echo("Next: python scripts/make_models_page.py, then pytest tests/test_pretrained.py")
    else:
        echo("Nothing was written (dry run).")


def _follow(bar: Any) -> Any:
    """Returns a callback that updates a progress bar and announces every measurement."""
    measured: list[str] = []

    def advance(what: str, done: int, total: int) -> None:
        if not measured or measured[-1] != what:
            measured.append(what)
            bar.reset(total)
            note(f"Measuring {what}: {counted(total, 'image')}")
        bar.update(done - bar.n)

    return advance


def _to_dict(published: Publication) -> dict[str, Any]:
    from bnnzoo.publishing.manifest_file import record_to_dict

    return {
        "name": published.record.name,
        "weights_dtype": published.weights_dtype,
        "trained_top1": round(published.trained_top1, 4),
        "record": record_to_dict(published.record),
        "files": [str(path) for path in published.files],
    }


def _print(published: Publication) -> None:
    record = published.record
    keras, packed = record.metrics
    training, golden = record.training, record.golden
    assert training is not None and golden is not None
    facts = {
        "weights": record.name + (" (default)" if record.default else ""),
        "arguments": ", ".join(f"{key}={value}" for key, value in record.arguments.items()),
        "recipe": record.recipe,
        "changed": ", ".join(f"{key}={value}" for key, value in record.settings.items()),
        "trained": f"{counted(training.epochs, 'epoch')}, {training.seconds:,.0f} s on "
        f"{training.hardware}",
        "data set": f"{keras.dataset} (n = {keras.n:,})",
        "top-1 as trained": f"{published.trained_top1:.2f} %",
        "top-1 in Keras": f"{keras.top1:.2f} %",
        "top-1 packed": f"{packed.top1:.2f} %",
        "golden logits": f"{counted(golden['first'], 'image')}, to {golden['tolerance']:g}",
        "real kernels": published.weights_dtype,
    }
    for file in record.files:
        facts[f"{file.role}, bytes"] = f"{file.bytes:,}"
        facts[f"{file.role}, sha256"] = file.sha256
    print_table(["published", ""], [(name, text) for name, text in facts.items() if text])
    for path in published.files:
        echo(f"Wrote {path}")
