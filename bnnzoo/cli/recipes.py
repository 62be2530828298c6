"""`bnnzoo recipes`: what can be trained, and what it reached."""

from __future__ import annotations

from typing import Any

import click

from bnnzoo import manifest
from bnnzoo.cli.output import print_json, print_table
from bnnzoo.training.recipe import Recipe
from bnnzoo.training.recipes import RECIPES


@click.command("recipes")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON array.")
def command(as_json: bool) -> None:
    """List the training recipes and what they reached."""
    rows = [_row(recipe) for recipe in RECIPES.values()]
    if as_json:
        print_json(rows)
        return
    columns = ["recipe", "epochs", "reached top-1 %", "weights", "settings"]
    cells = [
        (row["name"], row["epochs"], row["top1"], row["weights"], row["summary"]) for row in rows
    ]
    print_table(columns, cells)


def _row(recipe: Recipe) -> dict[str, Any]:
    """Returns a recipe with the measurement of the weights that it made, if some are published."""
    made = [r for r in manifest.load().weights.values() if r.recipe == recipe.name]
    measured = [m.top1 for r in made for m in r.metrics if m.origin == "measured"]
    return {
        "name": recipe.name,
        "network": recipe.network,
        "data": recipe.data,
        "epochs": recipe.epochs,
        "top1": measured[0] if measured else None,
        "weights": made[0].name if made else None,
        "summary": recipe.summary,
    }
