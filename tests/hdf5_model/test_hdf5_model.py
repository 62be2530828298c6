"""Whole models that Keras 2 and Larq saved as HDF5 compute the same after opening."""

from __future__ import annotations

import copy
import io
import json
import shutil
import struct
import time
import tracemalloc
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import bnnzoo
from bnnzoo import nn
from bnnzoo.errors import ArgumentError, WeightsError
from bnnzoo.hdf5_model.layers import _KERAS, _LARQ, settings_of
from bnnzoo.opening import open_model
from tests.conftest import DATA
from tests.hdf5_model.files import (
    branches,
    convolution,
    file_of,
    functional,
    layer,
    sequential,
)

pytestmark = pytest.mark.filterwarnings("ignore::bnnzoo.nn.StarvedWeightsWarning")
SAVED = ("sequential", "functional")


def saved(name: str):
    return DATA / f"larq_saved_{name}.h5"


def opened(tmp_path, config: Any, weights: Any) -> keras.Model:
    path = tmp_path / "net.h5"
    path.write_bytes(file_of(config, weights))
    return open_model(path)


def larqs(name: str) -> tuple[np.ndarray, np.ndarray]:
    with np.load(DATA / "larq_saved.npz") as archive:
        return archive["x"], archive[name]


@pytest.mark.parametrize("name", SAVED)
def test_models_saved_by_larq_have_larqs_outputs(name):
    x, expected = larqs(name)
    found = open_model(saved(name)).predict(x, verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("name", SAVED)
def test_files_of_keras_before_2_13_are_read(name, tmp_path):
    """Objects were a class name and settings without a module, and strings were bytes."""

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            left_out = ("module", "registered_name", "build_config")
            return {key: without(item) for key, item in value.items() if key not in left_out}
        return [without(item) for item in value] if isinstance(value, list) else value

    path = shutil.copy(saved(name), tmp_path / "older.hdf5")
    with h5py.File(path, "r+") as file:
        config = without(json.loads(file.attrs["model_config"]))
        config["class_name"] = config["class_name"].replace("Functional", "Model")
        file.attrs["model_config"] = np.bytes_(json.dumps(config))
        del file.attrs["training_config"], file["optimizer_weights"]
    x, expected = larqs(name)
    np.testing.assert_allclose(open_model(path).predict(x, verbose=0), expected, atol=1e-6)


def test_quantizers_and_constraints_are_those_of_the_file():
    model = open_model(saved("functional"))
    convs = [found for found in model.layers if type(found) is nn.QuantConv2D]
    assert [(repr(c.input_quantizer), repr(c.kernel_quantizer)) for c in convs] == [
        (repr(first), repr(second))
        for first, second in (
            (nn.ApproxSign(), nn.MagnitudeAwareSign()),
            (nn.SteSign(clip_value=1.25), nn.SwishSign(beta=4.0)),
            (nn.DoReFa(k_bit=2), nn.SteTern()),
            (nn.DoReFa(k_bit=2), nn.SteTern(threshold_value=0.1)),
            (nn.SwishSign(), nn.SteSign()),
        )
    ]
    assert {c.kernel_constraint.clip_value for c in convs} == {1.25}
    assert model.layers[3].name.startswith("conv2d")


def test_a_saved_model_is_evaluated_and_converted(tmp_path):
    path, rng = saved("sequential"), np.random.default_rng(1)
    data = tmp_path / "data.npz"
    images = rng.integers(0, 256, (20, 12, 12, 3), dtype=np.uint8)
    np.savez(data, x_test=images, y_test=rng.integers(0, 5, 20))
    options = {"preprocessing": "scale_pm1"}
    report = bnnzoo.convert(path, tmp_path / "net.safetensors", data=str(data), **options)
    assert report.model == "sequential"
    assert sum(found.binary for found in report.layers) == 3
    keras_, packed = (bnnzoo.evaluate(p, str(data), **options)
                      for p in (path, tmp_path / "net.safetensors"))  # fmt: skip
    assert (keras_.runtime, packed.runtime) == ("keras", "packed")
    assert keras_.n == packed.n == 20 and keras_.top1 == packed.top1


def test_shared_layers_and_nested_models(tmp_path):
    config, weights = branches()
    model = opened(tmp_path, config, weights)
    x = np.random.default_rng(3).standard_normal((2, 5, 4, 2)).astype("f4")
    deep, bias = (weights["inner"][f"deep/{key}"] for key in ("depthwise_kernel", "bias"))
    signs = np.where(x * deep[0, 0, :, 0] + bias < 0, -1, 1).max((1, 2))
    kernel = np.where(weights["dense"]["kernel"] < 0, -1, 1)
    both = [np.clip(value @ kernel + weights["dense"]["bias"], -1, 1)
            for value in (signs, x.mean((1, 2)))]  # fmt: skip
    joined = np.concatenate(both, axis=1)
    expected = np.where(joined < 0, 0.25 * joined, joined)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-5)


