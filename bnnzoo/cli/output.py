"""The output of the commands to a terminal, a pipe or a file.

All output goes through this module, which removes control characters in text from files, servers
and peers.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from typing import Any

import click

from bnnzoo.plain_text import STEERING, plain, plain_lines

BETWEEN, EDGES = 3, 2  # spaces between two columns, and at the sides of a table


def echo(text: object = "", *, err: bool = False) -> None:
    """Writes lines to standard output, or to standard error."""
    click.echo(plain_lines(str(text)), err=err)


class _PlainFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return plain_lines(super().format(record))


def show_log() -> None:
    """Writes warnings of bnnzoo to standard error."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_PlainFormatter())
    logging.getLogger("bnnzoo").addHandler(handler)


def print_json(value: Any) -> None:
    """Writes `value` to standard output as indented JSON.

    If standard output cannot encode all characters, non-ASCII characters are escaped.
    """
    lines = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False).split("\n")
    text = "\n".join(STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", line) for line in lines)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2, allow_nan=False)
    click.echo(text)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> None:
    """Writes an aligned table to standard output; columns of numbers are right-aligned.

    On a terminal, text is wrapped between words to fit the width. Words are never cut, so that they
    can be copied; if they are too long, lines exceed the width. Text in a pipe or a file is not
    wrapped.
    """
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    natural, least = [], []
    for i, column in enumerate(columns):
        cells = [_cell(row[i]) for row in rows]
        numeric = all(isinstance(row[i], (int, float)) or row[i] is None for row in rows)
        whole = cells if numeric or i == 0 else " ".join(cells).split()
        natural.append(max(map(cell_len, [column, *cells])))
        least.append(max(map(cell_len, [*column.split(), *whole]), default=0))
        table.add_column(column, justify="right" if numeric else "left")
    around = BETWEEN * (len(columns) - 1) + EDGES
    room = console.width - around
    widths = _fitted(natural, least, room) if console.is_terminal else natural
    for place, width in zip(table.columns, widths, strict=True):
        place.width = width
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    if title:
        console.print(plain(title), style="italic", markup=False, soft_wrap=True)
    # On a dumb terminal rich ignores a width without a height.
    wide = Console(highlight=False, width=sum(widths) + around, height=console.height)
    with wide.capture() as drawn:
        wide.print(table)
    click.echo("\n".join(line.rstrip() for line in drawn.get().splitlines()))


def _fitted(natural: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Returns column widths, narrowing the widest column that can shrink until all fit."""
    widths = list(natural)
    while sum(widths) > room:
        loose = [i for i, width in enumerate(widths) if width > least[i]]
        if not loose:
            break
        widths[max(loose, key=widths.__getitem__)] -= 1
    return widths


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.2f}"
    return plain(str(value))
