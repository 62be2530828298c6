"""`.keras` files: those of users open, and those of attackers neither run, read nor take memory.

Each known way around the safe mode of Keras has a file of its shape here, refused by what bnnzoo
checks itself. So the tests say the same with every version of Keras.
"""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from bnnzoo.errors import WeightsError
from bnnzoo.keras_archive import open_archive
from bnnzoo.opening import open_model


@keras.saving.register_keras_serializable(package="tests")
class Doubled(keras.layers.Layer):
    """A layer of a user's, with a variable that is made of a value."""

    def build(self, input_shape: Any) -> None:
        self.factor = self.add_weight(shape=(), initializer="ones")
        self.table = keras.Variable(np.full((2,), 2.0, "float32"), trainable=False)

    def call(self, x: Any) -> Any:
        return x * self.factor * self.table[0]


def saved(path: Path, *layers: keras.layers.Layer, compiled: bool = False) -> Path:
    model = keras.Sequential([keras.Input((4,)), *layers])
    if compiled:
        model.compile(optimizer="adam", loss="mse", metrics=["accuracy"])
        model.optimizer.build(model.trainable_variables)
    model.save(path)
    return path


def rewritten(path: Path, **members: bytes) -> Path:
    """The archive with other members; `_` in a name stands for a dot."""
    with zipfile.ZipFile(path) as archive:
        old = {name: archive.read(name) for name in archive.namelist()}
    new = {name.replace("_", "."): data for name, data in members.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**old, **new}.items():
            archive.writestr(name, data)
    return path


def with_layer(path: Path, layer: dict[str, Any]) -> Path:
    """A functional model with one layer more."""
    inputs = keras.Input((4,), name="in")
    keras.Model(inputs, keras.layers.Dense(3, name="d")(inputs)).save(path)
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    config["config"]["layers"].append({"registered_name": None, "name": "evil", **layer})
    return rewritten(path, config_json=json.dumps(config).encode())


def function(module: str, name: str) -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def calls(module: str, name: str, *args: Any) -> dict[str, Any]:
    return {**function(module, name), "inbound_nodes": [{"args": list(args), "kwargs": {}}]}


