"""A resumed run ends with the weights of one that was not killed; faults lose nothing."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import bnnzoo
from bnnzoo import training
from bnnzoo.data import preprocessing
from bnnzoo.data.images import read_image
from bnnzoo.errors import ArgumentError, BnnZooError, DataError
from bnnzoo.training import Augmentation, Phase
from bnnzoo.training.progress import Progress
from tests.training.conftest import files_of_at_most
from tests.training.tiny import photo_recipe, tiny_recipe, write_images, write_photos

ROOT = Path(__file__).parents[2]
FLAGS = "--tf_xla_auto_jit=0"  # the default of TensorFlow

# Many techniques at once: a real-valued twin, then Bop, from the twin's weights and answers.
PHASES = (
    Phase(epochs=2, binarize="nothing", learning_rate=0.01, weight_decay=0.1),
    Phase(
        epochs=2, learning_rate=0.01, binary_optimizer="bop", bop_gamma=1e-2, warmup_epochs=1,
        label_smoothing=0.1, teacher="previous", distillation=0.5, temperature=2.0,
    ),
)  # fmt: skip


class KilledError(Exception):
    """Stands for a signal: nothing may catch it and tidy up."""


def kill_at(epoch: int, step: int) -> Callable[[Progress], None]:
    """Returns a `progress` that kills the run at a step."""

    def kill(progress: Progress) -> None:
        if (progress.epoch, progress.step) == (epoch, step):
            raise KilledError

    return kill


def state(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "checkpoints" / "last.npz") as archive:
        return {key: archive[key] for key in archive.files if key != "log"}


def assert_same_state(folder: Path, expected: dict[str, np.ndarray]) -> None:
    got = state(folder)
    assert got.keys() == expected.keys()
    for key in expected:
        np.testing.assert_array_equal(got[key], expected[key], err_msg=key)


def log(folder: Path) -> list[dict[str, str]]:
    """The rows of the log without what time tells."""
    with (folder / "log.csv").open() as file:
        timed = ("seconds", "images_per_second")
        return [{k: v for k, v in row.items() if k not in timed} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """An uninterrupted run of all techniques: its folder and report."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_XLA_FLAGS", FLAGS)
        report = training.train(tiny_recipe(folder, *PHASES), folder / "whole")
    return folder, report


# Killed after this many steps of this epoch, so often: in a phase, between phases, in the last one.
@pytest.mark.parametrize(
    "epoch, step, kills",
    [(2, 3, 1), *(pytest.param(*kill, marks=pytest.mark.slow) for kill in ((3, 1, 2), (4, 2, 1)))],
)
def test_a_resumed_run_equals_an_uninterrupted_one(whole_run, epoch, step, kills):
    folder, _ = whole_run
    recipe, path = tiny_recipe(folder, *PHASES), folder / f"killed-{epoch}-{step}"
    path.mkdir()
    (path / "environment.json").write_text('[{"hardware": "a start that came to nothing"}]')

    for _ in range(kills):
        with pytest.raises(KilledError):
            training.train(recipe, path, progress=kill_at(epoch, step), resume=True)
    report = training.train(recipe, path, resume=True)
    assert report["resumed_after"] == epoch - 1
    starts = json.loads((path / "environment.json").read_text())
    assert [start["after_epoch"] for start in starts] == [0, epoch - 1]  # one finished none
    saved = hashlib.sha256((path / "model.keras").read_bytes()).hexdigest()
    assert report["evaluation"]["weights_sha256"] == saved
    assert_same_state(path, state(folder / "whole"))
    assert log(path) == log(folder / "whole")


