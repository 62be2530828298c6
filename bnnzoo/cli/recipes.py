"""`bnnzoo recipes`: lists the training recipes and their accuracies."""

from __future__ import annotations

from typing import Any

import click

from bnnzoo import manifest
from bnnzoo.cli.output import print_json, print_table
from bnnzoo.manifest import WeightsRecord
from bnnzoo.training.recipes import RECIPES
from bnnzoo.training.recipes.schema import Recipe


@click.command("recipes")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON array.")
def command(as_json: bool) -> None:
    """List the training recipes and their accuracies."""
    rows = [_row(recipe) for recipe in RECIPES.values()]
    if as_json:
        print_json(rows)
        return
    columns = ["recipe", "epochs", "top-1 %", "weights", "settings"]
    cells = [
        (row["name"], row["epochs"], row["top1"], _weights(row), row["summary"]) for row in rows
    ]
    print_table(columns, cells, optional=("weights", "settings"))


def _row(recipe: Recipe) -> dict[str, Any]:
    """Returns a recipe with the accuracy of its published weights, if there are any.

    Weights of the unchanged recipe take precedence over those of a changed one.
    """
    made = [r for r in manifest.load().weights.values() if r.recipe == recipe.name and r.metrics]
    best: WeightsRecord | None = min(made, key=lambda r: len(r.settings), default=None)
    return {
        "name": recipe.name,
        "network": recipe.network,
        "data": recipe.data,
        "epochs": recipe.epochs,
        "top1": best and best.metrics[0].top1,
        "n": best and best.metrics[0].n,
        "weights": best and best.name,
        "changed": dict(best.settings) if best else {},
        "summary": recipe.summary,
    }


def _weights(row: dict[str, Any]) -> str | None:
    """Returns the name of the weights, with the changed settings."""
    changed = ", ".join(f"{key}={value}" for key, value in row["changed"].items())
    name: str | None = row["weights"]
    return f"{name} with {changed}" if changed else name
