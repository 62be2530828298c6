"""`bnnzoo list`: lists the models, their sizes and the accuracy of their weights."""

from __future__ import annotations

from typing import Any

import click

from bnnzoo import registry
from bnnzoo.cli.output import note, print_json, print_table
from bnnzoo.manifest import Metric, WeightsRecord
from bnnzoo.registry import ModelInfo
from bnnzoo.result_table import Result, result, results


@click.command("list")
@click.argument("pattern", default="*")
@click.option("--pretrained", is_flag=True, help="Only models with pretrained weights.")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON array.")
def command(pattern: str, pretrained: bool, as_json: bool) -> None:
    """List the models whose names match PATTERN, as in 're*'.

    Each line is one set of weights, NAME.TAG, default weights first, with their size, top-1
    accuracy, and who measured it. `bnnzoo info NAME.TAG` shows more.
    """
    if as_json:
        names = registry.list_models(pattern, pretrained=pretrained)
        print_json([_row(registry.info(name)) for name in names])
        return
    rows = results(pattern, pretrained=pretrained)
    if rows:
        print_table(
            ["name", "parameters", "packed kB", "top-1 %", "data set", "by", "paper"],
            [_line(row) for row in rows],
            optional=("paper", "by", "data set", "parameters"),
        )
    else:
        note(f"No model matches '{pattern}'.")


def _row(model: ModelInfo) -> dict[str, Any]:
    return {
        "name": model.name,
        "aliases": list(model.aliases),
        "tags": list(model.tags),
        "default_tag": model.default_tag,
        "params": model.params,
        "packed_bytes": model.packed_bytes,
        "paper": model.paper,
        **_accuracy(model.headline),
        "weights": [_weights(model, record) for record in model.weights],
    }


def _weights(model: ModelInfo, record: WeightsRecord) -> dict[str, Any]:
    row = result(model, record)
    return {
        "tag": record.tag,
        "arguments": dict(record.arguments),
        "params": row.params,
        "packed_bytes": row.packed_bytes,
        "paper": record.paper,
        **_accuracy(record.headline),
    }


def _accuracy(metric: Metric | None) -> dict[str, Any]:
    return {
        "top1": metric and metric.top1,
        "dataset": metric and metric.dataset,
        "origin": metric and metric.origin,
        "by": metric and metric.by,
    }


def _line(row: Result) -> list[Any]:
    return [
        row.name,
        row.params,
        None if row.packed_bytes is None else round(row.packed_bytes / 1000),
        row.top1,
        row.dataset,
        row.by and f"{row.by} ({row.origin})",
        row.paper and row.paper.removeprefix("https://"),
    ]
