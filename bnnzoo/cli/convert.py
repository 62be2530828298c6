"""`bnnzoo convert`: converts a model to a packed file or another format, and reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bnnzoo.cli import _completing
from bnnzoo.cli._labelling import LABELS, PREPROCESSING, names_and_table
from bnnzoo.cli.output import echo, note, print_json, print_table
from bnnzoo.errors import ArgumentError

if TYPE_CHECKING:
    from bnnzoo.conversion import ConversionReport
    from bnnzoo.data import Source

FILE = click.Path(dir_okay=False, path_type=Path)


def _list_formats(context: click.Context, option: click.Parameter, value: bool) -> None:
    if not value:
        return
    from bnnzoo.formats import FORMATS

    rows = [
        (
            f.name,
            (f.suffix or "a folder") if f.is_written else "no",
            f.summary,
            "yes" if f.is_read else "no",
        )
        for f in FORMATS
    ]
    print_table(["format", "OUT", "for", "can be MODEL"], rows)
    context.exit()


@click.command("convert")
@click.argument("model", shell_complete=_completing.models)
@click.argument("out", required=False, type=click.Path(path_type=Path))
@click.option(
    "--format",
    metavar="NAME",
    shell_complete=_completing.formats,
    help="Format of OUT, if its suffix does not determine it. See --list-formats.",
)
@click.option(
    "--list-formats",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_formats,
    help="Show the formats and exit.",
)
@click.option(
    "--weights-dtype",
    type=click.Choice(["float32", "float16", "int8"]),
    default="float32",
    show_default=True,
    help="Data type of real-valued kernels in a packed file. With int8, layers multiply in 8 bits.",
)
@click.option(
    "--check",
    type=click.IntRange(min=0),
    default=4,
    show_default=True,
    metavar="N",
    help="Compare every layer on N images.",
)
@click.option("--data", help="Images, as for evaluate, to measure the accuracy before and after.")
@click.option("--labels", help=LABELS)
@click.option("--class-map", type=FILE, help="With --data: CSV or JSON, index by class folder.")
@click.option("--preprocessing", help=PREPROCESSING)
@click.option("--limit", type=click.IntRange(min=1), help="Evaluate the first N images only.")
@click.option("--random-weights", is_flag=True, help="Use random weights.")
@click.option("--dry-run", is_flag=True, help="Do everything except write OUT.")
@click.option("--force", is_flag=True, help="Overwrite OUT.")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON object.")
def command(
    model: str,
    out: Path | None,
    data: str | None,
    labels: str | None,
    class_map: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Convert MODEL (a name, NAME.TAG, a .keras or an .h5 file) to OUT, a packed .safetensors file.

    The file stores one bit per binary weight and runs without Keras. It is written only if every
    layer computes the same in Keras and in the packed runtime. Other formats are for other
    runtimes; some of them are also accepted as MODEL.
    """
    if out is None and not options["dry_run"]:
        raise click.UsageError("Missing argument 'OUT'. Pass a path, or --dry-run.")
    from bnnzoo.conversion import convert

    names, table = names_and_table(labels)
    images = _labelled(data, table, class_map)
    report = convert(model, out, data=images, labels=names, **options)
    if as_json:
        print_json(report.to_dict())
    else:
        _print(report)


def _labelled(data: str | None, labels: Path | None, class_map: Path | None) -> str | Source | None:
    """Returns the data set with the labels of --labels or --class-map, if given."""
    if labels is None and class_map is None:
        return data
    if data is None:
        raise ArgumentError("--labels and --class-map require --data. Add --data.")
    from bnnzoo.data import open_source

    return open_source(data, labels_csv=labels, class_map=class_map)


def _print(report: ConversionReport) -> None:
    sizes = report.sizes
    rows = [*sizes.parts.items(), ("all", sizes.total), ("before", sizes.origin)]
    rows += [] if sizes.ram is None else [("RAM", sizes.ram)]
    print_table(["bytes of", ""], rows, title=f"{report.model}, {sizes.comparison}")
    real = [layer for layer in report.layers if not layer.binary]
    if real:
        cells = [(la.name, la.kind, ", ".join(la.stored), la.reason) for la in real]
        title = f"{len(real)} of {len(report.layers)} layers compute in real numbers"
        columns = ["layer", "kind", "stored as", "reason"]
        print_table(columns, cells, title=title, optional=("kind", "stored as", "reason"))
    for sentence in report.in_8_bits():
        echo(sentence)
    for text in report.notes():
        note(text)
    if report.format == "packed":
        _print_passes(report)
    for sentence in (*report.findings(), *report.format_notes):
        echo(sentence)
    echo(f"Wrote {report.path}." if report.path else "Nothing was written (dry run).")


def _print_passes(report: ConversionReport) -> None:
    fired = [(*pair, "writing") for pair in report.passes.items() if pair[1]]
    fired += [(*pair, "loading") for pair in report.runtime_passes.items() if pair[1]]
    print_table(["pass", "nodes", "when"], fired)
