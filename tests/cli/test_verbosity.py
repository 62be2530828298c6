"""What commands write to standard error: `-q`, `-v`, `--log-file`, and the log of TensorFlow."""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys

import click
import pytest

from bnnzoo.cli import main as cli

UNKNOWN = "Error: Unknown model 'nothing'. `bnnzoo list` shows all"
NONE_MATCHES = "No model matches 'nothing*'."


def commands(group, *path):
    """Yields every command with its path."""
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)


def test_every_command_has_the_options():
    found = dict(commands(cli.command))
    assert ("cache", "ls") in found
    for command in [cli.command, *found.values()]:
        options = {option for parameter in command.params for option in parameter.opts}
        assert options >= {"-q", "--quiet", "-v", "--verbose", "--log-file"}


@pytest.mark.parametrize("place", ["before", "behind"])
def test_quiet_leaves_errors(place, capsys):
    def run(*arguments):
        assert cli.main(["-q", *arguments] if place == "before" else [*arguments, "-q"]) in (0, 3)
        return capsys.readouterr().err

    assert run("list", "nothing*") == ""
    assert run("info", "nothing").startswith(UNKNOWN)
    assert cli.main(["list", "nothing*"]) == 0
    assert capsys.readouterr().err == f"{NONE_MATCHES}\n"  # the next command is not quiet


def test_a_log_file_gets_notes_and_errors_of_several_commands(tmp_path, capsys):
    file = tmp_path / "log.txt"
    assert cli.main(["list", "nothing*", "--log-file", str(file)]) == 0
    assert cli.main(["info", "nothing", "-q", "--log-file", str(file)]) == 3
    lines = file.read_text(encoding="utf-8").splitlines()
    assert [line.split(" ", 2)[2] for line in lines][:1] == [NONE_MATCHES]
    assert UNKNOWN in lines[1]
    assert logging.getLogger("bnnzoo").handlers == []
    capsys.readouterr()


def test_a_log_file_that_cannot_be_written_is_one_line(tmp_path, capsys):
    assert cli.main(["list", "--log-file", str(tmp_path / "none" / "log")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("Error: --log-file must be a file that can be written, got")
    assert err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs TensorFlow")
def test_tensorflow_logs_with_verbose_only():
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)

    def stderr(*options):
        command = [sys.executable, "-m", "bnnzoo", "summary", "binarynet_mlp", *options]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stderr

    assert stderr() == ""
    if "absl" not in stderr("-v"):
        pytest.skip("this TensorFlow logs nothing when it starts")
