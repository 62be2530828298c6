"""Completes names of models, recipes and formats in a shell."""

from __future__ import annotations

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem

from bnnzoo import registry

__all__ = ["formats", "models", "recipes"]


def models(
    _ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Returns names and NAME.TAG of the zoo, or files where none begins so."""
    names = registry.list_models()
    tagged = [record.name for name in names for record in registry.info(name).weights]
    return _beginning(incomplete, sorted([*names, *tagged])) or [
        CompletionItem(incomplete, type="file")
    ]


def recipes(
    _ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Returns names of recipes."""
    from bnnzoo.training.recipes import RECIPES

    return _beginning(incomplete, RECIPES)


def formats(
    _ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Returns names of the formats that `convert` writes."""
    from bnnzoo.formats import FORMATS

    return _beginning(incomplete, (format.name for format in FORMATS if format.is_written))


def _beginning(incomplete: str, names: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
