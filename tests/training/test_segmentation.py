"""Networks for segmentation are trained on real photos with masks, and used to the end."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import bnnzoo
from bnnzoo.cli.main import main
from bnnzoo.data import open_source
from bnnzoo.data.masks import read_mask
from bnnzoo.errors import ArgumentError, DataError
from bnnzoo.training import RECIPES
from bnnzoo.training.heads import backbone_layers
from bnnzoo.training.images.run_data import open_data
from bnnzoo.training.networks import NetworkMaker, open_start
from bnnzoo.training.recipes.settings import both_splits
from tests.training.photo_composites import CLASSES, write_composites

SHIPPED = "binarynet.fashion_mnist_small"
RECIPE = dataclasses.replace(
    RECIPES["birealnet20.masks"],
    network="binarynet",
    start_from=SHIPPED,
    preprocessing="scale_pm1",
)


def test_a_head_goes_on_a_trained_network():
    start = open_start(RECIPE)
    maker = NetworkMaker(RECIPE, (28, 28, 1), 2, CLASSES, start, "segmentation")
    network = maker.network(0)
    assert network.output_shape == (None, 28, 28, 2)
    spec = network.model_spec
    assert (spec.name, spec.task, spec.labels) == ("binarynet", "segmentation", CLASSES)
    backbone = backbone_layers(network)
    assert sum(layer.name.endswith("_bn") for layer in backbone) >= 5
    for layer in backbone:
        weights = start.get_layer(layer.name).get_weights()
        for ours, theirs in zip(layer.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_second_head_is_refused(tmp_path):
    recipe = dataclasses.replace(RECIPE, head="aspp")
    start = open_start(recipe)
    start.model_spec = dataclasses.replace(start.model_spec, task="segmentation")
    maker = NetworkMaker(recipe, (28, 28, 1), 2, None, start, "segmentation")
    with pytest.raises(ArgumentError, match="head must be None for binarynet.fashion_mnist_small"):
        maker.network(0)


def test_both_splits_must_have_masks(tmp_path):
    train, _ = both_splits(write_composites(tmp_path, 16, 4, 2))
    recipe = dataclasses.replace(
        RECIPES["birealnet20.masks"], data=train, test_data="sample:fashion_mnist"
    )
    with pytest.raises(DataError, match="must both have masks, or labels"):
        open_data(recipe, None)


def trained(out: Path, data: str, *settings: str) -> dict[str, Any]:
    """Runs the recipe for a CPU on small images, and returns the report."""
    fixed = ("epochs=20", "preprocessing=scale_pm1", "augmentation.min_area=1")
    options = [part for setting in (*fixed, *settings) for part in ("--set", setting)]
    assert main(["train", "birealnet20.masks", "--data", data, "--out", str(out), *options]) == 0
    return dict(json.loads((out / "report.json").read_text())["evaluation"])


@pytest.mark.long
def test_a_binary_network_learns_what_random_features_do_not_show(tmp_path, capsys):
    """From training to a packed file and its masks, on composites of the photos of scikit-learn.

    The baseline is the same head in float on the frozen random features of the real-valued twin.
    """
    data = write_composites(tmp_path, side=32, train=192, test=96)
    _, test = both_splits(data)
    measured = trained(tmp_path / "binary", data)
    frozen = trained(
        tmp_path / "frozen", data, "phase1.binarize=nothing", "phase1.freeze_backbone=true"
    )
    assert measured["mean_iou"] > frozen["mean_iou"] + 3

    model, packed = tmp_path / "binary" / "model.keras", tmp_path / "model.safetensors"
    assert main(["convert", str(model), str(packed), "--data", test]) == 0
    assert "mean IoU" in capsys.readouterr().out
    again = bnnzoo.evaluate(packed, test)
    # A sum near zero may have another sign in the runtime.
    assert again.mean_iou == pytest.approx(measured["mean_iou"], abs=0.2)
    assert again.class_names == CLASSES

    source = open_source(test)
    images = [str(Path(test[len("folder:") :].split(",")[0]) / item.id) for item in source.items]
    assert main(["predict", str(packed), *images, "--out", str(tmp_path / "found")]) == 0
    hits = [
        (read_mask(tmp_path / "found" / item.id) == item.mask()).mean() for item in source.items
    ]
    assert 100 * np.mean(hits) == pytest.approx(again.pixel_accuracy, abs=1e-6)
    with Image.open(tmp_path / "found" / source.items[0].id) as mask:
        assert mask.mode == "P" and {colour for _, colour in mask.convert("RGB").getcolors()} <= {
            (0, 0, 0),
            (128, 0, 0),
        }
