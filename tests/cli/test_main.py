"""The command line as a person meets it: help, typing errors, exit codes, streams."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import bnnzoo
from bnnzoo.cli import main as cli
from bnnzoo.formats.packed import read

COMMAND_FILES = {
    path.stem for path in Path(cli.__file__).parent.glob("*.py") if not path.stem.startswith("_")
}

# Typing error -> exit code and a part of the one line on standard error.
MISTAKES = {
    "command": (["lst"], 2, "No such command 'lst'. Did you mean 'list'?"),
    "option": (["list", "--jsn"], 2, "No such option"),
    "model": (["info", "birealnet-18"], 3, "Did you mean 'birealnet18'? `bnnzoo list` shows all"),
    "tag": (["info", "birealnet18.in1k"], 3, "no weights tagged 'in1k'. It has: larq_in1k."),
    "summary_model": (["summary", "quiknet"], 3, "Did you mean 'quicknet'?"),
    "summary_shape": (["summary", "quicknet", "--input-shape", "a,b"], 2, "height,width,channels"),
    "summary_file": (["summary", "nothing.keras"], 4, "There is no file nothing.keras."),
}


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "bnnzoo", *arguments], capture_output=True, text=True, timeout=120
    )


def test_every_command_has_one_file():
    names = {name.removesuffix("_") for name in COMMAND_FILES}  # import_.py: a keyword
    assert names - {"main", "output", "tensorflow_log"} == set(cli.COMMANDS)


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_help_of_every_command(name, capsys):
    assert cli.main([name, "--help"]) == 0
    assert f"bnnzoo {name}" in capsys.readouterr().out


def test_help_lists_the_commands_and_the_exit_codes(capsys):
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in cli.COMMANDS)
    assert "3 unknown model or tag" in out


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version(option, capsys):
    assert cli.main([option]) == 0
    assert bnnzoo.__version__ in capsys.readouterr().out


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_an_exit_code(name, capsys):
    arguments, code, message = MISTAKES[name]
    assert cli.main(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert "Traceback" not in captured.err


def test_an_interrupt_is_130(monkeypatch, capsys):
    def interrupt(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.command, "main", interrupt)
    assert cli.main(["list"]) == 130
    assert capsys.readouterr().err == "Interrupted.\n"


@pytest.mark.parametrize("name", [["list"], ["list", "--json"], ["--help"], ["doctor"]])
def test_a_full_disk_behind_the_output_is_one_line(name):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bnnzoo", *name], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: A file or the output cannot be written: No space left")
    assert done.stderr.count("\n") == 1


# The second one is known to Keras, but needs a package of its own and does not train.
@pytest.mark.parametrize("backend", ["tensorlfow", "openvino"])
def test_a_backend_that_cannot_be_had_is_one_line(backend):
    environment = {**os.environ, "KERAS_BACKEND": backend}
    command = [sys.executable, "-m", "bnnzoo", "summary", "birealnet20"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        f"Error: The Keras backend must be tensorflow, jax or torch, got '{backend}'. Set "
        "KERAS_BACKEND, or edit ~/.keras/keras.json.\n"
    )


def test_more_memory_than_there_is_is_one_line(capsys):
    file = Path(bnnzoo.__file__).parent / "pretrained" / "binarynet_mlp.mnist.safetensors"
    assert cli.main(["benchmark", str(file), "--batch-size", str(10**12)]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("Error: Out of memory: ")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("encoding", "name"), [("ascii", "日本"), ("cp1251", "café"), ("cp1252", "😀")]
)
def test_names_that_the_output_has_not_are_escaped(encoding, name, tmp_path):
    file = Path(bnnzoo.__file__).parent / "pretrained" / "binarynet_mlp.mnist.safetensors"
    Image.new("L", (28, 28)).save(tmp_path / f"{name}.png")
    command = [sys.executable, "-m", "bnnzoo", "predict", str(file), f"{name}.png"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for options in ([], ["--json"]):
        done = subprocess.run(
            [*command, *options], cwd=tmp_path, env=environment, capture_output=True, check=True
        )
        text = done.stdout.decode("utf-8" if encoding == "ascii" else encoding)  # click knows ascii
        assert ".png" in text
    assert json.loads(text)[0]["file"] == f"{name}.png"


@pytest.mark.parametrize("options", [["list", "--json"], ["--help"]])
def test_a_closed_output_is_no_error(options):
    code = "import os, sys; os.close(1); os.execv(sys.executable, sys.argv[1:])"
    command = [sys.executable, "-c", code, sys.executable, "-m", "bnnzoo", *options]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_module_and_script_are_the_same_command():
    done = run("info", "nothing")
    assert done.returncode == 3
    assert done.stderr.startswith("Error: Unknown model 'nothing'.")
    assert done.stderr.count("\n") == 1


def test_names_with_a_packed_file_run_without_keras(tmp_path):
    name, data = "binarynet.fashion_mnist_small", "sample:fashion_mnist"
    Image.new("L", (28, 28)).save(tmp_path / "a.png")
    commands = [
        ["evaluate", name, "--data", data, "--limit", "20"],
        ["predict", name, "a.png"],
        ["convert", name, "net.safetensors"],
        ["convert", name, "net", "--format", "c"],
        ["benchmark", name, "--runs", "1"],
        ["verify", name],
    ]
    code = f"""
import sys
sys.modules["keras"] = None
from bnnzoo.cli.main import main
for arguments in {commands}:
    assert main(arguments) == 0, arguments
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "(packed)" in done.stdout
    packed = Path(bnnzoo.__file__).parent / "pretrained" / f"{name}.safetensors"
    ours, theirs = (read(file)[0] for file in (tmp_path / "net.safetensors", packed))
    assert ours.nodes == theirs.nodes
    assert (tmp_path / "net").is_dir()


@pytest.mark.parametrize(
    "arguments",
    [
        ["summary", "birealnet18"],
        ["evaluate", "birealnet18", "--random-weights", "--data", "sample:fashion_mnist"],
        ["convert", "birealnet18", "out.safetensors"],
        ["train", "binarynet_mlp.mnist", "--out", "run"],
        ["finetune", "binarynet.fashion_mnist_small", "--data", "data.npz", "--out", "run"],
        ["publish", "run"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_command_without_keras_names_the_extra(arguments, tmp_path):
    (tmp_path / "data.npz").touch()
    code = f"""
import sys
sys.modules["keras"] = None
from bnnzoo.cli.main import main
sys.exit(main({arguments}))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 1
    assert result.stderr.startswith("Error: keras is needed for networks")
    assert len(result.stderr.splitlines()) == 1
