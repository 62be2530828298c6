"""A trained network learns other classes: its backbone stays, its head is new, packed ones too."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil

import keras
import numpy as np
import pytest
from keras import ops
from PIL import Image

import bnnzoo
from bnnzoo import runtime, training
from bnnzoo.cli.main import main
from bnnzoo.conversion import convert
from bnnzoo.data import open_source
from bnnzoo.errors import ArgumentError, UnknownModelError
from bnnzoo.formats import WRITTEN, packed
from bnnzoo.training.finetuning import finetuning_recipe
from bnnzoo.training.heads import backbone_layers, with_new_head
from bnnzoo.training.networks import NetworkMaker, calibrated, open_start
from bnnzoo.training.recipes.schema import Phase, check
from bnnzoo.training.recipes.settings import both_splits
from tests.training.tiny import tiny_recipe, write_images, write_photos

PRETRAINED = "binarynet.fashion_mnist_small"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with tiny images, a small trained network and its packed file."""
    folder = tmp_path_factory.mktemp("trained")
    training.train(tiny_recipe(folder), folder / "run")
    (folder / "run" / "model.keras").rename(folder / "model.keras")
    convert(folder / "model.keras", folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("num_classes", [7, 10])
def test_a_new_head_leaves_everything_else(num_classes):
    network = bnnzoo.load(PRETRAINED, pretrained=True)
    made = with_new_head(network, num_classes)
    assert made.output_shape == (None, num_classes)
    assert made.model_spec.num_classes == num_classes
    assert made.model_spec.labels is made.model_spec.weights_sha256 is made.model_spec.tag is None
    assert made.model_spec.preprocessing == "scale_pm1"
    for old, new in zip(network.layers, made.layers, strict=True):
        same = [
            old.shape == new.shape and np.array_equal(old, new)
            for old, new in zip(old.get_weights(), new.get_weights(), strict=True)
        ]
        assert all(same) or new.name.startswith("logits")
        assert not same or not all(same) or new.name != "logits"


@pytest.mark.parametrize("name", ["birealnet20", "xnornet_vgg", "binarynet", "quicknet_small"])
def test_the_backbone_ends_with_the_last_stage(name):
    network = bnnzoo.builder(name)(input_shape=(32, 32, 3), num_classes=4)
    names = [layer.name for layer in backbone_layers(network)]
    assert names[-1] == network.stages[-1]
    assert "logits" not in names
    assert with_new_head(with_spec(network), 9).output_shape == (None, 9)


def with_spec(network):
    network.model_spec = bnnzoo.load("birealnet20").model_spec
    return network


@pytest.mark.slow
def test_a_frozen_backbone_does_not_move(trained):
    recipe = finetuning_recipe(trained / "model.keras", str(trained / "tiny.npz"), epochs=0)
    assert [phase.freeze_backbone for phase in recipe.phases] == [True]
    report = training.train(recipe, trained / "frozen")
    assert report["epochs"] == 5
    before = bnnzoo.open_model(trained / "model.keras")
    after = bnnzoo.open_model(trained / "frozen" / "model.keras")
    for name in ("fc1", "fc1_bn", "fc3", "fc3_bn"):
        pairs = zip(
            before.get_layer(name).get_weights(), after.get_layer(name).get_weights(), strict=True
        )
        assert all(np.array_equal(old, new) for old, new in pairs), name
    logits = [ops.convert_to_numpy(m.get_layer("logits").kernel) for m in (before, after)]
    assert not np.array_equal(*logits)

    again = finetuning_recipe(
        trained / "frozen" / "model.keras", str(trained / "tiny.npz"), epochs=1, freeze_backbone=0
    )
    training.train(again, trained / "again")
    learnt = bnnzoo.open_model(trained / "again" / "model.keras")
    for name in ("fc1", "fc1_bn"):
        pairs = zip(
            after.get_layer(name).get_weights(), learnt.get_layer(name).get_weights(), strict=True
        )
        assert not any(np.array_equal(old, new) for old, new in pairs), name


# The first name has latent weights, the second a packed file alone.
@pytest.mark.parametrize(
    "start",
    [
        ".keras",
        *(
            pytest.param(start, marks=pytest.mark.slow)
            for start in (".safetensors", PRETRAINED, "binarynet_mlp.mnist")
        ),
    ],
)
def test_the_command_ends_with_a_model_that_converts(trained, start, tmp_path, capsys):
    source = str(trained / f"model{start}") if start.startswith(".") else start
    arguments = ["--data", str(trained / "tiny.npz"), "--out", str(tmp_path / "run")]
    options = ["--epochs", "1", "--freeze-backbone", "1", "--batch-size", "16", "--pad", "1"]
    assert main(["finetune", source, *arguments, *options]) == 0
    assert "top-1" in capsys.readouterr().out
    report = convert(tmp_path / "run" / "model.keras", tmp_path / "again.safetensors")
    assert report is not None
    measured = bnnzoo.evaluate(tmp_path / "run" / "model.keras", str(trained / "tiny.npz"))
    assert measured.n == 64


@pytest.mark.slow
def test_the_folders_names_are_kept_in_every_file(trained, tmp_path, capsys):
    images = open_source(str(trained / "tiny.npz"))
    for index, (pixels, label, _) in enumerate(images):
        for split in ("train", "test"):
            path = tmp_path / "data" / split / ("zebra", "apple")[label] / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[..., 0]).save(path)
    options = ["--epochs", "4", "--lr", "0.01", "--freeze-backbone", "0", "--batch-size", "16"]
    folders = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "run")]
    assert main(["finetune", str(trained / "model.keras"), *folders, *options]) == 0
    network = tmp_path / "run" / "model.keras"
    assert bnnzoo.open_model(network).model_spec.class_names() == ("apple", "zebra")

    for row in WRITTEN:
        convert(network, tmp_path / f"net{row.suffix}", format=row.name)
    assert b'"apple", "zebra"' in (tmp_path / "net.onnx").read_bytes()
    text = "".join(path.read_text() for path in (tmp_path / "net").rglob("*.[ch]"))
    assert text.index('"apple"') < text.index('"zebra"')
    convert(tmp_path / "net.tflite", tmp_path / "lce.safetensors")
    for name in ("net.safetensors", "lce.safetensors"):
        assert runtime.load(tmp_path / name).labels == ("apple", "zebra")
    reopened = bnnzoo.open_model(tmp_path / "net.safetensors")
    assert reopened.model_spec.class_names() == ("apple", "zebra")

    # Evaluated on the folder of one class: its images are those of zebra, not of class 0.
    shutil.rmtree(tmp_path / "data" / "test" / "apple")
    for model in (network, tmp_path / "net.safetensors"):
        report = bnnzoo.evaluate(model, tmp_path / "data" / "test")
        assert report.class_names == ("apple", "zebra")
        assert set(report.predictions.labels) == {1}
        source = open_source(tmp_path / "data" / "test")
        assert set(bnnzoo.evaluate(model, source).predictions.labels) == {1}
    capsys.readouterr()
    picture = next((tmp_path / "data" / "test" / "zebra").iterdir())
    assert main(["predict", str(tmp_path / "net.safetensors"), str(picture)]) == 0
    assert {"apple", "zebra"} <= set(capsys.readouterr().out.split())


