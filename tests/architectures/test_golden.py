"""Weight files of larq-zoo load unchanged, and give larq-zoo's logits.

Rounding differs between backends. Where it flips the sign of a number near zero, the flip travels
to the logits, although every layer is right. So each golden holds strictly on the backends of
`STRICT`, and on any other backend each layer gives what it gives on a strict one, on the same
inputs.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.architectures import larq_zoo
from tests.architectures.models import swept

# TensorFlow means with oneDNN, its default on x86, which tests/conftest.py turns on.
BOTH = ("tensorflow", "jax")
STRICT = {
    "binary_alexnet": BOTH,
    "binary_densenet28": ("tensorflow",),
    "binary_densenet37": BOTH,
    "binary_densenet37_dilated": BOTH,
    "binary_densenet45": BOTH,
    "birealnet18": BOTH,
    "dorefanet": ("tensorflow",),
    "meliusnet22": BOTH,
    "quicknet": ("jax",),
    "quicknet_large": BOTH,
    "quicknet_small": BOTH,
    "real_to_binary": BOTH,
    "resnet_e18": BOTH,
    "xnornet": BOTH,
}
# Name -> the image in which a number is so near zero that the instruction set and the version of
# the backend decide on its sign: on an AMD Zen 3, without AVX-512, every backend flips it, with
# AVX-512 TensorFlow 2.16 does, with a correlation of 0.9956 both times.
NEAR_ZERO = {"binary_densenet28": 1}
BACKEND = keras.backend.backend()
# Those that take a second or two.
SMALL = ("birealnet18", "quicknet_small", "resnet_e18")
ROOT = Path(__file__).parents[2]


def assert_logits_match(found, name):
    """Rounding alone gives 4e-6; a batch-norm epsilon of 1e-5 for 1e-3 a correlation of 0.97."""
    expected = larq_zoo.golden(name)["logits"][: len(found)]
    for image, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        correlation = np.corrcoef(ours, theirs)[0, 1]
        if NEAR_ZERO.get(name) == image:
            assert correlation > 0.99
            continue
        assert correlation > 0.9999
        assert np.abs(ours - theirs).max() / expected.std() < 0.02


@pytest.fixture
def weight_file(tmp_path):
    """Returns a function that writes the seeded file of a model; it is removed after the test."""
    path = tmp_path / "weights.h5"

    def write(name):
        larq_zoo.write_weights(name, path)
        return path

    yield write
    path.unlink(missing_ok=True)


@pytest.fixture
def seeded(build, weight_file):
    """Returns a function that builds a model and loads the seeded file, and returns both."""

    def load(name):
        pixels = larq_zoo.golden_pixels(name)
        model = build(name) if pixels == 224 else build(name, input_shape=(pixels, pixels, 3))
        path = weight_file(name)
        model.load_weights(path)
        return model, path

    return load


def test_every_model_of_larq_zoo_has_a_golden():
    assert set(STRICT) == set(larq_zoo.MODELS)


@pytest.mark.parametrize("name", swept((n for n in STRICT if BACKEND in STRICT[n]), SMALL))
def test_logits_are_larq_zoos(name, seeded):
    model, _ = seeded(name)
    before_softmax = keras.Model(model.input, model.layers[-1].input)
    assert_logits_match(before_softmax.predict_on_batch(larq_zoo.images(name)), name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in STRICT if BACKEND not in STRICT[name]])
def test_layers_are_those_of_a_strict_backend(name, seeded, tmp_path):
    backend = STRICT[name][0]
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed, on which the golden of {name} holds")
    model, weights = seeded(name)
    expected = outputs_on(backend, name, weights, tmp_path / "outputs.npz")
    assert_logits_match(expected[model.layers[-1].input._keras_history.operation.name], name)
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    for layer, found in zip(layers, one_by_one(model, layers, expected), strict=True):
        bound = 1e-5 * np.abs(expected[layer.name]).max()
        np.testing.assert_allclose(
            found, expected[layer.name], rtol=0, atol=bound, err_msg=layer.name
        )


def outputs_on(backend, name, weights, path):
    """Returns what each layer of the seeded model gives for one image on another backend."""
    subprocess.run(
        [sys.executable, "-m", "tests.architectures.layer_outputs", name, weights, path],
        check=True,
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)},
        timeout=300,
    )
    with np.load(path) as arrays:
        outputs = dict(arrays)
    path.unlink()
    return outputs


def one_by_one(model, layers, values):
    """Returns what each layer gives for the stored values of its own inputs."""
    inputs, outputs, fed = [], [], []
    for layer in layers:
        sources = layer.input if isinstance(layer.input, list) else [layer.input]
        own = [keras.Input(source.shape[1:]) for source in sources]
        inputs += own
        outputs.append(layer(own if isinstance(layer.input, list) else own[0]))
        fed += [values[source._keras_history.operation.name] for source in sources]
    return keras.Model(inputs, outputs).predict_on_batch(fed)
