"""`bnnzoo completion`: writes the script that completes commands and names in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from bnnzoo.cli.output import echo
from bnnzoo.errors import ArgumentError

VARIABLE = "_BNNZOO_COMPLETE"


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Write the script that completes commands, options and names in SHELL.

    For bash, put this line into ~/.bashrc: eval "$(bnnzoo completion bash)". For zsh, put the same
    with zsh into ~/.zshrc. For fish, put this into ~/.config/fish/config.fish: bnnzoo completion
    fish | source.
    """
    from bnnzoo.cli.main import command as whole

    kind = get_completion_class(shell)
    if kind is None:
        raise ArgumentError(f"SHELL must be bash, zsh or fish, got {shell!r}. Choose one.")
    try:
        echo(kind(whole, {}, "bnnzoo", VARIABLE).source())
    except RuntimeError as error:  # bash is missing, or older than 4.4
        raise ArgumentError(f"{error} Use zsh or fish.") from error