def test_quantized_layers_and_activations_of_other_forms(tmp_path):
    config, weights = convolution()
    layers = config["config"]["layers"]
    layers[1]["config"] |= {
        "kernel_quantizer": "magnitude_aware_sign",
        "trainable": False,
        "activation": {"class_name": "function", "config": "leaky_tanh"},
    }
    layers.append(layer("Activation", "last", activation="ste_sign"))
    config["config"] = layers  # as the first versions of Keras 2 had it
    model = opened(tmp_path, config, weights)
    assert isinstance(model.layers[0].kernel_quantizer, nn.MagnitudeAwareSign)
    assert model.layers[0].trainable is False and model.layers[0].activation is nn.leaky_tanh
    assert set(np.unique(model.predict(np.ones((1, 5, 4, 2)), verbose=0))) <= {-1.0, 1.0}


@pytest.mark.parametrize("kind", (*_KERAS, *_LARQ))
def test_every_layer_accepts_its_settings_in_keras_2(kind):
    config = settings_of(kind, {"name": "x", "trainable": True, "dtype": "float32"})
    assert config == {"name": "x"} or set(config) == {"name", "axis"}


# Hostile files -----------------------------------------------------------------------------------


def lambda_layer():
    body = ["4wEAAAAAAAAAAAAAAAEAAAABAAAAQwAAAHMEAAAAfABTAA==", None, None]
    return layer("Lambda", "run", function=body, function_type="lambda")


def setting(key, value, kind="QuantConv2D"):
    config, _ = convolution()
    for entry in config["config"]["layers"]:
        if entry["class_name"] == kind:
            entry["config"][key] = value
    return config


def nested(times):
    config, _ = convolution()
    for i in range(times):
        config["config"]["name"] = f"m{i}"
        config = sequential({**config, "name": f"m{i}"})
    return config


OBJECT = {"class_name": "Popen", "module": "subprocess", "config": {"args": "id"},
          "registered_name": "Popen"}  # fmt: skip
