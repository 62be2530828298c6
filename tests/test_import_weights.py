"""`import_weights` and `bnnzoo import` convert a PyTorch checkpoint to a file of bnnzoo."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import load_file

import bnnzoo
from bnnzoo.checkpoints.names import NAMES
from bnnzoo.cli.main import main
from bnnzoo.errors import ArgumentError, WeightsError
from tests.checkpoints.files import GOLDENS, new_file, of_model

NAME = "adabin_resnet20"


@pytest.fixture(scope="module")
def original():
    """A network whose layers have different batch statistics."""
    model = bnnzoo.load(NAME, num_classes=7)
    rng = np.random.default_rng(3)
    for weight in model.weights:
        if "moving" in weight.path or "gamma" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return model


@pytest.fixture(scope="module")
def checkpoint(original, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "model.th"
    path.write_bytes(of_model(original, NAMES[NAME]))
    return path


def test_load_takes_a_checkpoint(original, checkpoint, rng):
    model = bnnzoo.load(NAME, weights=checkpoint, num_classes=7)
    for one, two in zip(model.weights, original.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(two))


def test_keras_weights_are_the_latent_ones(original, checkpoint, tmp_path):
    path = tmp_path / "net.weights.h5"
    report = bnnzoo.import_weights(checkpoint, NAME, path, num_classes=7)
    model = bnnzoo.load(NAME, weights=path, num_classes=7)
    for one, two in zip(model.weights, original.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(two))
    assert report.sha256 == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert (report.key, report.prefix, report.unused) == ("state_dict", "module.", ())
    assert len(report.assignments) == len(original.weights)


def test_the_command_writes_a_packed_file_and_lists_the_assignments(
    original, checkpoint, tmp_path, capsys
):
    path = tmp_path / "net.safetensors"
    options = [
        "--num-classes",
        "7",
        "--input-shape",
        "32,32,3",
        "--preprocessing",
        "mean=0.5:std=0.2",
    ]
    assert main(["import", str(checkpoint), str(path), "--as", NAME, *options]) == 0
    out = capsys.readouterr().out
    assert "layer1.0.conv1.weight" in out and "stage1_block1_unit1_conv/kernel" in out
    assert f"Assigned {len(original.weights)} tensors from its 'state_dict'" in out
    assert "without the prefix 'module.'. Unused: 0." in out
    assert hashlib.sha256(checkpoint.read_bytes()).hexdigest() in out
    expected = tmp_path / "expected.safetensors"
    bnnzoo.convert(original, expected, preprocessing="mean=0.5:std=0.2")
    found, tensors = load_file(path), load_file(expected)
    assert found.keys() == tensors.keys()
    for key, tensor in tensors.items():
        np.testing.assert_array_equal(found[key], tensor, strict=True)


def test_the_command_as_json(checkpoint, tmp_path, capsys):
    path = tmp_path / "net.weights.h5"
    arguments = ["import", str(checkpoint), str(path), "--as", NAME, "--num-classes", "7", "--json"]
    assert main(arguments) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["model"] == NAME and value["path"] == str(path)
    assert value["assignments"][0] == {
        "source": "conv1.weight",
        "shape": [16, 3, 3, 3],
        "target": "stem_conv/kernel",
        "target_shape": [3, 3, 3, 16],
    }
    assert main(arguments) == 2  # exists
    assert main([*arguments, "--force"]) == 0


@pytest.mark.parametrize(
    ("name", "out", "options", "code", "message"),
    [
        ("adabin", "x.safetensors", [], 3, "Unknown model 'adabin'"),
        (
            "quicknet",
            "x.safetensors",
            [],
            2,
            "got 'quicknet'. Known: adabin_resnet18, adabin_resnet20, ",
        ),
        (NAME, "x.h5", [], 2, r"path must end in .safetensors or .weights.h5"),
        (NAME, "x.weights.h5", ["--preprocessing", "raw"], 2, "require a .safetensors file"),
        (NAME, "no/x.weights.h5", [], 2, "does not exist"),
        (
            NAME,
            "x.weights.h5",
            [],
            4,
            r"linear.weight must have shape (10, 64), got (7, 64). Check the net",
        ),
        (NAME, "x.weights.h5", ["--key", "model_ema"], 4, "no weights under the key 'model_ema'"),
        ("adabin_resnet18", "x.weights.h5", [], 4, "it lacks fc.bias, fc.weight"),
    ],
)
def test_errors_are_one_line(name, out, options, code, message, checkpoint, tmp_path, capsys):
    arguments = ["import", str(checkpoint), str(tmp_path / out), "--as", name, *options]
    assert main(arguments) == code
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / out).exists()


def test_a_checkpoint_that_names_functions_is_refused(tmp_path):
    path = tmp_path / "net.pth"
    path.write_bytes(new_file(b"cos\nsystem\n(X\x04\0\0\0truetR"))
    with pytest.raises(
        WeightsError, match=r"it uses the name `os.system`, .* Nothing was executed. Do not trust"
    ):
        bnnzoo.import_weights(path, NAME, tmp_path / "net.weights.h5")
    with pytest.raises(WeightsError, match="It is a whole model. Save its weights in PyTorch with"):
        bnnzoo.load(NAME, weights=GOLDENS / "refused_module.pth")


def test_a_checkpoint_is_not_a_model(checkpoint):
    with pytest.raises(ArgumentError, match="Import the checkpoint first: bnnzoo import FILE --as"):
        bnnzoo.open_model(checkpoint)
