"""A small binarized network reads more than 90 % of digits after five epochs, packed as well."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import bnnzoo
from bnnzoo.data import open_source
from bnnzoo.data.arrays import data_folder


def accuracies(module, train, test, folder) -> tuple[float, float]:
    """Trains, and returns the share of right images in Keras and in the packed file."""
    keras.utils.set_random_seed(0)
    model = module.build()
    module.train(model, *module.load_arrays(train))
    x, y = module.load_arrays(test)
    path = folder / "digits.safetensors"
    bnnzoo.convert(model, path)
    scores = model.predict(x, verbose=0), bnnzoo.runtime.load(path)(x)
    return tuple(100 * np.mean(found.argmax(axis=1) == y) for found in scores)


def test_a_thousand_digits_are_enough(example, digits, tmp_path):
    in_keras, packed = accuracies(example("mnist_in_five_epochs"), *digits, tmp_path)
    assert in_keras > 90  # measured: 95.1, 96.6 and 95.9 % with seeds 0, 1 and 2
    assert abs(packed - in_keras) < 0.2  # one of 797 images


@pytest.mark.long
def test_mnist(example, tmp_path):
    if not (data_folder() / "mnist.npz").is_file():
        pytest.skip(f"no MNIST in {data_folder()}")
    sources = [open_source(f"keras:mnist:{split}") for split in ("train", "test")]
    in_keras, packed = accuracies(example("mnist_in_five_epochs"), *sources, tmp_path)
    assert in_keras > 98  # measured: 98.76 %
    assert abs(packed - in_keras) < 0.05  # a few of 10,000 images
