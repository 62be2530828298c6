"""`bnnzoo report`: merges the reports of several evaluations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from bnnzoo.atomic import check_writable, write_file
from bnnzoo.cli.output import print_json, print_table
from bnnzoo.errors import DataError, first_line
from bnnzoo.tables import metric_rows

FILE = click.Path(dir_okay=False, path_type=Path)


@click.group("report")
def command() -> None:
    """Merge reports that `bnnzoo evaluate -o FILE` wrote."""


@command.command("merge")
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option("-o", "--output", type=FILE, help="Write the result as JSON.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON object.")
def merge(files: tuple[Path, ...], output: Path | None, force: bool, as_json: bool) -> None:
    """Merge the reports of the parts of a data set, as of `evaluate --shard`."""
    if output is not None:
        check_writable(output, force, files)
    from bnnzoo.evaluation.merging import merge_reports

    merged = merge_reports([_read(path) for path in files])
    if output is not None:
        write_file(output, json.dumps(merged, indent=2, ensure_ascii=False) + "\n")
    if as_json:
        print_json(merged)
        return
    facts = {
        "model": ".".join(filter(None, [merged["model"], merged["tag"]])),
        "data set": f"{merged['dataset']} (n = {merged['n']:,}"
        + (", partial)" if merged["partial"] else ")"),
        **metric_rows(merged),
    }
    print_table(["result", ""], list(facts.items()))


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is not a report: {first_line(error)}. Pass files of `bnnzoo evaluate -o FILE`."
        ) from error
