"""`bnnzoo download`: fetches and verifies pretrained weights and prints their paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bnnzoo import manifest, registry, weights
from bnnzoo.cli import _completing
from bnnzoo.cli.output import echo, print_json, report_error
from bnnzoo.errors import ArgumentError, WeightsError
from bnnzoo.manifest import WeightsFile, WeightsRecord


@click.command("download")
@click.argument("names", nargs=-1, metavar="[NAME[.TAG]]...", shell_complete=_completing.models)
@click.option("--all", "everything", is_flag=True, help="All weights in the manifest.")
@click.option(
    "--role",
    "roles",
    type=click.Choice(manifest.ROLES),
    multiple=True,
    help="Weights with the classifier (full), without it (notop), or packed. Can be repeated. "
    "Default: full, or the only one available.",
)
@click.option("--json", "as_json", is_flag=True, help="Write a JSON array.")
def command(
    names: tuple[str, ...], everything: bool, roles: tuple[str, ...], as_json: bool
) -> None:
    """Download and verify the weights of NAME and print the path of each file.

    Without TAG, the default weights of the model are used. Files already in the cache are only
    verified. If a file fails, the others are still downloaded.
    """
    wanted = [
        (record, file)
        for record in _records(names, everything)
        for file in _files(record, roles, optional=everything)
    ]
    failures: list[WeightsError] = []
    rows = []
    for record, file in wanted:
        try:
            path = weights.fetch(file, name=record.name)
        except WeightsError as error:
            failures.append(error)
            continue
        rows.append(_row(record, file, path))
        if not as_json:
            echo(path)
    if as_json:
        print_json(rows)
    for failure in failures[:-1]:
        report_error(f"Error: {failure}")
    if failures:
        raise failures[-1]


def _records(names: tuple[str, ...], everything: bool) -> list[WeightsRecord]:
    if everything == bool(names):
        raise ArgumentError("Pass either NAMEs or --all. `bnnzoo list` shows the names.")
    if everything:
        return [record for record in manifest.load().weights.values() if record.files]
    return [registry.pretrained_record(name) for name in dict.fromkeys(names)]


def _files(record: WeightsRecord, roles: tuple[str, ...], optional: bool) -> list[WeightsFile]:
    if not roles:
        return [record.file("full") or record.files[0]]
    missing = [role for role in roles if record.file(role) is None]
    if missing and not optional:
        raise ArgumentError(
            f"Weights '{record.name}' have no file for --role {missing[0]}. "
            f"Available roles: {', '.join(file.role for file in record.files)}."
        )
    return [file for file in record.files if file.role in roles]


def _row(record: WeightsRecord, file: WeightsFile, path: Path) -> dict[str, Any]:
    return {
        "name": record.name,
        "role": file.role,
        "path": str(path),
        "bytes": path.stat().st_size,
        "sha256": file.sha256,
    }
