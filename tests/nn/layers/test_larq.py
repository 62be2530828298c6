"""Layers give the outputs and gradients of larq's: binary, padded, strided, dilated."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from bnnzoo import nn
from tests.backend import layer_gradients
from tests.conftest import DATA

GOLDEN = np.load(DATA / "larq_layers.npz", allow_pickle=False)
CASES = sorted({key.split("/")[0] for key in GOLDEN.files})


@pytest.mark.parametrize("name", CASES)
def test_equals_larq(name):
    golden = {key.split("/")[1]: GOLDEN[key] for key in GOLDEN.files if key.startswith(f"{name}/")}
    layer_name, settings = json.loads(str(golden["config"]))
    # Initial kernels of zeros: JAX compiles random ones anew for every shape.
    kernels = [name for name in settings if name.endswith("_quantizer") and name[0] != "i"]
    start = {name.replace("quantizer", "initializer"): "zeros" for name in kernels}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nn.StarvedWeightsWarning)
        layer = getattr(nn, layer_name)(**settings | start)
    layer.build(golden["x"].shape)
    layer.set_weights([golden[f"w{i}"] for i in range(len(layer.weights))])
    y, dx, dw = layer_gradients(layer, golden["x"], golden["upstream"])
    # Every product is a multiple of 1/64, so that the sums are exact in any order.
    np.testing.assert_array_equal(y, golden["y"])
    np.testing.assert_array_equal(dx, golden["dx"])
    for i, gradient in enumerate(dw):
        np.testing.assert_array_equal(gradient, golden[f"dw{i}"])
