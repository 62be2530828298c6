"""`bnnzoo push`: puts a packed network with a card on the Hugging Face Hub."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from bnnzoo.cli import _completing
from bnnzoo.cli.output import echo, print_json


@click.command("push")
@click.argument("source", shell_complete=_completing.models)
@click.argument("address", metavar="hf://OWNER/NAME")
@click.option("--private", is_flag=True, help="Create a private repository.")
@click.option("--message", help="Message of the commit.")
@click.option("--dry-run", is_flag=True, help="Write the card to standard output only.")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON object.")
def command(
    source: str, address: str, private: bool, message: str | None, dry_run: bool, as_json: bool
) -> None:
    """Push SOURCE to the Hugging Face Hub, with a card.

    SOURCE is a packed file, the folder of a finished run, or a name with a packed file.
    """
    from bnnzoo.hub import push

    done = push(
        Path(source) if Path(source).is_dir() else source,
        address,
        private=private,
        message=message,
        dry_run=dry_run,
    )
    if as_json:
        print_json(asdict(done))
    elif dry_run:
        echo(done.card)
    else:
        echo(f"Pushed {done.bytes:,} bytes, sha256 {done.sha256}.")
        echo(f"{done.address}  {done.url}")
