"""Whole runs with the native engine."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from bnnzoo import training
from bnnzoo.training import Phase
from tests.training.tiny import photo_recipe, tiny_recipe, write_images, write_photos


def arrays(path: Any) -> dict[str, np.ndarray]:
    with np.load(path / "checkpoints" / "last.npz") as archive:
        return {key: archive[key] for key in archive.files if key != "log"}


class StoppedError(Exception):
    pass


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    recipe = tiny_recipe(tmp_path, Phase(2, learning_rate=0.01), Phase(2, learning_rate=0.01))

    def stop(row: dict[str, Any]) -> None:
        if row["epoch"] == 3:
            raise StoppedError

    training.train(recipe, tmp_path / "whole", engine="native")
    with pytest.raises(StoppedError):
        training.train(recipe, tmp_path / "parts", engine="native", on_epoch=stop)
    training.train(recipe, tmp_path / "parts", engine="native", resume=True)
    whole, parts = arrays(tmp_path / "whole"), arrays(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    for key, array in whole.items():
        np.testing.assert_array_equal(array, parts[key], err_msg=key)


def test_an_annealed_network_of_another_size_and_a_teacher(tmp_path):
    write_images(tmp_path)
    recipe = tiny_recipe(
        tmp_path,
        Phase(1, binarize="nothing", learning_rate=0.01),
        Phase(
            2, binary_optimizer="sgd", float_optimizer="sgd", teacher="previous", distillation=0.5,
            temperature=2.0,
        ),
        network="birealnet20",
        arguments={"input_quantizer": "error_decay_sign", "kernel_quantizer": "libra_sign"},
        batch_size=32,
    )  # fmt: skip
    rows = []
    training.train(recipe, tmp_path / "run", engine="native", on_epoch=rows.append)
    assert [np.isfinite(row["loss"]) for row in rows] == [True] * 3


def test_images_from_files(tmp_path):
    recipe = photo_recipe(write_photos(tmp_path))
    report = training.train(recipe, tmp_path / "run", engine="native")
    assert report["evaluation"]["n"] == 16


def test_the_loss_of_the_first_epoch_is_that_of_keras(tmp_path):
    """Real-valued, so that no sign differs after many steps."""
    rows: dict[str, list[Any]] = {"native": [], "keras": []}
    recipe = tiny_recipe(tmp_path, Phase(1, binarize="nothing", learning_rate=1e-3))
    for engine, found in rows.items():
        training.train(recipe, tmp_path / engine, engine=engine, on_epoch=found.append)
    for name in ("loss", "top1", "val_loss", "val_top1", "learning_rate"):
        assert rows["native"][0][name] == pytest.approx(rows["keras"][0][name], abs=2e-4), name


@pytest.mark.long
def test_birealnet20_learns_as_with_keras(tmp_path):
    """The curves differ no more than those of two seeds."""
    recipe = training.recipe("birealnet20.cifar10")
    curves = []
    for engine, seed in (("native", 0), ("keras", 0), ("keras", 1)):
        changed = dataclasses.replace(
            recipe, seed=seed, precision="float32", phases=(Phase(2, learning_rate=3e-3),)
        )
        rows: list[Any] = []
        training.train(changed, tmp_path / f"{engine}{seed}", engine=engine, on_epoch=rows.append)
        curves.append([row["loss"] for row in rows])
    native, keras, other = curves
    # Two draws of a seed's spread: three times their distance, and 0.02 if they happen to meet.
    for ours, theirs, also in zip(native, keras, other, strict=True):
        assert abs(ours - theirs) < 3 * abs(theirs - also) + 0.02
