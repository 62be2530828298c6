"""A recipe survives JSON, and every value that cannot be used is named before training begins."""

from __future__ import annotations

import dataclasses
import json

import pytest

from bnnzoo.errors import ArgumentError
from bnnzoo.training import Augmentation, Phase, Recipe
from bnnzoo.training.recipes.schema import check

RECIPE = Recipe(
    name="r",
    network="binarynet",
    data="a.npz:train",
    test_data="a.npz:test",
    phases=(
        Phase(epochs=2, binarize="nothing"),
        Phase(
            epochs=3,
            teacher="previous",
            distillation=0.5,
            schedule="steps",
            drops=((1, 0.1), (2, 0.01)),
        ),
    ),
    arguments={"width": 8},
    augmentation=Augmentation(pad=2, flip=True),
)

# Field of a recipe or of its last phase -> a value that it refuses, and what the message says.
WRONG = {
    "precision": ("float16", "precision must be one of float32, mixed_bfloat16, got 'float16'"),
    "real_activation": ("gelu", "real_activation must be one of hard_tanh, relu"),
    "pad_values": (2, "pad_values must be one of -1, 0, 1, got 2"),
    "batch_size": (0, "batch_size must be an integer of at least 1, got 0"),
    "held_out": (-1, "held_out must be an integer of at least 0"),
    "seed": (-1, "seed must be an integer of at least 0"),
    "batch_norm_momentum": (1.0, "batch_norm_momentum must be from 0 to below 1, got 1.0"),
    "clip_value": (float("inf"), "clip_value must be positive and finite, got inf"),
    "augmentation": (Augmentation(pad=-1), "augmentation.pad must be an integer of at least 0"),
    "images": ("disk", "images must be one of auto, memory, files, got 'disk'"),
    "phases": ((), "phases must be one or more"),
    "drops": (((2, 0.1), (1, 0.01)), "drops must be epochs in order with shares from 0 to 1"),
    "epsilon": (-1.0, "epsilon must be from 0 to 1"),
    "float_optimizer": ("bop", "float_optimizer must be one of adam, sgd, got 'bop'"),
    "float_learning_rate": (-1.0, "float_learning_rate must be at least 0"),
    "epochs": (0, "epochs must be an integer of at least 1"),
    "binarize": ("weights", "binarize must be one of nothing, activations, everything"),
    "schedule": ("cosin", "Did you mean 'cosine'?"),
    "binary_optimizer": ("adam", "binary_optimizer must be one of latent, sgd, bop"),
    "learning_rate": (-1.0, "learning_rate must be at least 0, got -1.0"),
    "warmup_epochs": (-1.0, "warmup_epochs must be at least 0"),
    "weight_decay": (2.0, "weight_decay must be from 0 to 1"),
    "label_smoothing": (1.5, "label_smoothing must be from 0 to 1"),
    "bop_gamma": (2.0, "bop_gamma must be from 0 to 1"),
    "bop_threshold": (-1.0, "bop_threshold must be at least 0"),
    "distillation": (1.5, "distillation must be from 0 to 1"),
    "attention": (-0.5, "attention must be at least 0"),
    "temperature": (0.0, "temperature must be positive"),
}


def test_json_keeps_every_value():
    assert Recipe.from_dict(json.loads(json.dumps(RECIPE.to_dict()))) == RECIPE
    assert RECIPE.epochs == 5
    assert check(RECIPE) is RECIPE


@pytest.mark.parametrize("field", WRONG)
def test_a_wrong_value_is_named(field):
    value, message = WRONG[field]
    if field in {f.name for f in dataclasses.fields(Phase)}:
        last = dataclasses.replace(RECIPE.phases[1], **{field: value})
        changed = dataclasses.replace(RECIPE, phases=(RECIPE.phases[0], last))
    else:
        changed = dataclasses.replace(RECIPE, **{field: value})
    with pytest.raises(ArgumentError, match=message):
        check(changed)


def test_an_infinite_rate_is_no_rate():
    endless = dataclasses.replace(RECIPE.phases[0], learning_rate=float("inf"))
    with pytest.raises(ArgumentError, match="learning_rate must be finite, got inf"):
        check(dataclasses.replace(RECIPE, phases=(endless,)))


def test_a_seed_beyond_numpys_is_named():
    check(dataclasses.replace(RECIPE, seed=2**32 - 1))
    with pytest.raises(ArgumentError, match=r"seed must be below 2\*\*32"):
        check(dataclasses.replace(RECIPE, seed=2**32))


CONTRADICTIONS = {
    "steps_without_drops": (Phase(epochs=1, schedule="steps"), "drops must be given with schedule"),
    "sgd_of_real_kernels": (
        Phase(epochs=1, binarize="nothing", float_optimizer="sgd"),
        "binarize must be 'everything' with two optimizers",
    ),
    "no_teacher": (Phase(epochs=1, distillation=0.5), "teacher must be given"),
    "no_previous": (
        Phase(epochs=1, teacher="previous", distillation=0.5),
        "must not be 'previous' in the first",
    ),
    "nothing_to_learn_from_a_teacher": (
        Phase(epochs=1, teacher="birealnet18.larq_in1k"),
        "distillation or attention must be above 0 with teacher='birealnet18.larq_in1k'",
    ),
    "bop_of_real_kernels": (
        Phase(epochs=1, binarize="activations", binary_optimizer="bop"),
        "binarize must be 'everything' with Bop",
    ),
}


@pytest.mark.parametrize("min_area", [0.0, -1.0, 1.5])
def test_a_wrong_share_is_named(min_area):
    changed = dataclasses.replace(RECIPE, augmentation=Augmentation(min_area=min_area))
    with pytest.raises(ArgumentError, match="augmentation.min_area must be above 0, up to 1"):
        check(changed)


def test_random_parts_of_images_in_memory_are_refused():
    changed = dataclasses.replace(RECIPE, augmentation=Augmentation(min_area=0.08), images="memory")
    with pytest.raises(ArgumentError, match="images must be files or auto with .*min_area=0.08"):
        check(changed)


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_phase_that_contradicts_itself_is_refused(name):
    phase, message = CONTRADICTIONS[name]
    with pytest.raises(ArgumentError, match=message):
        check(dataclasses.replace(RECIPE, phases=(phase,)))
