"""The output of the commands to a terminal, a pipe or a file.

All output goes through this module, which removes control characters in text from files, servers
and peers. Results go to standard output. Notes, warnings and errors go to standard error, as the
options `-q`, `-v` and `--log-file` say.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import click

from bnnzoo.errors import ArgumentError
from bnnzoo.plain_text import STEERING, plain, plain_lines

_NUMBER = re.compile(r"-|\?|[\d,.]+")  # or none
BETWEEN, EDGES = 3, 2  # spaces between two columns, and at the sides of a table


_ALL = logging.getLogger("bnnzoo")
_NOTES = logging.getLogger("bnnzoo.cli")


def echo(text: object = "") -> None:
    """Writes lines to standard output."""
    click.echo(plain_lines(str(text)))


def note(text: object) -> None:
    """Writes lines to standard error, unless `-q` is given."""
    _NOTES.info("%s", text)


def report_error(text: object) -> None:
    """Writes lines to standard error."""
    _NOTES.error("%s", text)


def progress_bar(unit: str, *, hidden: bool = False) -> Any:
    """Returns a bar on standard error, if that is a terminal and `-q` is not given."""
    from tqdm import tqdm

    hidden = hidden or _STDERR.level >= logging.ERROR
    return tqdm(unit=unit, leave=False, disable=hidden or None, delay=0.1)


class _PlainFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return plain_lines(super().format(record))


class _Stderr(logging.Handler):
    """Writes above the progress bar, if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        bars = sys.modules.get("tqdm")
        with contextlib.nullcontext() if bars is None else bars.tqdm.external_write_mode():
            click.echo(text, err=True)


_STDERR = _Stderr()
_STDERR.setFormatter(_PlainFormatter())


@contextlib.contextmanager
def logging_to_stderr() -> Iterator[None]:
    """Writes notes, and warnings of the library, to standard error while a command runs.

    What the options `-q`, `-v` and `--log-file` change ends with it.
    """
    loggers = {logger: (logger.level, list(logger.handlers)) for logger in (_ALL, _NOTES)}
    propagates, level = _NOTES.propagate, _STDERR.level
    _NOTES.propagate = False  # else every note would be written twice
    _NOTES.setLevel(logging.INFO)
    for logger in loggers:
        logger.addHandler(_STDERR)
    try:
        yield
    finally:
        _STDERR.setLevel(level)
        _NOTES.propagate = propagates
        for logger, (before, handlers) in loggers.items():
            for handler in set(logger.handlers) - set(handlers):
                logger.removeHandler(handler)
                if handler is not _STDERR:
                    handler.close()
            logger.setLevel(before)


def _be_quiet(_ctx: click.Context, _option: click.Parameter, given: bool) -> None:
    if given:
        _STDERR.setLevel(logging.ERROR)


def _be_verbose(_ctx: click.Context, _option: click.Parameter, given: bool) -> None:
    if given:
        _ALL.setLevel(logging.DEBUG)


def is_verbose() -> bool:
    """Returns whether `-v` is given."""
    return _ALL.level == logging.DEBUG


def _log_to(_ctx: click.Context, _option: click.Parameter, path: str | None) -> None:
    if path is None:
        return
    try:
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise ArgumentError(
            f"--log-file must be a file that can be written, got {path}: {error.strerror}. Choose "
            "another file."
        ) from error
    handler.setFormatter(_PlainFormatter("%(asctime)s %(message)s"))
    for logger in (_ALL, _NOTES):
        logger.addHandler(handler)


# Of every command.
VERBOSITY: tuple[click.Parameter, ...] = (
    click.Option(
        ["-q", "--quiet"],
        is_flag=True,
        expose_value=False,
        callback=_be_quiet,
        help="Write no notes, warnings or progress.",
    ),
    click.Option(
        ["-v", "--verbose"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_be_verbose,
        help="Write more, also what the backend logs.",
    ),
    click.Option(
        ["--log-file"],
        metavar="FILE",
        expose_value=False,
        callback=_log_to,
        help="Also append notes, warnings and errors to FILE.",
    ),
)


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


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    title: str = "",
    optional: Sequence[str] = (),
) -> None:
    """Writes an aligned table to standard output; columns of numbers are right-aligned.

    On a terminal, text is wrapped between words to fit the width. Words are never cut, so that they
    can be copied; if they are too long, lines exceed the width. Text in a pipe or a file is not
    wrapped.

    Args:
        columns: Names of the columns.
        rows: A value for each of them.
        title: Text above the table.
        optional: Columns to leave out on a terminal that is too narrow for all, in this order. A
            note names them.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    shown = [_Column.of(name, [row[i] for row in rows], i) for i, name in enumerate(columns)]
    left_out = []
    for name in optional if console.is_terminal else ():
        if sum(column.least for column in shown) <= console.width - _around(shown):
            break
        shown = [column for column in shown if column.name != name]
        left_out.append(name)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    widths = [column.natural for column in shown]
    if console.is_terminal:
        widths = _fitted(widths, [c.least for c in shown], console.width - _around(shown))
    for column, width in zip(shown, widths, strict=True):
        table.add_column(column.name, justify="right" if column.numeric else "left", width=width)
    for cells in zip(*(column.cells for column in shown), strict=True):
        table.add_row(*map(Text, cells))
    if title:
        console.print(plain(title), style="italic", markup=False, soft_wrap=True)
    # On a dumb terminal rich ignores a width without a height.
    wide = Console(highlight=False, width=sum(widths) + _around(shown), height=console.height)
    with wide.capture() as drawn:
        wide.print(table)
    click.echo("\n".join(line.rstrip() for line in drawn.get().splitlines()))
    if left_out:
        note(f"Left out: {', '.join(left_out)}. A wider terminal shows more, and --json all.")


class _Column(NamedTuple):
    """A column as text, with its width without wrapping and with as much of it as possible."""

    name: str
    cells: list[str]
    numeric: bool
    natural: int
    least: int

    @classmethod
    def of(cls, name: str, values: Sequence[Any], index: int) -> _Column:
        from rich.cells import cell_len

        cells = [_cell(value) for value in values]
        numeric = all(_NUMBER.fullmatch(cell) for cell in cells)
        whole = cells if numeric or index == 0 else " ".join(cells).split()
        natural = max(map(cell_len, [name, *cells]))
        least = max(map(cell_len, [*name.split(), *whole]), default=0)
        return cls(name, cells, numeric, natural, least)


def _around(columns: Sequence[_Column]) -> int:
    """Returns the number of spaces between columns and at the sides."""
    return BETWEEN * (len(columns) - 1) + EDGES


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
