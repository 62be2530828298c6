"""`open_model`: what it makes of a file, and what it says of one that is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import bnnzoo
from bnnzoo import nn
from bnnzoo.errors import ArgumentError, UnknownModelError, WeightsError
from bnnzoo.opening import open_model
from tests.small_zoo import SHAPE

OPEN_THEN_LOAD = """
import sys
import bnnzoo
print(bnnzoo.open_model(sys.argv[1]).model_spec.tag)
import keras
print(keras.models.load_model(sys.argv[1]).model_spec.tag)
"""


def test_spec_and_stages_survive_a_saved_file(trained, tmp_path, rng):
    model = bnnzoo.load("binarynet", pretrained=True)
    model.save(tmp_path / "net.keras")
    again = open_model(tmp_path / "net.keras")
    assert again.model_spec == model.model_spec
    assert again.feature_info == model.feature_info
    x = rng.standard_normal((2, *SHAPE)).astype("float32")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


def test_a_copy_of_the_config_keeps_what_a_clone_loses(trained):
    model = bnnzoo.load("binarynet", pretrained=True)
    copy = type(model).from_config(model.get_config())
    assert copy.model_spec == model.model_spec
    assert copy.feature_info == model.feature_info
    assert keras.models.clone_model(model).model_spec is None


def test_open_model_imports_what_a_file_needs(trained, tmp_path):
    """In a fresh process, and from then on for Keras's own `load_model` too."""
    bnnzoo.load("binarynet", pretrained=True).save(tmp_path / "net.keras")
    command = [sys.executable, "-c", OPEN_THEN_LOAD, tmp_path / "net.keras"]
    root = Path(bnnzoo.__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=300)
    assert done.stdout.split() == ["small", "small"], done.stderr


def test_open_model_names_what_is_wrong_with_a_file(tmp_path):
    with pytest.raises(WeightsError, match=r"There is no file none.keras"):
        open_model("none.keras")
    (tmp_path / "broken.keras").write_bytes(b"no zip")
    with pytest.raises(
        WeightsError, match="broken.keras cannot be opened: it is not a zip archive"
    ):
        open_model(tmp_path / "broken.keras")
    keras.Sequential([keras.Input((40,)), keras.layers.Dense(40)]).save(tmp_path / "flipped.keras")
    data = bytearray((tmp_path / "flipped.keras").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "flipped.keras").write_bytes(data)
    with pytest.raises(WeightsError, match=r"flipped.keras cannot be opened: Bad CRC-32"):
        open_model(tmp_path / "flipped.keras")
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(WeightsError, match=r"folder.keras is a folder. Pass the path of a file"):
        open_model(tmp_path / "folder.keras")
    for name in ("net.weights.h5", "folder/net", "./net", "net.tflite", "net.onnx"):
        with pytest.raises(ArgumentError, match=f".keras, .h5 or .safetensors, got {name}"):
            open_model(name)
    with pytest.raises(ArgumentError, match="must be None for the file net.keras"):
        open_model("net.keras", num_classes=3)


OF_ANOTHER_KIND = {
    "net.tflite": r"Convert it first: bnnzoo convert NAME\.tflite NAME\.safetensors",
    "net.weights.h5": r"It contains only weights: load them with bnnzoo\.load\(NAME, weights=",
    "net.onnx": "Convert it first: bnnzoo convert NAME.onnx NAME.safetensors",
}


@pytest.mark.parametrize("name", OF_ANOTHER_KIND)
def test_a_file_of_another_kind_says_what_to_do(name):
    with pytest.raises(ArgumentError, match=rf"got {name}\. {OF_ANOTHER_KIND[name]}"):
        open_model(name)


def test_a_folder_is_no_unknown_model_and_hides_none(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "binarynet"):
        Path(name).mkdir()
    with pytest.raises(ArgumentError, match=r".keras, .h5 or .safetensors, got photos"):
        open_model("photos")
    assert open_model("binarynet").model_spec.name == "binarynet"
    for name in ("net.one", "", "a" * 300):
        with pytest.raises(UnknownModelError, match=f"Unknown model '{name}'"):
            open_model(name)


def test_open_model_runs_no_code_of_a_file(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Lambda(lambda x: x + 1)(inputs))
    model.save(tmp_path / "lambda.keras")
    with pytest.raises(
        WeightsError, match=r"lambda.keras cannot be opened: .*layers.Lambda, which may run code"
    ):
        open_model(tmp_path / "lambda.keras")


def test_open_model_names_what_is_not_registered(tmp_path):
    class OwnLayer(keras.layers.Layer):
        def call(self, x):
            return x

    class OwnSign(nn.Quantizer):
        def __call__(self, x):
            return nn.SteSign()(x)

    def own_loss(y, z):
        return (y - z) ** 2

    inner = keras.Sequential([keras.Input((4,)), OwnLayer()])
    layers = {
        "class 'OwnLayer'": inner,
        "class 'OwnSign'": nn.QuantDense(2, kernel_quantizer=OwnSign()),
        "function 'own_loss'": keras.layers.ReLU(),
    }
    for what, layer in layers.items():
        model = keras.Sequential([keras.Input((4,)), layer])
        model.compile("sgd", own_loss if "loss" in what else "mse")
        model.save(tmp_path / "net.keras")
        match = f"net.keras cannot be opened: it needs the {what}, which is not registered. Import"
        with pytest.raises(WeightsError, match=match):
            open_model(tmp_path / "net.keras")
