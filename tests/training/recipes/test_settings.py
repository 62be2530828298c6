"""`--set` changes the value it names, with the right type, and nothing else."""

from __future__ import annotations

import dataclasses
import json

import pytest

from bnnzoo.errors import ArgumentError
from bnnzoo.training import RECIPES
from bnnzoo.training.recipes.settings import apply_settings, changed_settings

RECIPE = RECIPES["binarynet_mlp.mnist-twin"]

# Setting -> what is read from the changed recipe, and its value.
SETTINGS = {
    "batch_size=64": (lambda r: r.batch_size, 64),
    "epochs=2": (lambda r: [p.epochs for p in r.phases], [2, 2]),
    "phase2.epochs=2": (lambda r: [p.epochs for p in r.phases], [20, 2]),
    "learning_rate=1": (lambda r: [p.learning_rate for p in r.phases], [1.0, 1.0]),
    "phase1.teacher=null": (lambda r: r.phases[0].teacher, None),
    "start_from=birealnet18.larq_in1k": (lambda r: r.start_from, "birealnet18.larq_in1k"),
    "augmentation.flip=true": (lambda r: r.augmentation.flip, True),
    "augmentation.min_area=0.25": (lambda r: r.augmentation.min_area, 0.25),
    "images=files": (lambda r: r.images, "files"),
    "epsilon=1e-5": (lambda r: [p.epsilon for p in r.phases], [1e-5, 1e-5]),
    "augmentation.pad=1": (lambda r: r.augmentation.pad, 1),
    "arguments.width=16": (lambda r: r.arguments, {"width": 16}),
    "clip_value=1.25": (lambda r: r.clip_value, 1.25),
    "batch_norm_momentum=null": (lambda r: r.batch_norm_momentum, None),
    "name=7": (lambda r: r.name, "7"),
}

MISTAKES = {
    "epochs": "--set must be key=value, got 'epochs'",
    "epoch=2": "Unknown setting 'epoch'. Did you mean 'epochs'",
    "augmentation.zoom=2": "Unknown setting 'augmentation.zoom'",
    "other.pad=2": "Unknown setting 'other.pad'",
    "phases=2": "Unknown setting 'phases'",
    "phase3.epochs=2": "phaseN must be phase1 to phase2, got 'phase3'",
    "phase².epochs=2": "phaseN must be phase1 to phase2, got 'phase²'",
    "epochs=two": "epochs must be int, got 'two'",
    "epochs=2.5": "epochs must be int, got '2.5'",
    "epochs=true": "epochs must be int, got 'true'",
    "clip_value=yes": "clip_value must be float or null, got 'yes'",
    "batch_size=0": "batch_size must be an integer of at least 1",
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_changes_its_value(setting):
    read, expected = SETTINGS[setting]
    changed = apply_settings(RECIPE, [setting])
    assert read(changed) == expected
    assert type(read(changed)) is type(expected)
    fields = [f.name for f in dataclasses.fields(RECIPE)]
    different = [f for f in fields if getattr(changed, f) != getattr(RECIPE, f)]
    assert len(different) <= 1


@pytest.mark.parametrize("setting", MISTAKES)
def test_a_mistake_is_named(setting):
    with pytest.raises(ArgumentError, match=MISTAKES[setting].replace(".", r"\.")):
        apply_settings(RECIPE, [setting])


@pytest.mark.parametrize("base", [RECIPE, RECIPES["binarynet.cifar10"]], ids=["phases", "one"])
@pytest.mark.parametrize("setting", [s for s in SETTINGS if not s.startswith(("name", "phase"))])
def test_what_was_changed_can_be_set_again(setting, base):
    changed = apply_settings(base, [setting])
    found = changed_settings(changed, base)
    again = apply_settings(base, [f"{key}={json.dumps(value)}" for key, value in found.items()])
    assert again == changed
    assert len(found) <= len(base.phases)


def test_what_was_changed_is_named_as_it_is_set():
    changed = apply_settings(RECIPE, ["phase2.epochs=2", "augmentation.pad=1", "arguments.width=8"])
    expected = {"phase2.epochs": 2, "augmentation.pad": 1, "arguments.width": 8}
    assert changed_settings(changed, RECIPE) == expected
    reworded = dataclasses.replace(RECIPE, summary="Other words.")
    assert changed_settings(reworded, RECIPE) == {}


def test_a_recipe_with_other_phases_is_another_recipe():
    fewer = dataclasses.replace(RECIPE, phases=RECIPE.phases[:1])
    with pytest.raises(ArgumentError, match=r"phases of .*-twin must be 2, got 1"):
        changed_settings(fewer, RECIPE)
