"""Every recipe names what exists, and trains on two epochs of a small set."""

from __future__ import annotations

import dataclasses
import importlib.util

import keras
import numpy as np
import pytest

from bnnzoo import registry, training
from bnnzoo.data import preprocessing
from bnnzoo.data.sources import check_source
from bnnzoo.errors import ArgumentError
from bnnzoo.training import RECIPES, Augmentation, Recipe
from bnnzoo.training.networks import NetworkMaker
from bnnzoo.training.optimizers import make_optimizer
from bnnzoo.training.recipes.schema import check
from tests.architectures.models import swept
from tests.training.tiny import write_photos

IMAGENET = [name for name in RECIPES if ".imagenet2012" in name]
MASKS = [name for name in RECIPES if name.endswith(".masks")]
SMALL = [name for name in RECIPES if name not in (*IMAGENET, *MASKS)]
SHAPES = {"mnist": (28, 28, 1), "fashion_mnist": (28, 28, 1), "cifar10": (32, 32, 3)}


def data_name(recipe: Recipe) -> str:
    return recipe.data.split(":")[1]


@pytest.mark.parametrize("name", RECIPES)
def test_what_a_recipe_names_exists(name):
    recipe = check(RECIPES[name])
    assert recipe.name == name
    assert registry.resolve(recipe.network).architecture == recipe.network
    if name in SMALL or (name in IMAGENET and importlib.util.find_spec("tensorflow_datasets")):
        check_source(recipe.data)
        check_source(recipe.test_data)
    assert recipe.summary
    last = recipe.phases[-1]
    assert last.binarize == "everything", "what is trained must be binary in the end"


@pytest.mark.parametrize("name", SMALL)
def test_the_networks_of_every_phase_are_built(name):
    recipe = RECIPES[name]
    maker = NetworkMaker(recipe, SHAPES[data_name(recipe)], 10, None)
    networks = [maker.network(index) for index in range(len(recipe.phases))]
    assert networks[-1].output_shape == (None, 10)
    assert keras.config.dtype_policy().name == "float32"
    assert networks[0].layers[-2].compute_dtype == recipe.precision.removeprefix("mixed_")


@pytest.mark.parametrize("name", swept(MASKS, ["birealnet20.masks"]))
def test_recipes_for_masks_make_networks_for_segmentation(name):
    recipe = RECIPES[name]
    shape = (*preprocessing.get(recipe.preprocessing).size, 3)
    with pytest.raises(ArgumentError, match="must be a network for classification"):
        NetworkMaker(recipe, shape, 4, None).network(0)
    network = NetworkMaker(recipe, shape, 4, None, task="segmentation").network(0)
    assert network.output_shape == (None, *shape[:2], 4)
    assert network.model_spec.task == "segmentation"
    assert [phase.schedule for phase in recipe.phases] == ["poly"]


def larq_quicknet(epoch):
    rise = epoch / 5
    return 1e-2 * (rise if epoch < 5 else (1 + np.cos(np.pi * (epoch - 5) / 595)) / 2)


def larq_steps(peak, factor, *epochs):
    return lambda epoch: peak * factor ** sum(epoch >= drop for drop in epochs)


def larq_xnornet(epoch):
    shares = (1, 0.5, 0.1, 0.1 * 0.5, 0.01, 0.01 * 0.5, 0.01 * 0.1, 0.001 * 0.1)
    return 1e-3 * shares[sum(epoch >= drop for drop in (19, 30, 44, 53, 66, 76, 86))]


