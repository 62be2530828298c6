"""`bnnzoo summary`: shows bits, parameters, bytes and MACs of each layer."""

from __future__ import annotations

import click

from bnnzoo.cli import _completing
from bnnzoo.cli._sizes import INPUT_SHAPE, NUM_CLASSES
from bnnzoo.cli.output import echo, print_json, print_table


@click.command("summary")
@click.argument("model", shell_complete=_completing.models)
@INPUT_SHAPE
@NUM_CLASSES
@click.option("--json", "as_json", is_flag=True, help="Write a JSON object.")
def command(
    model: str, input_shape: tuple[int, ...] | None, num_classes: int | None, as_json: bool
) -> None:
    """Show bits, parameters, packed bytes and MACs of MODEL: a name, NAME.TAG or a model file.

    No weights are downloaded.
    """
    from bnnzoo.model_summary import summary
    from bnnzoo.opening import open_model

    report = summary(open_model(model, input_shape=input_shape, num_classes=num_classes))
    if as_json:
        print_json(report.to_dict())
    else:
        headers, rows, totals = report.table()
        optional = ("output", "type", "input bits", *(h for h in headers if h.endswith("params")))
        print_table(headers, [*rows, totals], title=report.name, optional=optional)
        echo(report.totals_in_words())
