"""Changes to a run's folder or images between two starts are reported in one line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from bnnzoo import training
from bnnzoo.errors import ArgumentError, BnnZooError
from tests.training.tiny import photo_recipe, tiny_recipe, write_photos

LAST = "checkpoints/last.npz"


class StoppedError(Exception):
    """Ends a run after an epoch."""


def stop(row: dict[str, Any]) -> None:
    raise StoppedError


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    """A folder with images and a run of one epoch."""
    folder = tmp_path_factory.mktemp("begun")
    with pytest.raises(StoppedError):
        training.train(tiny_recipe(folder), folder / "run", on_epoch=stop)
    return folder


def written(name: str, text: str) -> Callable[[Path], Any]:
    return lambda run: (run / name).write_text(text)


def with_array(name: str, value: Any) -> Callable[[Path], None]:
    def edit(run: Path) -> None:
        with np.load(run / LAST) as archive:
            arrays = dict(archive)
        np.savez(run / LAST, **{**arrays, name: np.array(value)})

    return edit


def cut(run: Path) -> None:
    (run / LAST).write_bytes((run / LAST).read_bytes()[:-100])


EDITS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "report": (written("report.json", "[1]"), r"report.json must hold a JSON object, got \[1\]"),
    "environment": (written("environment.json", "5"), "environment.json must hold a JSON list"),
    "deep": (written("environment.json", "[" * 10**5), "environment.json cannot be read"),
    "images": (written("images.json", '"x"'), "images.json must hold a JSON object"),
    "no rows": (with_array("log", "null"), "last.npz is not a checkpoint: it has no log"),
    "empty row": (with_array("log", "[{}]"), "last.npz is not a checkpoint"),
    "texts": (
        with_array("log", '[{"epoch": 1, "seconds": "x", "val_top1": 1}]'),
        "is not a checkp",
    ),
    "another epoch": (with_array("log", '[{"epoch": 7, "seconds": 1, "val_top1": 1}]'), "is no"),
    "words for weights": (with_array("network/0", "x"), "does not fit the network"),
    "objects for weights": (with_array("network/0", object()), "last.npz cannot be read"),
    "cut off": (cut, "last.npz cannot be read: "),
    "no archive": (written(LAST, "x"), "last.npz cannot be read: "),
}


@pytest.mark.parametrize("what", EDITS)
def test_an_edited_folder_is_one_line(begun, tmp_path, what):
    edit, message = EDITS[what]
    run = shutil.copytree(begun / "run", tmp_path / "run")
    edit(run)
    with pytest.raises(BnnZooError, match=message) as caught:
        training.train(tiny_recipe(begun), run, resume=True, on_epoch=stop)
    assert "\n" not in str(caught.value)


def changed(folder: Path, name: str, edit: Callable[[np.ndarray], Any]) -> None:
    with np.load(folder / "tiny.npz") as archive:
        arrays = dict(archive)
    arrays[name] = edit(arrays[name])
    np.savez(folder / "tiny.npz", **arrays)


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("x_train", lambda x: x ^ 1),
        ("y_train", lambda y: 1 - y),
        ("x_test", lambda x: x[::-1]),
    ],
)
def test_other_images_in_the_same_place_are_refused(begun, tmp_path, name, edit):
    shutil.copytree(begun, tmp_path / "moved")
    changed(tmp_path / "moved", name, edit)
    # The same recipe: its data is named by this path.
    shutil.move(begun / "tiny.npz", begun / "old.npz")
    shutil.copy(tmp_path / "moved" / "tiny.npz", begun / "tiny.npz")
    try:
        with pytest.raises(ArgumentError, match="was started with other images or labels than"):
            training.train(tiny_recipe(begun), begun / "run", resume=True)
    finally:
        shutil.move(begun / "old.npz", begun / "tiny.npz")


def rename(photo: Path) -> None:
    shutil.move(photo, photo.with_name("zzz.jpg"))


def invert(photo: Path) -> None:
    with Image.open(photo) as image:
        ImageOps.invert(image.convert("RGB")).save(photo)


@pytest.mark.parametrize("change", [rename, invert])
def test_other_files_are_refused(tmp_path, change):
    recipe = photo_recipe(write_photos(tmp_path))
    with pytest.raises(StoppedError):
        training.train(recipe, tmp_path / "run", on_epoch=stop)
    change(next((tmp_path / "train" / "dark").iterdir()))
    with pytest.raises(ArgumentError, match="was started with other images or labels than"):
        training.train(recipe, tmp_path / "run", resume=True)
