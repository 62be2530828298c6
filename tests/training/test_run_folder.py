"""A run folder is never half written, has one writer, and holds one recipe."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from bnnzoo.errors import ArgumentError, BnnZooError
from bnnzoo.training import Phase, Recipe
from bnnzoo.training.checkpoints import read_log
from bnnzoo.training.distributed.distribution import Group
from bnnzoo.training.run_folder import RunFolder, open_run

RECIPE = Recipe("r", "binarynet", "a", "b", (Phase(epochs=1),))


def test_a_full_disk_is_one_error_and_leaves_the_old_file(tmp_path, small_files):
    folder = RunFolder(tmp_path)
    folder.write_arrays("checkpoints/last.npz", {"a": np.arange(3)})
    with pytest.raises(BnnZooError, match=r"last\.npz cannot be written: File too large.*--resume"):
        folder.write_arrays("checkpoints/last.npz", {"a": np.zeros(100_000)})
    np.testing.assert_array_equal(folder.read_arrays("checkpoints/last.npz")["a"], [0, 1, 2])
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["last.npz"]


def test_a_broken_checkpoint_is_one_error(tmp_path):
    (tmp_path / "last.npz").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(BnnZooError, match=r"last\.npz cannot be read"):
        RunFolder(tmp_path).read_arrays("last.npz")


def test_only_the_first_process_has_a_folder(tmp_path):
    path = tmp_path / "run"
    with open_run(path, RECIPE, resume=False, group=Group(process=1, processes=2)) as folder:
        folder.write_arrays("checkpoints/last.npz", {"a": np.arange(3)})
        folder.write_log([{"epoch": 1}])
        folder.write_json("report.json", {})
    assert not path.exists()


def test_the_log_is_a_table(tmp_path):
    RunFolder(tmp_path).write_log([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}])
    assert (tmp_path / "log.csv").read_text() == "epoch,loss\n1,0.5\n2,0.25\n"


@pytest.mark.slow
def test_a_second_process_is_refused(tmp_path):
    code = (
        "import sys, pathlib\n"
        "from bnnzoo.training.run_folder import open_run\n"
        "from tests.training.test_run_folder import RECIPE\n"
        "with open_run(pathlib.Path(sys.argv[1]), RECIPE, resume=True): pass"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    with open_run(tmp_path / "run", RECIPE, resume=False):
        second = subprocess.run(command, capture_output=True, text=True)
    assert "BnnZooError: Another process is training in" in second.stderr
    with open_run(tmp_path / "run", RECIPE, resume=True):
        pass


def begin(path):
    """Leaves a run of `RECIPE` with a checkpoint."""
    with open_run(path, RECIPE, resume=True) as folder:
        folder.write_arrays("checkpoints/last.npz", {})


def test_a_run_is_not_overwritten(tmp_path):
    begin(tmp_path / "run")
    with (
        pytest.raises(ArgumentError, match="already has a run. Continue with --resume"),
        open_run(tmp_path / "run", RECIPE, resume=False),
    ):
        pass


def test_a_run_without_an_epoch_is(tmp_path):
    with open_run(tmp_path, RECIPE, resume=False):
        pass
    with open_run(tmp_path, dataclasses.replace(RECIPE, seed=7), resume=False):
        pass
    assert json.loads((tmp_path / "recipe.json").read_text())["seed"] == 7


def test_a_finished_run_without_its_checkpoints_is_not_overwritten(tmp_path):
    with open_run(tmp_path, RECIPE, resume=False) as folder:
        folder.write_json("report.json", {"epochs": 1})
    other = dataclasses.replace(RECIPE, seed=7)
    for resume, message in ((False, "already has a run"), (True, "another recipe: seed differ")):
        with (
            pytest.raises(ArgumentError, match=message),
            open_run(tmp_path, other, resume=resume),
        ):
            pass
    assert json.loads((tmp_path / "recipe.json").read_text())["seed"] == 0


@pytest.mark.parametrize("name", ["recipe.json", "report.json", "environment.json"])
def test_a_broken_file_is_one_error(tmp_path, name):
    (tmp_path / name).write_text("{")
    with pytest.raises(BnnZooError, match=rf"{name} cannot be read: Expecting"):
        RunFolder(tmp_path).read_json(name)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "report.json").write_text('{"mine": 1}')
    (tmp_path / ".notes.tmp").touch()
    for resume in (False, True):
        with (
            pytest.raises(ArgumentError, match=r"has report.json without recipe.json: it is no"),
            open_run(tmp_path, RECIPE, resume=resume),
        ):
            pass
    assert {path.name for path in tmp_path.iterdir()} == {".lock", ".notes.tmp", "report.json"}


@pytest.mark.parametrize("foreign", ['{"mine": 1}', "[]", '"text"'])
def test_a_recipe_of_something_else_is_left_alone(tmp_path, foreign):
    (tmp_path / "recipe.json").write_text(foreign)
    with (
        pytest.raises(BnnZooError, match=r"recipe.json is not a recipe: .* in another folder"),
        open_run(tmp_path, RECIPE, resume=False),
    ):
        pass
    assert (tmp_path / "recipe.json").read_text() == foreign


def test_arrays_of_something_else_are_no_checkpoint(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    np.savez(tmp_path / "checkpoints" / "last.npz", mine=np.zeros(3))
    with pytest.raises(BnnZooError, match=r"last.npz is not a checkpoint: it has no log"):
        read_log(RunFolder(tmp_path))


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch):
    def flock(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)
    with (
        pytest.raises(BnnZooError, match="cannot be locked: No locks available. Choose a folder"),
        open_run(tmp_path, RECIPE, resume=False),
    ):
        pass


def test_another_recipe_does_not_go_on(tmp_path):
    begin(tmp_path)
    reworded = dataclasses.replace(RECIPE, summary="said otherwise")
    with open_run(tmp_path, reworded, resume=True):
        pass
    other = dataclasses.replace(RECIPE, batch_size=5, seed=7)
    with (
        pytest.raises(ArgumentError, match="another recipe: batch_size, seed differ"),
        open_run(tmp_path, other, resume=True),
    ):
        pass


def test_a_recipe_of_an_older_version_goes_on(tmp_path):
    value = RECIPE.to_dict()
    del value["clip_value"]  # a field that was added later, with its default
    begin(tmp_path)
    (tmp_path / "recipe.json").write_text(json.dumps(value))
    with open_run(tmp_path, RECIPE, resume=True):
        pass


def test_what_a_killed_run_left_is_removed(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / ".last.tmp.npz").write_text("half")
    (tmp_path / "checkpoints" / "last.npz").write_text("whole")
    (tmp_path / "recipe.json").write_text(json.dumps(RECIPE.to_dict()))
    (tmp_path / "checkpoints" / ".phase12.tmp.npz").write_text("half")
    (tmp_path / ".model.tmp.keras").write_text("half")
    (tmp_path / ".draft.tmp").write_text("somebody's")
    (tmp_path / ".cache.tmpdir").mkdir()
    with open_run(tmp_path, RECIPE, resume=True):
        assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["last.npz"]
        hidden = {path.name for path in tmp_path.glob(".*")}
    assert hidden == {".lock", ".draft.tmp", ".cache.tmpdir"}
