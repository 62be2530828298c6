"""`bnnzoo verify`: checks a packed file against the specification."""

from __future__ import annotations

from pathlib import Path

import click

from bnnzoo.cli.output import echo


@click.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
def command(file: Path) -> None:
    """Check the structure, ranges and checksums of the packed file FILE.

    The exit code is 4 if a check fails.
    """
    from bnnzoo.formats.packed import open_file

    packed = open_file(file)
    echo(
        f"{file}: ok, {packed.format}, {len(packed.graph.nodes):,} nodes, "
        f"{len(packed.array_sha256):,} checksums, digest {packed.digest}"
    )
