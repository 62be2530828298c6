"""`bnnzoo list`: the models, their size and their accuracy."""

from __future__ import annotations

from typing import Any

import click

from bnnzoo import registry
from bnnzoo.cli.output import print_json, print_table
from bnnzoo.registry import ModelInfo


@click.command("list")
@click.argument("pattern", default="*")
@click.option("--pretrained", is_flag=True, help="Only models with pretrained weights.")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON array.")
def command(pattern: str, pretrained: bool, as_json: bool) -> None:
    """List the models whose name fits PATTERN, as in 're*'.

    Top-1 is that of the default weights on their own data set; `bnnzoo info NAME` says where it
    comes from.
    """
    models = [registry.info(name) for name in registry.list_models(pattern, pretrained=pretrained)]
    if as_json:
        print_json([_row(model) for model in models])
    elif models:
        print_table(
            ["name", "tags", "parameters", "packed kB", "top-1 %", "data set"],
            [_cells(model) for model in models],
        )
    else:
        click.echo(f"No model fits '{pattern}'.", err=True)


def _row(model: ModelInfo) -> dict[str, Any]:
    metric = model.headline
    return {
        "name": model.name,
        "aliases": list(model.aliases),
        "tags": list(model.tags),
        "default_tag": model.default_tag,
        "params": model.params,
        "packed_bytes": model.packed_bytes,
        "top1": metric and metric.top1,
        "dataset": metric and metric.dataset,
        "origin": metric and metric.origin,
    }


def _cells(model: ModelInfo) -> list[Any]:
    metric = model.headline
    return [
        model.name,
        ", ".join(model.tags) or "-",
        model.params,
        None if model.packed_bytes is None else round(model.packed_bytes / 1000),
        metric and metric.top1,
        f"{metric.dataset} ({metric.origin})" if metric else "-",
    ]