def keras_layer(name: str, **config: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": name, "config": {"name": "evil", **config}}


EXPLOITS: dict[str, tuple[dict[str, Any], str]] = {
    # CVE-2025-1550
    "any function": (
        calls("os", "system", "touch RAN"),
        "it needs the function 'system', which is not registered",
    ),
    "any class": (
        {"module": "subprocess", "class_name": "Popen", "config": {"args": ["touch", "RAN"]}},
        "it needs the class 'Popen', which is not registered",
    ),
    # CVE-2025-8747
    "a function that writes files": (
        calls("keras.utils", "get_file", "RAN", "file:///etc/hostname"),
        "keras.utils.get_file, which may run code or read files",
    ),
    "by another path": (
        calls("keras.src.utils.file_utils", "get_file", "RAN"),
        "keras.src.utils.file_utils.get_file, which may",
    ),
    # CVE-2025-9906
    "safe mode off": (
        calls("keras.config", "enable_unsafe_deserialization"),
        "keras.config.enable_unsafe_deserialization, which may run code",
    ),
    "a nested load": (
        keras_layer("Lambda", function=function("keras.models", "load_model")),
        "keras.layers.Lambda, which may run code",
    ),
    # CVE-2025-9905 in its `.keras` form
    "a stored function": (
        keras_layer("Lambda", function={"class_name": "__lambda__", "config": {"code": "4wA="}}),
        "keras.layers.Lambda, which may run code",
    ),
    "a stored function elsewhere": (
        keras_layer("Dense", units=3, activation={"class_name": "__lambda__", "config": {}}),
        "it needs the class '__lambda__', which is not",
    ),
    # CVE-2025-12058
    "a file of words": (
        keras_layer("StringLookup", vocabulary="/etc/passwd"),
        "keras.layers.StringLookup, which may run code or read files",
    ),
    "the base of such layers": (
        {
            "module": "keras.src.layers.preprocessing.index_lookup",
            "class_name": "IndexLookup",
            "config": {"name": "evil", "vocabulary": "/etc/passwd"},
        },
        "index_lookup.IndexLookup, which may run code or read files",
    ),
    # CVE-2026-1462
    "a saved graph": (
        keras_layer("TFSMLayer", filepath="//host/share", call_endpoint="serve"),
        "keras.layers.TFSMLayer, which may run code",
    ),
    "a type of TensorFlow": (
        {"class_name": "__typespec__", "spec_name": "system", "module": "os", "config": []},
        "it needs the class '__typespec__', which is not registered",
    ),
    "a function that opens configs": (
        keras_layer("Activation", activation=function("keras.activations", "deserialize")),
        "keras.activations.deserialize, which may run code",
    ),
    "a dotted name": (
        {"module": "keras", "class_name": "layers.Lambda", "config": {"name": "evil"}},
        "keras.layers.Lambda, which may run code",
    ),
    "posed as registered": (
        {"module": "os", "class_name": "system", "config": {}, "registered_name": "bnnzoo>system"},
        "it needs the class 'system', which is not registered",
    ),
}


@pytest.mark.parametrize("what", EXPLOITS)
def test_a_file_names_nothing_that_runs(tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    layer, message = EXPLOITS[what]
    with pytest.raises(WeightsError, match=f"x.keras cannot be opened: .*{message}"):
        open_model(with_layer(Path("x.keras"), layer))
    assert not Path("RAN").exists()


def test_a_whole_model_in_hdf5_is_not_opened_by_keras(tmp_path):
    """Keras opened Lambda layers of such files without its safe mode: CVE-2025-9905."""
    path = tmp_path / "x.h5"
    inputs = keras.Input((2,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras prefers its new format
        keras.Sequential([inputs, keras.layers.Lambda(lambda x: x + 1)]).save(path)
    with pytest.raises(WeightsError, match="is a 'Lambda', which is not supported in HDF5"):
        open_model(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras.Model(inputs, keras.layers.Dense(1)(inputs)).save(path)
    with pytest.raises(WeightsError, match="Keras 3.* model.save\\('model.keras'\\)"):
        open_model(path)


def hdf5(edit: Callable[[h5py.File], Any]) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as opened:
        edit(opened)
    return file.getvalue()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (  # CVE-2026-1669
            lambda file: file.__setitem__("layers", h5py.ExternalLink("other.h5", "/")),
            "'layers' is a link",
        ),
        (  # CVE-2026-0897
            lambda file: file.create_dataset("k", (10**5, 10**5), "f4", compression="gzip"),
            "it must declare at most",
        ),
    ],
)
def test_its_weights_are_walked_first(tmp_path, edit, message):
    path = rewritten(
        saved(tmp_path / "x.keras", keras.layers.Dense(3)), model_weights_h5=hdf5(edit)
    )
    with pytest.raises(WeightsError, match=f"x.keras/model.weights.h5 is not .*{message}"):
        open_archive(path)


@pytest.mark.parametrize(
    ("before", "after"),
    [('"units": 3', '"units": 1000000000'), ('"lora_rank": 2', '"lora_rank": 1000000000')],
)
def test_a_config_asks_for_no_more_memory_than_the_weights(tmp_path, before, after):
    layer = keras.layers.Dense(3, lora_rank=2)
    path = saved(tmp_path / "x.keras", layer)
    with zipfile.ZipFile(path) as archive:
        config = archive.read("config.json").decode()
    assert before in config
    rewritten(path, config_json=config.replace(before, after).encode())
    with pytest.raises(WeightsError, match=r"must store the .*,000,\d+ weights of its model, got "):
        open_archive(path)


@pytest.mark.parametrize(
    "metric", [keras.metrics.MeanIoU(num_classes=7), keras.metrics.AUC(num_thresholds=7)]
)
def test_a_metric_takes_no_memory_by_its_settings(tmp_path, metric):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", "mse", metrics=[metric])
    model.save(tmp_path / "x.keras")
    assert open_archive(tmp_path / "x.keras").compiled
    with zipfile.ZipFile(tmp_path / "x.keras") as archive:
        config = archive.read("config.json").decode()
    assert ": 7" in config
    rewritten(tmp_path / "x.keras", config_json=config.replace(": 7", ": 1000000000").encode())
    with pytest.raises(WeightsError, match=r"numbers in its metric .* must be at most 4096"):
        open_archive(tmp_path / "x.keras")


def test_an_archive_does_not_unpack_to_gigabytes(tmp_path):
    path = saved(tmp_path / "x.keras", keras.layers.Dense(3))
    rewritten(path, assets_bomb=bytes(10**8))
    with pytest.raises(WeightsError, match=r"x.keras unpacks from .* to 100,\d+,\d+ bytes"):
        open_archive(path)


def test_an_archive_without_weights_says_what_is_missing(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(WeightsError, match=r"x.keras has no model.weights.h5"):
        open_archive(tmp_path / "x.keras")


@pytest.mark.parametrize(
    "layers",
    [
        [keras.layers.Dense(3, activation="relu", kernel_regularizer="l2")],
        [keras.layers.Dense(3, activation=keras.activations.gelu), keras.layers.Dropout(0.5)],
        [keras.layers.Normalization(mean=1.0, variance=2.0), keras.layers.GaussianNoise(0.1)],
        [keras.layers.Rescaling(2.0), Doubled()],
        [keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])],
    ],
    ids=lambda layers: layers[-1].__class__.__name__,
)
def test_models_of_users_open(tmp_path, layers):
    path = saved(tmp_path / "x.keras", *layers, compiled=True)
    expected = keras.models.load_model(path)
    found = open_archive(path)
    x = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(found.predict(x, verbose=0), expected.predict(x, verbose=0))


def test_operations_of_keras_open(tmp_path):
    inputs = keras.Input((4,))
    keras.Model(inputs, keras.ops.maximum(inputs + 1, 0)).save(tmp_path / "x.keras")
    assert open_archive(tmp_path / "x.keras").output_shape == (None, 4)
