"""What is published is a network of the zoo like any other; what may not be is refused."""

from __future__ import annotations

import json

import jsonschema
import keras
import numpy as np
import pytest

import bnnzoo
from bnnzoo import manifest
from bnnzoo.cli.main import main
from bnnzoo.errors import ArgumentError, BnnZooError
from bnnzoo.formats import packed
from bnnzoo.publishing import destination, publish
from bnnzoo.publishing.golden import log_softmax
from tests.publishing.conftest import RECIPE, ROOT, contents, edit_json

SCHEMA = json.loads((ROOT / "weights_manifest.schema.json").read_text())
URL = "https://example.org/mlp.safetensors"


@pytest.fixture
def published(tree, finished, quick):
    return publish(finished, note="Bands, no digits.", hardware="a test")


def evaluated(capsys, command):
    assert main([*command.split()[1:], "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_what_is_published_is_a_network_of_the_zoo(published, tree, finished, images, capsys):
    record = manifest.load().weights[RECIPE]
    assert record == published.record
    jsonschema.validate(json.loads((tree / "weights_manifest.json").read_text()), SCHEMA)
    assert (record.default, record.labels, record.licence) == (True, "mnist", "Apache-2.0")
    assert (dict(record.arguments), record.recipe) == ({"width": 16}, RECIPE)
    assert record.settings == {"epochs": 2, "batch_size": 16, "arguments.width": 16}
    assert (record.training.epochs, record.training.hardware) == (2, "a test")

    runtimes = [evaluated(capsys, metric.command) for metric in record.metrics]
    assert [found["runtime"] for found in runtimes] == ["keras", "packed"]
    for found, metric in zip(runtimes, record.metrics, strict=True):
        assert (found["n"], found["top1"], found["top5"]) == (96, metric.top1, metric.top5)
        assert found["versions"] == dict(metric.versions)
        assert metric.versions["machine"]

    file = tree / "bnnzoo" / record.files[0].path
    info = packed.read(file)[1]
    assert (info.tag, info.licence) == ("mnist", "Apache-2.0")
    assert info.architecture["arguments"]["width"] == 16 and info.keras_config is None
    log = tree / "bnnzoo" / record.log
    assert log.read_text() == (finished / "log.csv").read_text()
    assert len(log.read_text().splitlines()) == record.training.epochs + 1


def test_latent_weights_are_what_load_then_takes(tree, finished, monkeypatch):
    found = publish(finished, latent=True)
    full, packed_file = (tree / "bnnzoo" / file.path for file in found.record.files)
    assert (full.name, packed_file.name) == (f"{RECIPE}.weights.h5", f"{RECIPE}.safetensors")
    jsonschema.validate(json.loads((tree / "weights_manifest.json").read_text()), SCHEMA)

    trained = keras.models.load_model(finished / "model.keras")
    loaded = bnnzoo.load(RECIPE, pretrained=True)
    assert loaded.model_spec.weights_sha256 == found.record.file("full").sha256
    for ours, theirs in zip(loaded.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(ours >= 0, theirs >= 0)
        # Half a step of float16 for kernels, which are below 2 in magnitude; all else is kept.
        np.testing.assert_allclose(ours, theirs, atol=2**-11 if ours.ndim > 1 else 0, rtol=0)

    size = found.record.file("full").bytes
    monkeypatch.setattr(destination, "MAX_BYTES", size - 1)
    with pytest.raises(ArgumentError, match=f"got {size:,}. Give --out FOLDER"):
        publish(finished, latent=True, force=True)
    publish(finished, force=True)
    assert packed_file.exists() and not full.exists(), "what the record has no more is removed"


def test_golden_logits_are_those_of_the_run(published, tree, finished):
    golden = published.record.golden
    trained = keras.models.load_model(finished / "model.keras")
    images = [image for image, _, _ in bnnzoo.data.open_source(golden["dataset"])]
    x = trained.model_spec.preprocess(images[: golden["first"]])
    ours = log_softmax(np.array(golden["logits"]))
    np.testing.assert_allclose(ours, np.log(trained.predict(x, verbose=0)), atol=1e-3)
    assert 0.001 <= golden["tolerance"] <= 0.1


def test_a_dry_run_writes_nothing(tree, finished, quick):
    before = contents(tree)
    found = publish(finished, dry_run=True)
    assert found.files == () and found.record.golden
    assert contents(tree) == before


def test_a_variant_is_a_tag_beside_the_default(tree, run, quick):
    edit_json(run / "recipe.json", lambda value: value.update(name=f"{RECIPE}-bop"))
    publish(run, tag="mnist")
    found = publish(run)
    assert found.record.name == "binarynet_mlp.mnist_bop"
    assert found.record.recipe == f"{RECIPE}-bop"
    assert found.record.settings["binary_optimizer"] == "latent"
    assert not found.record.default
    publish(run, default=True, force=True)
    names = {r.name: r.default for r in manifest.load().tags("binarynet_mlp")}
    assert names == {"binarynet_mlp.mnist_bop": True, "binarynet_mlp.mnist": False}


def test_weights_of_the_same_name_are_replaced_when_forced(tree, finished, quick):
    publish(finished)
    edit_json(tree / "weights_manifest.json", old_file)
    (tree / "bnnzoo" / "pretrained" / "old.h5").touch()
    with pytest.raises(ArgumentError, match=r"already in the manifest. Replace it with --force"):
        publish(finished)
    assert publish(finished, force=True).record.default, "it stays the default"
    assert not (tree / "bnnzoo" / "pretrained" / "old.h5").exists()


def old_file(value):
    """Gives a record another file, as weights of an earlier run had."""
    old = {"role": "full", "path": "pretrained/old.h5", "sha256": "0" * 64, "bytes": 1}
    value["weights"][RECIPE]["files"].append({**old, "format": "keras_h5"})


def test_a_large_file_goes_to_a_folder_and_a_url(tree, finished, tmp_path, quick, monkeypatch):
    monkeypatch.setattr(destination, "MAX_BYTES", 1000)
    with pytest.raises(ArgumentError, match=r"at most 1,000 bytes, got .*Give --out FOLDER"):
        publish(finished)
    (tmp_path / "out").mkdir()
    found = publish(finished, out=tmp_path / "out", url=URL)
    assert found.record.files[0].url == (URL,) and found.record.files[0].path is None
    assert (tmp_path / "out" / f"{RECIPE}.safetensors").stat().st_size == found.record.files[
        0
    ].bytes
    assert [p.name for p in (tree / "bnnzoo" / "pretrained").iterdir()] == [f"{RECIPE}.log.csv"]
    there = destination.find_destination(URL, tmp_path / "out")
    assert there.file(RECIPE, "full", b"").url == ("https://example.org/mlp.weights.h5",)


def test_the_name_that_is_taken_is_that_of_the_network(tree, run, quick):
    """A recipe may call its network by an alias, or start from another one."""
    publish(run)
    edit_json(run / "recipe.json", lambda value: value.update(network="birealnet"))
    with pytest.raises(ArgumentError, match=f"{RECIPE} is already in the manifest"):
        publish(run)


def test_nothing_is_left_of_what_cannot_be_written(tree, finished, quick):
    (tree / "bnnzoo" / "pretrained").rmdir()
    before = contents(tree)
    with pytest.raises(BnnZooError, match=r"cannot be written: No such file"):
        publish(finished)
    assert contents(tree) == before


def test_the_file_that_cannot_be_written_is_named(tree, finished, quick):
    log = tree / "bnnzoo" / "pretrained" / f"{RECIPE}.log.csv"
    log.mkdir()
    with pytest.raises(BnnZooError, match=rf"^{log} cannot be written: Is a directory"):
        publish(finished)


WRONG_ARGUMENTS = {
    "tag": ({"tag": "Mnist-2"}, r"--tag must be lower-case .* got 'Mnist-2'"),
    "empty_tag": ({"tag": ""}, r"--tag must be lower-case"),
    "dtype": ({"weights_dtype": "float8"}, r"weights_dtype must be one of .* got 'float8'"),
    "url_alone": ({"url": URL}, r"--out and --url must be given together"),
    "other_url": ({"url": "http://x.org/a.safetensors", "out": "."}, r"--url must be https"),
    "other_file": ({"url": "https://x.org/a.h5", "out": "."}, r"end in \.safetensors"),
    "no_folder": ({"url": URL, "out": "/no/folder"}, r"--out must be a folder that exists"),
}


@pytest.mark.parametrize("name", WRONG_ARGUMENTS)
def test_a_wrong_argument_is_told_before_anything_is_measured(name, tree, finished):
    options, message = WRONG_ARGUMENTS[name]
    with pytest.raises(ArgumentError, match=message):
        publish(finished, **options)


def test_an_installed_package_has_no_place_for_weights(tree, finished):
    (tree / "pyproject.toml").unlink()
    with pytest.raises(ArgumentError, match=r"in a source tree of bnnzoo.*pip install -e"):
        publish(finished)