def test_batch_norms_of_a_packed_start_have_statistics(trained, rng):
    recipe = finetuning_recipe(trained / "model.safetensors", str(trained / "tiny.npz"))
    start = open_start(recipe)
    x = rng.integers(0, 256, (32, 8, 8, 1)).astype(np.uint8)
    prepared = start.model_spec.preprocess(x)
    before = start.predict(prepared, verbose=0)
    network = calibrated(start, recipe, x)
    np.testing.assert_allclose(network.predict(prepared, verbose=0), before, atol=1e-4)
    norm = network.get_layer("fc1_bn")
    products = network.get_layer("fc1")(prepared.reshape(32, -1))
    mean = ops.convert_to_numpy(products).mean(axis=0)
    np.testing.assert_allclose(ops.convert_to_numpy(norm.moving_mean), mean, atol=1e-4)


def test_both_splits_of_images_with_masks(tmp_path):
    images, masks = tmp_path / "images", tmp_path / "masks"
    whole = f"folder:{images},{masks}"
    with pytest.raises(ArgumentError, match="must have the folders train and test, or --test-data"):
        both_splits(whole)
    assert both_splits(whole, "folder:a,b") == (whole, "folder:a,b")
    for split in ("train", "val"):
        (images / split).mkdir(parents=True)
    train, val = (f"folder:{images}/{split},{masks}/{split}" for split in ("train", "val"))
    assert both_splits(whole) == (train, val)
    assert both_splits(whole, "folder:a,b") == (train, "folder:a,b")


def test_both_splits(tmp_path):
    assert both_splits("keras:cifar10") == ("keras:cifar10:train", "keras:cifar10:test")
    assert both_splits("a.npz:train", "b") == ("a.npz:train", "b")
    with pytest.raises(ArgumentError, match="must have the folders train and test"):
        both_splits(str(tmp_path))
    assert both_splits(str(tmp_path), "t") == (str(tmp_path), "t")
    for data, base in (("keras:mnist:test", "keras:mnist"), ("a.npz:test", "a.npz")):
        with pytest.raises(ArgumentError, match=f"images to train on, got .*Give '{base}'"):
            both_splits(data)
    with pytest.raises(ArgumentError, match="sample:fashion_mnist must be given with --test-data"):
        both_splits("sample:fashion_mnist")
    assert both_splits("sample:fashion_mnist", "t") == ("sample:fashion_mnist", "t")
    (tmp_path / "train").mkdir()
    assert both_splits(str(tmp_path)) == (str(tmp_path / "train"), str(tmp_path / "test"))


