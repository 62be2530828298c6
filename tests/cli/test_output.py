"""Tables, on terminals of several widths and in pipes: nothing is cut."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import click
import pytest

from bnnzoo import registry
from bnnzoo.cli.output import print_table


def drawn(width: int, *arguments: str) -> list[str]:
    """The lines that a command writes to a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    environment |= {"TERM": "xterm", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "bnnzoo", *arguments]
    with subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs) as process:
        os.close(theirs)
        written = b""
        try:
            while part := os.read(ours, 65536):
                written += part
        except OSError:  # Linux tells thus that the other end is closed
            pass
        os.close(ours)
        assert process.wait(timeout=60) == 0
    return click.unstyle(written.decode()).replace("\r", "").split("\n")


@pytest.mark.parametrize("width", [40, 80, 160])
def test_nothing_is_cut_on_a_terminal(width):
    lines = drawn(width, "list")
    words = set(" ".join(lines).replace(",", "").split())
    assert "…" not in "".join(lines)
    for name in registry.list_models():
        info = registry.info(name)
        # The size of weights is their own where they have other arguments.
        size = set() if any(w.arguments for w in info.weights) else {str(info.params)}
        names = {f"{name}.{tag}" for tag in info.tags} or {name}
        assert names | size <= words


def test_texts_are_broken_between_words_to_fit():
    lines = drawn(160, "recipes")
    assert max(map(len, lines)) <= 160
    assert "".join(lines).count("TrainBinaryDenseNet37Dilated.") == 1


def test_nothing_is_broken_in_a_pipe(capsys):
    text = "word " * 100 + "end"
    print_table(["name", "text", "n"], [("a [b]", text, 1234), ("c", None, None)], title=text)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == text
    assert lines[4] == f" a [b]   {text}   1,234"
    assert lines[5].split() == ["c", "-", "-"]
