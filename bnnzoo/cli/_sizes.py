"""The options `--input-shape` and `--num-classes`, which several commands share."""

from __future__ import annotations

import click

__all__ = ["INPUT_SHAPE", "NUM_CLASSES"]


def _parsed(
    _context: click.Context, _option: click.Parameter, text: str | None
) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(
            f"'{text}' must be height,width,channels, such as 32,32,3."
        ) from None


INPUT_SHAPE = click.option(
    "--input-shape",
    metavar="H,W,C",
    callback=_parsed,
    help="Input shape of the network, such as 32,32,3.",
)
NUM_CLASSES = click.option("--num-classes", type=click.IntRange(min=1), help="Number of classes.")
