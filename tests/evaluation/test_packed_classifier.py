"""A packed network is evaluated without Keras, and scores what it scores in Keras."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bnnzoo
from bnnzoo import manifest, runtime
from bnnzoo.cli.main import main
from bnnzoo.errors import (
    ArgumentError,
    ModelFormatError,
    UnknownModelError,
    WeightsError,
)
from bnnzoo.evaluation import evaluate
from bnnzoo.evaluation.classifiers import open_classifier

NAME = "binarynet.fashion_mnist_small"
PACKAGE = Path(bnnzoo.__file__).parent
FILE = PACKAGE / "pretrained" / f"{NAME}.safetensors"


@pytest.fixture(scope="module")
def by_name():
    return evaluate(NAME, "sample:fashion_mnist", runtime="packed")


def test_scores_what_keras_scores_to_the_image(by_name):
    on_keras = evaluate(NAME, "sample:fashion_mnist", runtime="keras")
    assert by_name.runtime == "packed"
    first = by_name.predictions.top_indices[:, 0], on_keras.predictions.top_indices[:, 0]
    np.testing.assert_array_equal(*first)
    # Losses of single images differ by the rounding of float32 sums.
    assert by_name.to_dict()["loss"] == pytest.approx(on_keras.to_dict()["loss"], rel=1e-5)


def test_says_which_file_and_what_ran_it(by_name):
    result = by_name.to_dict()
    assert (result["model"], result["tag"]) == tuple(NAME.split("."))
    record = manifest.load().weights[NAME]
    assert result["weights_sha256"] == record.file("packed").sha256
    assert result["versions"]["isa"] in bnnzoo.runtime.isas()
    assert "keras" not in result["versions"]


def test_a_file_runs_packed_unless_keras_is_asked_for():
    assert open_classifier(FILE).runtime == "packed"
    classifier = open_classifier(FILE, runtime="keras")
    images = classifier.preprocessing([np.zeros((28, 28), np.uint8)])
    np.testing.assert_allclose(classifier.run(images), open_classifier(FILE).run(images), atol=1e-5)
    assert classifier.class_names == open_classifier(FILE).class_names


def test_a_model_without_a_packed_file_is_converted_in_memory(by_name, tmp_path):
    model = bnnzoo.load(NAME, pretrained=True)
    model.save(tmp_path / "net.keras")
    for source in (model, tmp_path / "net.keras"):
        report = evaluate(source, "sample:fashion_mnist", runtime="packed")
        assert (report.runtime, report.to_dict()["versions"]["isa"]) == (
            "packed",
            runtime.isas()[0],
        )
        np.testing.assert_array_equal(
            report.predictions.top_indices, by_name.predictions.top_indices
        )


def test_a_model_with_random_weights_is_converted_in_memory():
    classifier = open_classifier("birealnet20", runtime="packed", random_weights=True)
    assert (classifier.runtime, classifier.random_weights) == ("packed", True)
    assert classifier.run(np.zeros((2, 32, 32, 3), np.float32)).shape == (2, 10)


def test_a_file_of_random_weights_says_so_in_every_report(tmp_path, capsys):
    file = tmp_path / "net.safetensors"
    bnnzoo.convert("binarynet_mlp", file, random_weights=True, check=0, preprocessing="scale_pm1")
    report = evaluate(file, "sample:fashion_mnist", limit=2)
    assert report.random_weights and report.to_dict()["random_weights"] is True
    Image.new("L", (28, 28)).save(tmp_path / "a.png")
    assert main(["predict", str(file), str(tmp_path / "a.png")]) == 0
    assert "net.safetensors has random weights" in capsys.readouterr().err
    assert main(["inspect", str(file)]) == 0
    assert "weights  random" in capsys.readouterr().out
    for command in (["inspect"], ["benchmark", "--runs", "1"]):
        assert main([*command, str(file), "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        assert result.get("info", result)["random_weights"] is True
    trained = evaluate(FILE, "sample:fashion_mnist", limit=2)
    assert trained.to_dict()["random_weights"] is False


def test_evaluates_without_importing_keras():
    code = (
        "import sys; from bnnzoo.cli.main import main\n"
        f"assert main(['evaluate', {str(FILE)!r}, '--data', 'sample:fashion_mnist', '--limit', "
        "'50', '--json']) == 0\n"
        "assert not {'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["runtime"], result["n"], result["partial"]) == ("packed", 50, True)


MISTAKES = {
    "runtime": (lambda: open_classifier(NAME, runtime="fast"), ArgumentError, "got 'fast'"),
    "name": (lambda: open_classifier("quicknt", runtime="packed"), UnknownModelError, "quicknet"),
    "missing": (lambda: open_classifier("none.safetensors"), WeightsError, "none.safetensors"),
}  # fmt: skip


@pytest.mark.parametrize(("opening", "error", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistake_is_one_clear_error(opening, error, message):
    with pytest.raises(error, match=message) as caught:
        opening()
    assert "\n" not in str(caught.value)


def test_a_broken_file_is_named(tmp_path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(FILE.read_bytes()[:-100])
    with pytest.raises(ModelFormatError, match="broken.safetensors: .* truncated"):
        open_classifier(broken)


def test_becomes_a_keras_model_of_the_zoo():
    for model in (
        bnnzoo.open_model(FILE),
        bnnzoo.load(NAME, weights=FILE),
    ):
        assert model.model_spec.name == "binarynet"
        report = evaluate(model, "sample:fashion_mnist", limit=100, preprocessing="scale_pm1")
        assert report.top1 == evaluate(FILE, "sample:fashion_mnist", limit=100).top1


def test_a_record_with_a_packed_file_alone_loads(monkeypatch):
    whole = manifest.load()
    record = whole.weights[NAME]
    packed = dataclasses.replace(record, files=(record.file("packed"),))
    weights = {**whole.weights, NAME: packed}
    monkeypatch.setattr(manifest, "load", lambda: dataclasses.replace(whole, weights=weights))
    model = bnnzoo.load(NAME, pretrained=True, num_classes=3)
    kernels = bnnzoo.nn.binary_weights(model)
    assert model.output_shape == (None, 3)
    expected = bnnzoo.nn.binary_weights(bnnzoo.open_model(FILE))
    shared = [path for path in kernels if kernels[path].values.shape == expected[path].values.shape]
    assert len(shared) == len(kernels) - 1
    for path in shared:
        np.testing.assert_array_equal(kernels[path].values, expected[path].values)


def test_another_input_than_the_file_is_an_error():
    with pytest.raises(
        WeightsError, match=r"with input \(32, 32, 3\), got binarynet with input \(28"
    ):
        bnnzoo.load("binarynet", weights=FILE)
