"""`bnnzoo list`: the models, their size, and the accuracy of their weights."""

from __future__ import annotations

from typing import Any

import click

from bnnzoo import registry
from bnnzoo.cli.output import print_json, print_table
from bnnzoo.manifest import Metric
from bnnzoo.registry import ModelInfo


@click.command("list")
@click.argument("pattern", default="*")
@click.option("--pretrained", is_flag=True, help="Only models with pretrained weights.")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON array.")
def command(pattern: str, pretrained: bool, as_json: bool) -> None:
    """List the models whose name fits PATTERN, as in 're*'.

    Each of their weights has a line, the default ones first, with top-1 on their own data set;
    `bnnzoo info NAME.TAG` says where it comes from.
    """
    models = [registry.info(name) for name in registry.list_models(pattern, pretrained=pretrained)]
    if as_json:
        print_json([_row(model) for model in models])
    elif models:
        print_table(
            ["name", "tag", "parameters", "packed kB", "top-1 %", "data set"],
            [line for model in models for line in _lines(model)],
        )
    else:
        click.echo(f"No model fits '{pattern}'.", err=True)


def _row(model: ModelInfo) -> dict[str, Any]:
    return {
        "name": model.name,
        "aliases": list(model.aliases),
        "tags": list(model.tags),
        "default_tag": model.default_tag,
        "params": model.params,
        "packed_bytes": model.packed_bytes,
        **_accuracy(model.headline),
        "weights": [{"tag": w.tag, **_accuracy(w.headline)} for w in model.weights],
    }


def _accuracy(metric: Metric | None) -> dict[str, Any]:
    return {
        "top1": metric and metric.top1,
        "dataset": metric and metric.dataset,
        "origin": metric and metric.origin,
    }


def _lines(model: ModelInfo) -> list[list[Any]]:
    """Returns a line for each of its weights, or one if there are none; the first has its size."""
    packed = None if model.packed_bytes is None else round(model.packed_bytes / 1000)
    found = [(record.tag, record.headline) for record in model.weights] or [("-", None)]
    return [
        [
            model.name,
            tag,
            None if place else model.params,
            None if place else packed,
            metric and metric.top1,
            f"{metric.dataset} ({metric.origin})" if metric else "-",
        ]
        for place, (tag, metric) in enumerate(found)
    ]
