"""`bnnzoo cache`: shows, verifies and empties the cache of downloaded weights."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import click

from bnnzoo import manifest, registry, weights
from bnnzoo.cli.output import echo, note, print_json, print_table
from bnnzoo.errors import ArgumentError, WeightsError
from bnnzoo.plain_text import counted
from bnnzoo.weights import CachedFile


@click.group("cache")
def command() -> None:
    """Show, verify or empty the cache of downloaded weights."""


@command.command("path")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON object.")
def path(as_json: bool) -> None:
    """Print the path of the cache folder."""
    folder = weights.cache_folder()
    if as_json:
        print_json({"path": str(folder)})
    else:
        echo(folder)


@command.command("ls")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON array.")
def ls(as_json: bool) -> None:
    """List the weight files in the cache.

    State: cached; broken (wrong size; `verify` also reads the content); unknown (not in the
    manifest: downloaded by another version of bnnzoo); partial (an unfinished download).
    """
    files = weights.cached_files(manifest.load())
    now = time.time()
    if as_json:
        print_json([{**_row(file), "state": _state(file)} for file in files])
    elif files:
        print_table(
            ["name", "role", "bytes", "age", "state"],
            [(f.name, f.role, f.bytes, _age(now - f.modified), _state(f)) for f in files],
        )
    else:
        note(f"No weights in {weights.cache_folder()}.")


@command.command("verify", short_help="Compare every file with the manifest.")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON array.")
def verify(as_json: bool) -> None:
    """Compare the size and sha256 of each file in the cache with the manifest.

    State: ok, broken, unknown or partial. The exit code is 4 if a file is broken.
    """
    files = weights.cached_files(manifest.load())
    found = [(file, *_verified(file)) for file in files]
    if as_json:
        print_json([{**_row(f), "state": s, "problem": problem} for f, s, problem in found])
    elif found:
        print_table(
            ["name", "role", "state", "file"],
            [(f.name, f.role, state, f.path.name) for f, state, _ in found],
        )
    else:
        note(f"No weights in {weights.cache_folder()}.")
    broken = [(file, problem) for file, state, problem in found if state == "broken"]
    if broken:
        file, problem = broken[0]
        count = f"{len(broken)} of {len(found)} cached files"
        raise WeightsError(
            f"{count} differ from the manifest: {file.path} {problem}. "
            f"Run: bnnzoo download {file.name} --role {file.role}"
        )


@command.command("rm", short_help="Remove the weights of NAME.")
@click.argument("names", nargs=-1, metavar="[NAME[.TAG]]...")
@click.option("--all", "everything", is_flag=True, help="All weights in the cache.")
@click.option("--yes", is_flag=True, help="Do not ask before --all.")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON array.")
def rm(names: tuple[str, ...], everything: bool, yes: bool, as_json: bool) -> None:
    """Remove the weights of NAME from the cache and print the path of each removed file.

    Without TAG, the weights of all tags are removed. Files that are not weights are kept.
    """
    if everything == bool(names):
        raise ArgumentError("Pass either NAMEs or --all. `bnnzoo cache ls` shows the names.")
    files = weights.cached_files(manifest.load())
    chosen = files if everything else _chosen(files, names)
    if everything and files and not yes:
        _confirm(files)
    for file in chosen:
        weights.remove(file)
        if not as_json:
            echo(file.path)
    if as_json:
        print_json([_row(file) for file in chosen])


def _confirm(files: Sequence[CachedFile]) -> None:
    size = sum(file.bytes for file in files)
    if not sys.stdin.isatty():
        raise ArgumentError("--all needs a confirmation, but there is no terminal. Add --yes.")
    count = counted(len(files), "file")
    question = f"Remove {count}, {size:,} bytes, from {weights.cache_folder()}?"
    if not click.confirm(question, err=True):
        note("Nothing was removed.")
        click.get_current_context().exit(1)


def _chosen(files: Sequence[CachedFile], names: Sequence[str]) -> list[CachedFile]:
    """Returns the files of the names. A name need not be in the manifest if it is in the cache."""
    chosen: dict[CachedFile, None] = {}
    for name in names:
        found = [file for file in files if _is_of(file, name)]
        if not found:
            architecture, record = registry.resolve(name)
            found = [
                file for file in files if _is_of(file, record.name if record else architecture)
            ]
        if not found:
            note(f"No weights of '{name}' in {weights.cache_folder()}.")
        chosen.update(dict.fromkeys(found))
    return list(chosen)


def _is_of(file: CachedFile, name: str) -> bool:
    return name in (file.name, file.name.partition(".")[0])


def _state(file: CachedFile) -> str:
    if file.partial:
        return "partial"
    if file.file is None:
        return "unknown"
    return "cached" if file.file.bytes in (None, file.bytes) else "broken"


def _verified(file: CachedFile) -> tuple[str, str | None]:
    if file.partial or file.file is None:
        return _state(file), None
    problem = weights.mismatch(file.path, file.file)
    return ("ok" if problem is None else "broken"), problem


def _row(file: CachedFile) -> dict[str, Any]:
    return {
        "name": file.name,
        "role": file.role,
        "path": str(file.path),
        "bytes": file.bytes,
        "modified": datetime.fromtimestamp(file.modified, timezone.utc).isoformat("T", "seconds"),
    }


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