def test_a_flat_folder_is_split(tmp_path):
    flat = str(tmp_path)
    assert both_splits(flat, split=0.1) == (flat, flat)
    (tmp_path / "test").mkdir()
    for arguments, got in (((flat,), flat), ((flat, "t"), "--test-data t"), (("a.npz",), "a.npz")):
        with pytest.raises(ArgumentError, match=f"folder of images that has no test .*got {got}"):
            both_splits(*arguments, split=0.1)
    with pytest.raises(ArgumentError, match="test_data must be the same as data with split=0.1"):
        check(tiny_recipe(tmp_path, split=0.1))


def test_finetuning_splits_a_folder_and_takes_settings(tmp_path, trained, capsys):
    write_photos(tmp_path)
    steps, rows = [], []
    report = training.finetune(
        trained / "model.keras", str(tmp_path / "train"), tmp_path / "run", split=0.25, epochs=1,
        freeze_backbone=0, held_out=4, settings=["batch_size=8", "augmentation.flip=true"],
        progress=steps.append, on_epoch=rows.append,
    )  # fmt: skip
    recipe = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert recipe["batch_size"] == 8 and recipe["augmentation"]["flip"] is True
    names = [f"{kind}/{i:03}.jpg" for i in range(48) for kind in [("dark", "light")[i % 2]]]
    tested = sum(
        int(hashlib.sha256(f"0/{name}".encode()).hexdigest(), 16) < 0.25 * 2**256 for name in names
    )
    assert report["evaluation"]["n"] == tested
    assert steps[-1].steps == (48 - tested - 4) // 8
    assert [row["epoch"] for row in rows] == [1]
    assert "epoch   1  loss" in capsys.readouterr().err  # without being asked for


def test_no_epochs_are_refused():
    with pytest.raises(
        ArgumentError, match="epochs or freeze_backbone must be positive, got 0 for"
    ):
        finetuning_recipe("binarynet_mlp.mnist", "keras:mnist", epochs=0, freeze_backbone=0)


def test_another_preprocessing_is_refused(tmp_path):
    write_images(tmp_path)
    recipe = tiny_recipe(tmp_path, start_from="binarynet_mlp.mnist", preprocessing="scale_01")
    with pytest.raises(ArgumentError, match="preprocessing must be scale_pm1, that of binarynet"):
        training.train(recipe, tmp_path / "run")


def test_another_network_is_refused(tmp_path):
    recipe = tiny_recipe(tmp_path, start_from=PRETRAINED)
    with pytest.raises(ArgumentError, match="network must be binarynet, .*got 'binarynet_mlp'"):
        training.train(recipe, tmp_path / "run")


def test_a_plain_keras_model_is_no_start_and_no_teacher(tmp_path):
    plain = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    plain.save(tmp_path / "plain.keras")
    path = str(tmp_path / "plain.keras")
    for recipe in (
        tiny_recipe(tmp_path, start_from=path),
        tiny_recipe(tmp_path, Phase(epochs=1, teacher=path, distillation=0.5)),
    ):
        with pytest.raises(ArgumentError, match=r"plain.keras'? does not say how its images are"):
            training.train(recipe, tmp_path / "run")


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf")])
def test_a_learning_rate_that_is_none_is_refused(rate):
    with pytest.raises(
        ArgumentError, match=f"learning_rate must be finite and at least 0, got {rate}"
    ):
        finetuning_recipe(PRETRAINED, "keras:mnist", learning_rate=rate)


def test_a_network_that_the_zoo_does_not_know_is_a_start(trained, tmp_path):
    """What another tool made: a packed file without a Keras model, of any name."""
    file = packed.open_file(trained / "model.safetensors")
    info = dataclasses.replace(file.info, name="theirs", architecture=None, keras_config=None)
    path = tmp_path / "theirs.safetensors"
    path.write_bytes(packed.to_bytes(file.graph, info))
    recipe = finetuning_recipe(path, str(trained / "tiny.npz"))
    network = NetworkMaker(recipe, (8, 8, 1), 3, None, open_start(recipe)).network(0)
    assert network.output_shape == (None, 3)
    assert (network.model_spec.name, recipe.network) == ("theirs", "theirs")
    with pytest.raises(UnknownModelError, match="Unknown model 'theirs'"):
        NetworkMaker(dataclasses.replace(recipe, start_from=None), (8, 8, 1), 3, None)
