"""`bnnzoo info`: shows a model and its weights."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from bnnzoo import registry
from bnnzoo.cli import _completing
from bnnzoo.cli.output import echo, print_json
from bnnzoo.manifest import TrainingRun, WeightsRecord
from bnnzoo.plain_text import counted
from bnnzoo.result_table import result


@click.command("info")
@click.argument("name", shell_complete=_completing.models)
@click.option("--json", "as_json", is_flag=True, help="Write a JSON object.")
def command(name: str, as_json: bool) -> None:
    """Show details of the model NAME, with its default arguments, or of the weights NAME.TAG."""
    model = registry.info(name)
    if as_json:
        print_json(asdict(model))
        return
    one = registry.resolve(name).record
    row = result(model, one)
    facts = {
        "name": row.name,
        "aliases": ", ".join(model.aliases) or None,
        "module": model.module,
        "task": row.task,
        "input": _shape(row.input_shape),
        "classes": row.num_classes,
        "parameters": row.params,
        "packed bytes": row.packed_bytes,
        "binary MACs": row.binary_macs,
        "other MACs": row.other_macs,
    }
    _print_facts(facts)
    for record in model.weights:
        echo()
        _print_facts(_record_facts(record))


def _print_facts(facts: dict[str, Any]) -> None:
    for key, value in facts.items():
        if value is not None:
            echo(f"{key:>14}  {value:,}" if isinstance(value, int) else f"{key:>14}  {value}")


def _shape(shape: tuple[int, ...] | None) -> str | None:
    return None if shape is None else " x ".join(map(str, shape))


def _record_facts(record: WeightsRecord) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "weights": record.name + (" (default)" if record.default else ""),
        "arguments": ", ".join(f"{k}={v}" for k, v in record.arguments.items()) or None,
        "classes": f"{record.num_classes:,} ({record.labels})",
        "preprocessing": record.preprocessing,
        "licence": record.licence,
        "source": record.source,
        "paper": record.paper,
        "recipe": record.recipe,
        "changed": ", ".join(f"{k}={v}" for k, v in record.settings.items()) or None,
        "trained": record.training and _training(record.training),
        "log": record.log,
        "checkpoint": record.page and f"{record.page}, for `bnnzoo import`",
        "notes": record.notes,
    }
    for metric in record.metrics:
        top5 = "" if metric.top5 is None else f", top-5 {metric.top5:.2f} %"
        facts[metric.dataset] = (
            f"top-1 {metric.top1:.2f} %{top5} (n = {metric.n:,}; {metric.origin} by {metric.by}"
            + (f", {metric.date})" if metric.date else ")")
        )
    for file in record.files:
        size = "unknown size" if file.bytes is None else f"{file.bytes:,} bytes"
        place = file.path and f"shipped as {file.path}"
        facts[f"file {file.role}"] = f"{place or file.url[0]} ({size}, sha256 {file.sha256[:12]}…)"
    return facts


def _training(run: TrainingRun) -> str:
    return f"{counted(run.epochs, 'epoch')} in {run.seconds:,.0f} s on {run.hardware}, {run.date}"
