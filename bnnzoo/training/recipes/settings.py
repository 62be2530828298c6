"""Overrides values of a recipe: `epochs=2`, `augmentation.pad=2`, `arguments.width=64`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bnnzoo.data.sources import mask_folders
from bnnzoo.errors import ArgumentError, did_you_mean
from bnnzoo.training.recipes.schema import (
    Augmentation,
    Phase,
    Recipe,
    check,
    plain_fields,
    type_names,
)

__all__ = ["apply_settings", "both_splits", "changed_settings"]

# Fields that do not affect training.
_NAMES = ("name", "summary")

TEST_FOLDERS = ("test", "val", "validation")


def apply_settings(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Returns the recipe with some values replaced.

    Args:
        recipe: The recipe.
        settings: A list of `key=value`. A key is a field of the recipe; `augmentation.FIELD`;
            `arguments.NAME`, an argument of the network's builder; `phaseN.FIELD`, N from 1; or a
            field of a phase, which changes all phases.

    Raises:
        ArgumentError: A key is unknown or a value cannot be used.
    """
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ArgumentError(f"--set must be key=value, got '{setting}'. Write epochs=2.")
        recipe = _changed(recipe, key.strip(), text.strip())
    return check(recipe)


def changed_settings(recipe: Recipe, base: Recipe) -> dict[str, Any]:
    """Returns the settings that turn `base` into `recipe`, as values by key.

    Raises:
        ArgumentError: The numbers of phases differ.
    """
    if len(recipe.phases) != len(base.phases):
        raise ArgumentError(
            f"phases of {recipe.name} must be {len(base.phases)}, got {len(recipe.phases)}. The "
            "recipe of this name has changed: rename this one."
        )
    ours, theirs = _flat(recipe), _flat(base)
    return {key: value for key, value in ours.items() if theirs.get(key, _ABSENT) != value}


_ABSENT = object()


def _flat(recipe: Recipe) -> dict[str, Any]:
    """Returns every value of a recipe by its key, as JSON values."""
    fields = json.loads(json.dumps(recipe.to_dict()))
    rooms = {"arguments": fields.pop("arguments"), "augmentation": fields.pop("augmentation")}
    phases = fields.pop("phases")
    for number, phase in enumerate(phases, start=1):
        rooms["" if len(phases) == 1 else f"phase{number}"] = phase
    values = {key: value for key, value in fields.items() if key not in _NAMES}
    for room, inner in rooms.items():
        values |= {f"{room}.{key}".lstrip("."): value for key, value in inner.items()}
    return values


def both_splits(data: str, test_data: str | None = None, *, split: float = 0.0) -> tuple[str, str]:
    """Returns training and test images of `keras:NAME`, `tfds:NAME`, `FILE.npz`, or a folder.

    A folder contains `train` and one of `test`, `val` and `validation`; so do both folders of
    `folder:IMAGES,MASKS`.

    Args:
        data: The images.
        test_data: Test images, if `data` has none.
        split: The fraction of `data` to test on, if it has no test images. Both results are `data`.

    Raises:
        ArgumentError: `data` names test images; or it has none, and neither `test_data` nor `split`
            is given; or `split` is given, and there are test images.
    """
    if split:
        return _flat_folder(data, test_data), data
    masked = mask_folders(data)
    if masked is not None:
        return _masked_splits(data, masked, test_data)
    whole = data.removesuffix(":train")
    folder = Path(whole)
    base, _, part = whole.rpartition(":")
    if base and part in TEST_FOLDERS:
        raise ArgumentError(f"--data must be the images to train on, got '{data}'. Give '{base}'.")
    if whole.startswith("sample:"):
        if test_data is None:
            raise ArgumentError(f"{whole} must be given with --test-data: it has only one split.")
        return whole, test_data
    if whole.startswith("tfds:"):  # its default split is test, else validation
        return f"{whole}:train", test_data or whole
    if not folder.exists() and ":" not in whole and folder.suffix != ".npz":
        return data, test_data or data  # opening it reports that it does not exist
    if not folder.is_dir():
        return f"{whole}:train", test_data or f"{whole}:test"
    if (folder / "train").is_dir():
        return str(folder / "train"), test_data or str(folder / _test_folder(folder))
    return data, _required(data, test_data)


def _flat_folder(data: str, test_data: str | None) -> str:
    """Returns `data` after checking that it is a folder without test images."""
    has_both = any((Path(data) / name).is_dir() for name in TEST_FOLDERS)
    if test_data is not None or has_both or not Path(data).is_dir():
        got = f"--test-data {test_data}" if test_data is not None else data
        raise ArgumentError(
            f"--split must be given with a folder of images that has no test images, got {got}. "
            "Leave it out."
        )
    return data


def _masked_splits(data: str, folders: tuple[Path, Path], test_data: str | None) -> tuple[str, str]:
    images, masks = folders
    if not (images / "train").is_dir():
        return data, _required(data, test_data)
    test = _test_folder(images)
    train, usual = (f"folder:{images / split},{masks / split}" for split in ("train", test))
    return train, test_data or usual


def _test_folder(folder: Path) -> str:
    return next((name for name in TEST_FOLDERS if (folder / name).is_dir()), TEST_FOLDERS[0])


def _required(data: str, test_data: str | None) -> str:
    if test_data is None:
        raise ArgumentError(
            f"{data} must have the folders train and test, or --test-data must name the test "
            "images, or --split 0.1 take some. An accuracy on training images says nothing."
        )
    return test_data


def _changed(recipe: Recipe, key: str, text: str) -> Recipe:
    room, dot, name = key.rpartition(".")
    if room == "arguments":
        return dataclasses.replace(recipe, arguments={**recipe.arguments, name: _parsed(text)})
    if room == "augmentation":
        augmentation = _with_field(recipe.augmentation, name, key, text)
        return dataclasses.replace(recipe, augmentation=augmentation)
    if room.startswith("phase") or (not dot and key in plain_fields(Phase)):
        phases = list(recipe.phases)
        for index in _chosen(room, len(phases)):
            phases[index] = _with_field(phases[index], name, key, text)
        return dataclasses.replace(recipe, phases=tuple(phases))
    if dot:
        _refuse(key)
    changed: Recipe = _with_field(recipe, key, key, text)
    return changed


def _chosen(room: str, count: int) -> range:
    """Returns the indices of the phases that `phaseN` (or nothing) means."""
    if not room:
        return range(count)
    number = room.removeprefix("phase")
    if not (number.isascii() and number.isdigit()) or not 1 <= int(number) <= count:
        last = f" to phase{count}" if count > 1 else ", the only one"
        raise ArgumentError(f"phaseN must be phase1{last}, got '{room}'.")
    return range(int(number) - 1, int(number))


def _with_field(record: Any, name: str, key: str, text: str) -> Any:
    kinds = plain_fields(type(record))
    if name not in kinds:
        _refuse(key)
    value = _parsed(text)
    allowed = kinds[name]
    if float in allowed and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if str in allowed and value is not None and not isinstance(value, str):
        value = text
    if type(value) not in allowed:
        raise ArgumentError(
            f"{key} must be {type_names(allowed)}, got '{text}'. Correct the value."
        )
    return dataclasses.replace(record, **{name: value})


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _refuse(key: str) -> None:
    known = [
        *plain_fields(Recipe),
        *plain_fields(Phase),
        *(f"augmentation.{name}" for name in plain_fields(Augmentation)),
    ]
    hint = did_you_mean(key, known)
    raise ArgumentError(f"Unknown setting '{key}'.{hint} Available: {', '.join(known)}.")