@pytest.mark.slow
def test_a_resumed_run_in_bfloat16_equals_an_uninterrupted_one(tmp_path):
    recipe = tiny_recipe(tmp_path, Phase(epochs=2), precision="mixed_bfloat16")
    training.train(recipe, tmp_path / "whole")

    with pytest.raises(KilledError):
        training.train(recipe, tmp_path / "killed", progress=kill_at(2, 2))
    assert training.train(recipe, tmp_path / "killed", resume=True)["resumed_after"] == 1
    assert_same_state(tmp_path / "killed", state(tmp_path / "whole"))


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path):
    recipe, path, kept = tiny_recipe(tmp_path, Phase(epochs=2)), tmp_path / "run", {}
    message = r"last\.npz cannot be written: File too large.*--resume"
    with contextlib.ExitStack() as disk, pytest.raises(BnnZooError, match=message):

        def fill(row: dict[str, object]) -> None:
            kept.update(state(path))
            disk.enter_context(files_of_at_most(2**14))

        training.train(recipe, path, on_epoch=fill)
    assert_same_state(path, kept)
    assert training.train(recipe, path, resume=True)["resumed_after"] == 1


# Arguments: a folder, and what to do with a run in it: die after an epoch, or go on.
PROCESS = """
import os, pathlib, signal, sys
from bnnzoo import training
from tests.training.test_trainer import PHASES, tiny_recipe
folder, task = pathlib.Path(sys.argv[1]), sys.argv[2]
def kill(row):
    if task == "die" and row["epoch"] == 1: os.kill(os.getpid(), signal.SIGKILL)
recipe = tiny_recipe(folder, *PHASES)
report = training.train(recipe, folder / "killed", resume=task == "resume", on_epoch=kill)
assert report["resumed_after"] == 1
"""


