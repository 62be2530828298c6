"""A network of another framework reaches its published accuracy in the steps of the example."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

import bnnzoo
from bnnzoo.data.arrays import data_folder

WEIGHTS = Path(__file__).parents[3] / "shared/data/peer_weights/finn_lfc_w1a1_mnist.npz"


def test_its_accuracy_is_the_published_one(example, tmp_path, capsys):
    data = data_folder() / "mnist.npz"
    for path in (WEIGHTS, data):
        if not path.is_file():
            pytest.skip(f"{path} is not there: the data are not part of the repository")
    example("bring_your_own_weights").main(str(WEIGHTS), str(tmp_path / "lfc.safetensors"))
    assert "98.34 %" in capsys.readouterr().out


def test_the_network_computes_with_the_arrays(example, rng):
    sizes = (784, 1024, 1024, 1024, 10)
    arrays = {}
    for k, (inputs, units) in enumerate(itertools.pairwise(sizes)):
        arrays[f"dense{k}/kernel"] = rng.choice([-1.0, 1.0], (inputs, units))
        arrays[f"dense{k}/bias"] = rng.integers(-9, 9, units).astype(float)
    pixels = rng.integers(0, 256, (3, 28, 28, 1))
    x = np.where(pixels >= 128, 1.0, -1.0).reshape(3, 784)
    for k in range(4):
        sums = x @ arrays[f"dense{k}/kernel"] + arrays[f"dense{k}/bias"]
        x = np.where(sums < 0, -1.0, 1.0)
    model = example("bring_your_own_weights").build(arrays)
    np.testing.assert_array_equal(model.predict_on_batch(pixels.astype("float32")), sums)
    assert len(bnnzoo.nn.binary_weights(model)) == 4
