"""`bnnzoo verify`: whether a packed file is whole and obeys the specification."""

from __future__ import annotations

from pathlib import Path

import click

from bnnzoo.cli.output import echo


@click.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
def command(file: Path) -> None:
    """Check structure, ranges and every checksum of the packed file FILE.

    Exit code 4 with the reason if something is wrong.
    """
    from bnnzoo.formats.packed import open_file

    packed = open_file(file)
    echo(
        f"{file}: ok, {packed.format}, {len(packed.graph.nodes):,} nodes, "
        f"{len(packed.array_sha256):,} checksums, digest {packed.digest}"
    )
