"""`bnnzoo verify`: checks a packed file against the specification."""

from __future__ import annotations

import click

from bnnzoo.cli import _completing
from bnnzoo.cli._packed import packed_file
from bnnzoo.cli.output import echo, print_json
from bnnzoo.plain_text import counted


@click.command("verify")
@click.argument("model", shell_complete=_completing.models)
@click.option("--json", "as_json", is_flag=True, help="Write a JSON object.")
def command(model: str, as_json: bool) -> None:
    """Check the structure, ranges and checksums of MODEL: a packed file, or a name.

    The exit code is 4 if a check fails.
    """
    from bnnzoo.formats.packed import open_file

    file = packed_file(model)
    packed = open_file(file)
    report = {
        "file": str(file),
        "format": packed.format,
        "nodes": len(packed.graph.nodes),
        "checksums": len(packed.array_sha256),
        "digest": packed.digest,
    }
    if as_json:
        print_json(report)
        return
    echo(
        f"{file}: ok, {packed.format}, {counted(len(packed.graph.nodes), 'node')}, "
        f"{counted(len(packed.array_sha256), 'checksum')}, digest {packed.digest}"
    )
