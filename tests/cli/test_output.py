"""Tables, on terminals of several widths and in pipes: nothing is cut."""

from __future__ import annotations

import fcntl
import itertools
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import click
import pytest

import bnnzoo
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
        whole = width == 160 and not any(w.arguments for w in info.weights)
        size = {str(info.params)} if whole else set()
        names = {f"{name}.{tag}" for tag in info.tags} or {name}
        assert names | size <= words


PRETRAINED = Path(bnnzoo.__file__).parent / "pretrained"
SHIPPED = str(PRETRAINED / "binarynet.fashion_mnist_small.safetensors")
TABLES = {
    "list": ["list"],
    "recipes": ["recipes"],
    "compare": ["compare", "binarynet_mlp", "binarynet.mnist_small", "--runs", "1"],
    "benchmark": ["benchmark", SHIPPED, "--profile", "--runs", "1"],
    "inspect": ["inspect", SHIPPED],
    "summary": ["summary", "birealnet20"],
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_fit_in_60_columns_with_whole_numbers(name):
    lines = drawn(60, *TABLES[name])
    rules = [i for i, line in enumerate(lines) if line and not line.strip("─ ")]
    assert rules
    for rule in rules:
        rows = list(itertools.takewhile(str.strip, lines[rule + 1 :]))
        assert rows and max(map(len, [lines[rule - 1], *rows])) <= 60
    if name in ("compare", "benchmark"):  # which measure other numbers each time
        return
    number = r"\b\d[\d,.]*\d\b"
    wide = "\n".join(drawn(400, *TABLES[name]))
    assert set(re.findall(number, "\n".join(lines))) <= set(re.findall(number, wide))


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