def larq_dorefanet(epoch):
    if epoch < 82:
        return 2e-4 * 0.2 ** sum(epoch >= drop for drop in (60, 75))
    return 2e-4 * 0.2 * 0.2 * 0.1 ** ((epoch - 82) // 2 + 1)


# Network -> batch, epochs and learning rate by epoch in larq_zoo/training (2.3.0).
LARQ = {
    "birealnet18": (512, 300, lambda epoch: 5e-3 * (1 - epoch / 300)),
    "resnet_e18": (1024, 120, larq_steps(4e-3, 0.3, 70, 90, 110)),
    "binary_densenet28": (256, 120, larq_steps(4e-3, 0.1, 100, 110)),
    "binary_densenet37": (192, 120, larq_steps(4e-3, 0.1, 100, 110)),
    "binary_densenet37_dilated": (256, 80, larq_steps(4e-3, 0.1, 60, 70)),
    "binary_densenet45": (384, 125, larq_steps(8e-3, 0.1, 80, 100)),
    "quicknet_small": (2048, 600, larq_quicknet),
    "quicknet": (2048, 600, larq_quicknet),
    "quicknet_large": (2048, 600, larq_quicknet),
    "xnornet": (1200, 100, larq_xnornet),
    "binary_alexnet": (512, 150, lambda epoch: 1e-2 * 0.5 ** (epoch // 10)),
    "dorefanet": (256, 90, larq_dorefanet),
}


@pytest.mark.parametrize("name", [f"{network}.imagenet2012" for network in LARQ])
def test_imagenet_is_trained_as_larq_zoo_trains(name):
    recipe = RECIPES[name]
    batch_size, epochs, learning_rate = LARQ[recipe.network]
    (phase,) = recipe.phases
    assert (recipe.batch_size, recipe.epochs) == (batch_size, epochs)
    assert recipe.augmentation == Augmentation(flip=True, min_area=0.08)
    assert recipe.batch_norm_momentum is None
    optimizer = make_optimizer(phase, None, steps_per_epoch=100)
    schedules = [optimizer._learning_rate]
    if recipe.network.startswith("quicknet"):
        schedules = [case.optimizer._learning_rate for case in optimizer.cases]
    peaks = [1] if len(schedules) == 1 else [1, 10]  # SGD has 0.1
    for schedule, peak in zip(schedules, peaks, strict=True):
        for epoch in {*range(0, epochs, 7), epochs - 1, *(drop for drop, _ in phase.drops)}:
            found = float(keras.ops.convert_to_numpy(schedule(100 * epoch)))
            # A rise begins at 1/500 of the peak here, at 0 there.
            assert found == pytest.approx(peak * learning_rate(epoch), rel=1e-4, abs=peak * 3e-5)


@pytest.mark.parametrize("name, batch, epochs, peak, decay", [
    ("reactnet_a.imagenet2012", 256, 128, 1.25e-3, 1e-5),
    ("reactnet_resnet18.imagenet2012", 512, 128, 2.5e-3, 1e-5),
    ("reactnet_a.imagenet2012-adambnn", 256, 256, 1.25e-3, 5e-6),
])  # fmt: skip
def test_reactnet_is_trained_in_two_steps_from_soft_labels_alone(name, batch, epochs, peak, decay):
    recipe = RECIPES[name]
    assert recipe.batch_size == batch
    _, activations, everything = recipe.phases
    assert [phase.binarize for phase in recipe.phases] == ["nothing", "activations", "everything"]
    assert [phase.weight_decay for phase in recipe.phases] == [0, decay, 0]
    for phase in (activations, everything):
        assert (phase.teacher, phase.distillation) == ("first", 1.0)
        assert (phase.epochs, phase.learning_rate, phase.schedule) == (epochs, peak, "linear")


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
    return write_photos(folder)


def train_small(recipe, small_sets, folder):
    path = small_sets / f"{data_name(recipe)}.npz"
    data, test_data = f"{path}:train", f"{path}:test"
    if recipe.name in IMAGENET:
        data, test_data = str(small_sets / "train"), str(small_sets / "val")
    phases = tuple(dataclasses.replace(phase, epochs=1) for phase in recipe.phases)
    if len(phases) == 1:
        phases = (dataclasses.replace(phases[0], epochs=2),)
    small = dataclasses.replace(
        recipe, phases=phases, batch_size=16, data=data, test_data=test_data
    )
    return training.train(small, folder)


EVERY = [name for name in RECIPES if name not in MASKS]


@pytest.mark.parametrize("name", swept(EVERY, ["binarynet_mlp.mnist-bop"], rest="long"))
def test_two_epochs_of_a_small_set(name, small_sets, tmp_path):
    report = train_small(RECIPES[name], small_sets, tmp_path / "run")
    assert report["epochs"] == max(len(RECIPES[name].phases), 2)
    assert report["evaluation"]["n"] == (16 if name in IMAGENET else 32)


def test_a_wrong_name_is_told():
    with pytest.raises(ArgumentError, match=r"Did you mean 'binarynet\.cifar10'"):
        training.recipe("binarynet.cifar")
