"""Every recipe names what exists, and trains on two epochs of a small set."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from bnnzoo import registry, training
from bnnzoo.data.sources import check_source
from bnnzoo.errors import ArgumentError
from bnnzoo.training import RECIPES, Recipe
from bnnzoo.training.networks import NetworkMaker
from bnnzoo.training.recipe import check

SHAPES = {"mnist": (28, 28, 1), "fashion_mnist": (28, 28, 1), "cifar10": (32, 32, 3)}


def data_name(recipe: Recipe) -> str:
    return recipe.data.split(":")[1]


@pytest.mark.parametrize("name", RECIPES)
def test_what_a_recipe_names_exists(name):
    recipe = check(RECIPES[name])
    assert recipe.name == name
    assert registry.resolve(recipe.network).architecture == recipe.network
    check_source(recipe.data)
    check_source(recipe.test_data)
    assert recipe.summary
    last = recipe.phases[-1]
    assert last.binarize == "everything", "what is trained must be binary in the end"


@pytest.mark.parametrize("name", RECIPES)
def test_the_networks_of_every_phase_are_built(name):
    recipe = RECIPES[name]
    maker = NetworkMaker(recipe)
    maker.set_data(SHAPES[data_name(recipe)], 10, None)
    networks = [maker.network(place) for place in range(len(recipe.phases))]
    assert networks[-1].output_shape == (None, 10)
    assert keras.config.dtype_policy().name == "float32"
    assert networks[0].layers[-2].compute_dtype == recipe.precision.removeprefix("mixed_")


@pytest.fixture(scope="module")
def small_sets(tmp_path_factory):
    """Random images in the shapes of the data sets."""
    folder = tmp_path_factory.mktemp("sets")
    rng = np.random.default_rng(1)
    for name, shape in SHAPES.items():
        arrays = {}
        for split in ("train", "test"):
            arrays[f"x_{split}"] = rng.integers(0, 256, (32, *shape)).astype(np.uint8)
            arrays[f"y_{split}"] = np.arange(32) % 10
        np.savez(folder / f"{name}.npz", **arrays)
    return folder


def train_small(recipe, small_sets, folder):
    path = small_sets / f"{data_name(recipe)}.npz"
    phases = tuple(dataclasses.replace(phase, epochs=1) for phase in recipe.phases)
    if len(phases) == 1:
        phases = (dataclasses.replace(phases[0], epochs=2),)
    small = dataclasses.replace(
        recipe, phases=phases, batch_size=16, data=f"{path}:train", test_data=f"{path}:test"
    )
    return training.train(small, folder)


QUICK = ("binarynet_mlp.mnist-distilled", "binarynet_mlp.mnist-bop")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in RECIPES],
)
def test_two_epochs_of_a_small_set(name, small_sets, tmp_path):
    report = train_small(RECIPES[name], small_sets, tmp_path / "run")
    assert report["epochs"] == 2
    assert report["evaluation"]["n"] == 32


def test_a_wrong_name_is_told():
    with pytest.raises(ArgumentError, match=r"Did you mean 'binarynet\.cifar10'"):
        training.recipe("binarynet.cifar")