CONFIGS = {
    "Lambda": (sequential(lambda_layer()), "layer 'run' is a 'Lambda', which is not supported"),
    "code in a model": (functional(lambda_layer(), output=["run", 0, 0]), "is a 'Lambda'"),
    "TFOpLambda": (sequential(layer("TFOpLambda", "f", function="math.add")), "is a 'TFOpLambda'"),
    "another class": (sequential(layer("Popen", "p", args="id")), "is a 'Popen', which is not"),
    "a near name": (sequential(layer("Conv2d", "c")), "Did you mean 'Conv2D'"),
    "a class of a user": ({"class_name": "MyModel", "config": {}}, "must be Sequential or Functi"),
    "no config": ([], "the model must have a class_name"),
    "an object for a number": (setting("filters", OBJECT), "filters must be numbers or strings"),
    "an object for a quantizer": (setting("kernel_quantizer", OBJECT), "quantizer 'Popen', which"),
    "an object for a constraint": (setting("kernel_constraint", OBJECT), "constraint 'Popen'"),
    "an object for an activation": (setting("activation", OBJECT), "activation 'Popen'"),
    "an activation of Keras that is no function": (setting("activation", "deserialize"),
                                                   "activation 'deserialize', which is not supp"),
    "an unknown setting": (setting("run", "id"), "layer 'conv' has the unsupported setting 'run'"),
    "a huge layer": (setting("filters", 2**40), "must store the"),
    "a long list": (setting("kernel_size", [3] * 1000), "kernel_size must be numbers or strings"),
    "deep models": (nested(20), "nested at most 16 deep"),
    "very deep models": (nested(60), "nested|deep"),
    "no shape": (sequential(shape=[None, "x"]), "a shape of integers"),
    "a name twice": (functional(layer("ReLU", "a", "images"), layer("ReLU", "a", "images"),
                                output=["a", 0, 0]), "different names, got 'a'"),
    "a circle": (functional(layer("ReLU", "a", "b"), layer("ReLU", "b", "a"),
                            output=["a", 0, 0]), "do not compute 'a'"),
    "other arguments": (functional({**layer("ReLU", "a"), "inbound_nodes":
                                    [[["images", 0, 0, {"training": ["images", 0, 0]}]]]},
                                   output=["a", 0, 0]), "Calls with other arguments"),
    "a wrong number": (setting("filters", -1), "cannot be opened"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_unsupported_configs_are_refused(name, tmp_path):
    config, message = CONFIGS[name]
    begin = time.monotonic()
    with pytest.raises(WeightsError, match=message) as caught:
        opened(tmp_path, copy.deepcopy(config), convolution()[1])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    assert time.monotonic() - begin < 20


def linked(file):
    file["model_weights/conv/conv/kernel:0"] = h5py.ExternalLink("/etc/passwd", "/")


def no_text(file):
    file.attrs["model_config"] = np.zeros(100)


def no_json(file):
    file.attrs["model_config"] = "{"


def only_weights(file):
    del file.attrs["model_config"]


def twice(file):
    group = file["model_weights/conv"]
    group["other/kernel:0"] = np.zeros((3, 3, 2, 3), "f4")


def removed(file):
    del file["model_weights/norm"]


def other_shape(file):
    file["model_weights/conv/conv/kernel:0"] = np.zeros((1, 3, 2, 3), "f4")


FILES = {
    "a link": (linked, "'kernel:0' is a link. Do not trust this file"),
    "a config of numbers": (no_text, "model_config must be a string"),
    "a config that is not JSON": (no_json, "model_config is not JSON"),
    "only weights": (only_weights, "contains only weights, not a model"),
    "two kernels": (twice, "layer 'conv' must have one array kernel, got 2"),
    "no weights": (removed, "layer 'norm' must have one array gamma, got 0"),
    "another shape": (other_shape, r"kernel of layer 'conv' must have shape \(3, 3, 2, 3\), got"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_damaged_files_are_refused(name, tmp_path):
    edit, message = FILES[name]
    data = io.BytesIO(file_of(*convolution()))
    with h5py.File(data, "r+") as file:
        if name in ("a link", "another shape"):
            del file["model_weights/conv/conv/kernel:0"]
        edit(file)
    path = tmp_path / "net.h5"
    path.write_bytes(data.getvalue())
    with pytest.raises(WeightsError, match=message):
        open_model(path)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "net.h5").write_bytes(b"no HDF5")
    with pytest.raises(WeightsError, match="net.h5 cannot be opened"):
        open_model(tmp_path / "net.h5")
    with pytest.raises(WeightsError, match="There is no file"):
        open_model(tmp_path / "other.h5")
    with pytest.raises(ArgumentError, match="contains only weights: load them with bnnzoo.load"):
        open_model("net.weights.h5")


def test_a_huge_layer_takes_no_memory(tmp_path):
    path = tmp_path / "net.h5"
    path.write_bytes(file_of(setting("filters", 2**30), convolution()[1]))
    tracemalloc.start()
    with pytest.raises(WeightsError, match="must store the"):
        open_model(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**26


def test_a_heap_with_an_object_of_size_0_is_refused(tmp_path):
    """The HDF5 library hangs on it."""
    data = bytearray(file_of(*convolution()))
    begin = data.index(b"GCOL")
    for size in (0, 8, 2**40):
        struct.pack_into("<HHIQ", data, begin + 16, 0, 0, 0, size)
        (tmp_path / "net.h5").write_bytes(data)
        with pytest.raises(WeightsError, match="net.h5 is damaged"):
            open_model(tmp_path / "net.h5")
