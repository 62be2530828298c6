"""What the commands write: results on standard output, files without half-written states."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from bnnzoo.atomic import replacing
from bnnzoo.errors import ArgumentError


def print_json(value: Any) -> None:
    """Writes `value` to standard output as indented JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> None:
    """Writes an aligned table to standard output; columns of numbers are right-aligned.

    On a terminal it fits the width; in a pipe or a file no cell is cut.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        numeric = all(isinstance(row[i], (int, float)) or row[i] is None for row in rows)
        table.add_column(column, justify="right" if numeric else "left", no_wrap=i == 0)
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=250)
    console.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.2f}"
    return str(value).replace("[", r"\[")


def check_writable(path: Path | None, force: bool) -> None:
    """Refuses an output path before any work is done.

    Raises:
        ArgumentError: `path` exists and `force` is false, or its folder does not exist.
    """
    if path is None:
        return
    if path.is_dir():
        raise ArgumentError(f"{path} is a folder. Name a file to write.")
    if path.exists() and not force:
        raise ArgumentError(f"{path} exists already. Use --force to overwrite it.")
    if not path.parent.is_dir():
        raise ArgumentError(f"{path} cannot be written: there is no folder {path.parent}.")


def write_atomic(path: Path, content: bytes | str, force: bool = False) -> None:
    """Writes a file under a temporary name and renames it, so that no half of it is ever seen.

    Raises:
        ArgumentError: `path` exists and `force` is false, or it cannot be written.
    """
    check_writable(path, force)
    data = content.encode() if isinstance(content, str) else content
    try:
        with replacing(path) as part:
            part.write_bytes(data)
    except OSError as error:
        raise ArgumentError(f"{path} cannot be written: {error.strerror}.") from error
