"""`bnnzoo summary`: shows bits, parameters, bytes and MACs of each layer."""

from __future__ import annotations

import click

from bnnzoo.cli.output import echo, print_json


@click.command("summary")
@click.argument("model")
@click.option("--input-shape", metavar="H,W,C", help="Input shape of the network, such as 32,32,3.")
@click.option("--num-classes", type=click.IntRange(min=1), help="Number of classes.")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON object.")
def command(model: str, input_shape: str | None, num_classes: int | None, as_json: bool) -> None:
    """Show bits, parameters, packed bytes and MACs of MODEL: a name, NAME.TAG or a .keras file.

    No weights are downloaded.
    """
    from bnnzoo.model_summary import summary
    from bnnzoo.opening import open_model

    shape = None if input_shape is None else _shape(input_shape)
    report = summary(open_model(model, input_shape=shape, num_classes=num_classes))
    if as_json:
        print_json(report.to_dict())
    else:
        echo(str(report))


def _shape(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(
            f"'{text}' must be height,width,channels, such as 32,32,3.", param_hint="--input-shape"
        ) from None
