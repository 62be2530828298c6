"""`bnnzoo train` and `bnnzoo recipes`: options, streams, errors."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest
from tqdm import tqdm

from bnnzoo.cli.main import main
from bnnzoo.cli.train import with_data
from bnnzoo.training import RECIPES
from bnnzoo.training.progress import Progress, follow
from tests.training.tiny import write_images

NAME = "binarynet_mlp.mnist"
SMALL = ["--set", "epochs=1", "--set", "batch_size=16", "--set", "arguments.width=8"]


@pytest.fixture
def data(tmp_path):
    return str(write_images(tmp_path))


def test_train_resume_and_json(tmp_path, data, capsys):
    run = str(tmp_path / "run")
    arguments = ["train", NAME, "--data", data, "--out", run, *SMALL]
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert "top-1" in captured.out
    assert captured.err.startswith("epoch   1  loss ")
    assert main(arguments) == 2
    assert "already has a run. Continue with --resume" in capsys.readouterr().err
    assert main([*arguments, "--resume", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["recipe"] == NAME
    assert report["evaluation"]["dataset"] == "tiny.npz"
    (start,) = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert start["command"].startswith(f"bnnzoo train {NAME} --data")


def test_the_bar_of_a_resumed_run_begins_where_the_run_stopped():
    bar = tqdm(file=io.StringIO())
    advance = follow(bar)
    advance(Progress(epoch=3, epochs=4, step=2, steps=5))
    assert (bar.initial, bar.n, bar.total) == (10, 12, 20)
    advance(Progress(epoch=4, epochs=4, step=5, steps=5))
    assert bar.n == bar.total and "epoch 4/4" in str(bar)
    # The rate is that of this start, and so is the time left.
    assert bar.format_dict["initial"] == 10


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["binarynet_mlp.mnst"], "Did you mean 'binarynet_mlp.mnist'"),
        ([NAME, "--set", "epoch=2"], "Did you mean 'epochs'"),
        ([NAME, "--set", "epochs=0"], "epochs must be an integer of at least 1"),
    ],
    ids=str,
)
def test_a_typing_error_is_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir()), "nothing is written before the recipe is checked"


def test_missing_data_is_a_data_error(capsys, tmp_path):
    for name, message in (("no.npz", "There is no file"), ("no", "There is no folder or file")):
        path = str(tmp_path / name)
        assert main(["train", NAME, "--data", path, "--out", str(tmp_path / "r")]) == 5
        assert f"{message} {path}. " in capsys.readouterr().err


def test_both_splits_follow_from_data(tmp_path):
    recipe = RECIPES[NAME]

    def splits(data, test_data=None):
        changed = with_data(recipe, data, test_data)
        return changed.data, changed.test_data

    assert splits(None) == ("keras:mnist:train", "keras:mnist:test")
    assert splits("keras:cifar10") == ("keras:cifar10:train", "keras:cifar10:test")
    assert splits("a.npz:train") == ("a.npz:train", "a.npz:test")
    assert splits(None, "a.npz") == ("keras:mnist:train", "a.npz")
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
    assert splits(str(tmp_path)) == (str(tmp_path / "train"), str(tmp_path / "test"))
    for there, other in (("test", "val"), ("val", "validation")):
        (tmp_path / there).rename(tmp_path / other)
        assert splits(str(tmp_path)) == (str(tmp_path / "train"), str(tmp_path / other))
    imagenet = ("tfds:imagenet2012:train", "tfds:imagenet2012")  # whose default is validation
    assert splits("tfds:imagenet2012") == splits("tfds:imagenet2012:train") == imagenet


def test_recipes_need_no_keras():
    code = (
        "import sys; from bnnzoo.cli.main import main; main(['recipes', '--json'])\n"
        "assert 'keras' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["name"] for row in rows] == list(RECIPES)


def test_the_table_of_recipes(capsys):
    assert main(["recipes"]) == 0
    assert all(name in capsys.readouterr().out for name in (NAME,))


WRONG = {  # arguments that a user sees wrong at once, before Keras is imported
    "another_folder": (["--out", "full"], 2, "must be empty or the folder of a run, but has notes"),
    "a_file": (["--out", "full/notes.txt"], 2, "full/notes.txt must be the folder of a run"),
    "no_data": (["--data", "nowhere"], 5, "There is no folder or file nowhere"),
    "no_split": (["--split", "0.1"], 2, "--split must be given with"),
}


@pytest.mark.parametrize("command", [["train", NAME], ["finetune", NAME]], ids=lambda c: c[0])
@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_argument_is_said_before_keras_is_imported(case, command, data, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    arguments, exit_code, message = WRONG[case]
    if "--data" not in arguments and (command[0] == "finetune" or case != "no_split"):
        arguments = [*arguments, "--data", data]
    code = (
        "import sys; from bnnzoo.cli.main import main; status = main(sys.argv[1:]); "
        "sys.exit(100 if 'keras' in sys.modules else status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command, *arguments],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == exit_code, done.stderr
    assert message in done.stderr and done.stderr.count("\n") == 1