@pytest.mark.slow
def test_a_process_that_is_killed_goes_on(whole_run):
    """In processes of their own, as users have it; what was not killed ran in this one."""
    folder, _ = whole_run
    for task, code in (("die", -9), ("resume", 0)):
        command = [sys.executable, "-c", PROCESS, str(folder), task]
        done = subprocess.run(command, cwd=ROOT, timeout=300, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
    assert_same_state(folder / "killed", state(folder / "whole"))


def test_what_a_run_leaves(whole_run):
    folder, report = whole_run
    run = folder / "whole"
    assert json.loads((run / "report.json").read_text()) == report
    assert training.Recipe.from_dict(json.loads((run / "recipe.json").read_text())).epochs == 4
    rows = log(run)
    assert [row["phase"] for row in rows] == list("1122")
    assert float(rows[0]["flip_ratio"]) == 0
    assert float(rows[-1]["flip_ratio"]) > 0
    (start,) = json.loads((run / "environment.json").read_text())
    assert start["versions"]["backend"] in ("tensorflow", "jax", "torch")
    assert start["compiler_flags"] == {"TF_XLA_FLAGS": FLAGS}
    names = {path.name for path in (run / "checkpoints").iterdir()}
    assert names == {"last.npz", "best.npz", "phase1.npz", "phase2.npz"}

    model = bnnzoo.open_model(run / "model.keras")
    assert model.model_spec.name == "binarynet_mlp"
    assert model.model_spec.preprocessing == "scale_pm1"
    again = bnnzoo.evaluate(run / "model.keras", f"{folder / 'tiny.npz'}:test")
    assert again.top1 == report["evaluation"]["top1"] == pytest.approx(float(rows[-1]["val_top1"]))


def test_a_finished_run_is_only_reported(whole_run):
    folder, report = whole_run
    recipe = tiny_recipe(folder, *PHASES)

    def refuse(progress: Progress) -> None:
        raise AssertionError("it trains again")

    assert training.train(recipe, folder / "whole", resume=True, progress=refuse) == report


def test_a_swallowed_interrupt_is_not_lost(tmp_path):
    """Keras swallows it, as here, where it reads the logs of a step."""
    steps: list[Progress] = []

    def swallow(progress: Progress) -> None:
        steps.append(progress)
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        training.train(tiny_recipe(tmp_path, Phase(epochs=2)), tmp_path / "run", progress=swallow)
    assert len(steps) == 1
    assert signal.getsignal(signal.SIGINT) is before


def test_it_learns(tmp_path):
    recipe = tiny_recipe(tmp_path, Phase(epochs=12, learning_rate=0.02), arguments={"width": 32})
    report = training.train(recipe, tmp_path / "run")
    # The brighter half is the class: guessing is 50 %, and 64 images vary by 6 points.
    assert report["evaluation"]["top1"] > 75


def test_a_loss_that_is_no_number_keeps_the_last_checkpoint(tmp_path):
    recipe = tiny_recipe(tmp_path, Phase(epochs=2), Phase(epochs=2, learning_rate=float("1e38")))
    with pytest.raises(BnnZooError, match=r"loss of epoch \d is (nan|inf): training has diverged"):
        training.train(recipe, tmp_path / "run")
    kept = state(tmp_path / "run")
    assert all(np.isfinite(value).all() for value in kept.values())


def test_a_last_step_that_diverges_is_no_epoch(tmp_path):
    phase = Phase(epochs=2, learning_rate=float("1e38"), schedule="constant")
    recipe = tiny_recipe(tmp_path, phase, batch_size=64)  # a step per epoch, from finite weights
    with pytest.raises(BnnZooError, match=r"loss of epoch 1 is (nan|inf)"):
        training.train(recipe, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints" / "last.npz").exists()


def test_the_best_weights_are_those_of_the_best_epoch(tmp_path):
    snapshots = []
    report = training.train(
        tiny_recipe(tmp_path, Phase(epochs=6, learning_rate=0.05)),
        tmp_path / "run",
        on_epoch=lambda row: snapshots.append((row["val_top1"], state(tmp_path / "run"))),
    )
    reached = [top1 for top1, _ in snapshots]
    best = reached.index(max(reached))
    assert report["best_epoch"] == 1 + best
    with np.load(tmp_path / "run" / "checkpoints" / "best.npz") as found:
        assert len(found.files) > 5
        for key in found.files:
            np.testing.assert_array_equal(found[key], snapshots[best][1][key])


# What labels of training images begin with -> what is wrong with the data set.
WRONG_LABELS = {
    "below 0": ([-1], "0: class index must be from 0 to 1, got -1"),
    "one class": ([0] * 64, "must have images of two classes or more, got 1"),
}


@pytest.mark.parametrize("name", WRONG_LABELS)
@pytest.mark.parametrize("images", ["memory", "files"])
def test_labels_that_cannot_be_learnt(tmp_path, name, images):
    labels, message = WRONG_LABELS[name]
    with np.load(write_images(tmp_path)) as archive:
        arrays = dict(archive)
    arrays["y_train"][: len(labels)] = labels
    np.savez(tmp_path / "tiny.npz", **arrays)
    with pytest.raises(DataError, match=message):
        training.train(tiny_recipe(tmp_path, images=images), tmp_path / "run")


@pytest.mark.slow
def test_attention_is_trained_with(tmp_path):
    """Of three equal runs from one twin, that without attention ends with other weights."""
    twin = Phase(epochs=1, binarize="nothing")
    ends = []
    for attention in (1.0, 1.0, 0.0):
        phase = Phase(epochs=1, teacher="previous", attention=attention, distillation=0.5)
        recipe = tiny_recipe(tmp_path, twin, phase, network="birealnet20", arguments={})
        training.train(recipe, tmp_path / f"run-{len(ends)}")
        ends.append(state(tmp_path / f"run-{len(ends)}"))
    kernels = [key for key, value in ends[0].items() if value.ndim == 4]
    assert kernels and all(np.array_equal(ends[0][key], ends[1][key]) for key in kernels)
    assert not any(np.array_equal(ends[0][key], ends[2][key]) for key in kernels)


def test_attention_needs_maps(tmp_path):
    twin = Phase(epochs=1, binarize="nothing")
    phase = Phase(epochs=1, teacher="previous", attention=1.0)
    with pytest.raises(ArgumentError, match="attention must be 0 for binarynet_mlp, got 1"):
        training.train(tiny_recipe(tmp_path, twin, phase), tmp_path / "run")


def test_too_few_images_for_a_batch(tmp_path):
    with pytest.raises(ArgumentError, match="batch_size must be at most 64"):
        training.train(tiny_recipe(tmp_path, batch_size=65), tmp_path / "run")


def test_a_border_larger_than_the_images_is_refused(tmp_path):
    recipe = tiny_recipe(tmp_path, augmentation=Augmentation(pad=5_000_000_000))
    with pytest.raises(ArgumentError, match=r"augmentation.pad must be at most 8, as images are"):
        training.train(recipe, tmp_path / "run")


def test_arguments_that_the_network_does_not_take(tmp_path):
    recipe = tiny_recipe(tmp_path, arguments={"depth": 3})
    with pytest.raises(ArgumentError, match="arguments must be those of binarynet_mlp.*depth"):
        training.train(recipe, tmp_path / "run")


def test_held_out_images_make_the_curve(tmp_path):
    report = training.train(tiny_recipe(tmp_path, held_out=16), tmp_path / "run")
    assert report["curve"] == "held-out training images"
    assert report["evaluation"]["n"] == 64


def test_bfloat16_is_measured_in_float32(tmp_path):
    report = training.train(tiny_recipe(tmp_path, precision="mixed_bfloat16"), tmp_path / "run")
    model = bnnzoo.open_model(tmp_path / "run" / "model.keras")
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert report["evaluation"]["n"] == 64


@pytest.mark.slow
def test_a_trained_model_is_a_teacher(tmp_path):
    training.train(tiny_recipe(tmp_path), tmp_path / "teacher")
    teacher = str(tmp_path / "teacher" / "model.keras")
    phase = Phase(epochs=1, teacher=teacher, distillation=1.0)
    training.train(tiny_recipe(tmp_path, phase), tmp_path / "student")
    other = tiny_recipe(tmp_path, phase, preprocessing="scale_01")
    with pytest.raises(ArgumentError, match="preprocessing of the teacher .* must be scale_01"):
        training.train(other, tmp_path / "other")


@pytest.fixture(scope="module")
def photo_run(tmp_path_factory):
    """An uninterrupted run on files, of random parts, with test images of one class only."""
    folder = write_photos(tmp_path_factory.mktemp("photos"))
    shutil.rmtree(folder / "val" / "dark")
    return folder, training.train(photo_recipe(folder), folder / "whole")


@pytest.mark.slow
def test_a_resumed_run_on_files_equals_an_uninterrupted_one(photo_run):
    folder, _ = photo_run
    recipe = photo_recipe(folder)

    with pytest.raises(KilledError):
        training.train(recipe, folder / "killed", progress=kill_at(2, 3))
    again = training.train(recipe, folder / "killed", resume=True)
    assert again["resumed_after"] == 1
    assert_same_state(folder / "killed", state(folder / "whole"))
    assert log(folder / "killed") == log(folder / "whole")


def test_a_class_without_test_images_does_not_shift_the_others(photo_run):
    folder, report = photo_run
    model = bnnzoo.open_model(folder / "whole" / "model.keras")
    images = [read_image(path) for path in sorted((folder / "val" / "light").iterdir())]
    answers = model.predict(preprocessing.get("larq_in1k")(images), verbose=0).argmax(axis=1)
    assert report["evaluation"]["n"] == len(images) == 8
    assert report["evaluation"]["top1"] == pytest.approx(100 * np.mean(answers == 1))
    # Validation is on the very pixels that `evaluate` makes.
    assert float(log(folder / "whole")[-1]["val_top1"]) == report["evaluation"]["top1"]


def test_a_broken_image_keeps_the_last_checkpoint(tmp_path):
    folder, recipe = write_photos(tmp_path), photo_recipe(tmp_path)
    broken = folder / "train" / "light" / "031.jpg"

    def cut_off(row: dict[str, object]) -> None:
        broken.write_bytes(broken.read_bytes()[:-200])

    with pytest.raises(DataError, match=r"031\.jpg is not a readable image"):
        training.train(recipe, tmp_path / "run", on_epoch=cut_off)
    assert len(log(tmp_path / "run")) == 1
    assert all(np.isfinite(value).all() for value in state(tmp_path / "run").values())
