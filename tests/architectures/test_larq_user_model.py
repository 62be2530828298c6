"""Weight files that larq writes load unchanged, and those of our tests have the same layout."""

from __future__ import annotations

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from bnnzoo import nn
from tests.architectures import larq_zoo

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def network() -> keras.Model:
    """The network of tests/data/make_larq_user_model.py, in bnnzoo's layers."""
    inputs = keras.Input((16, 16, 3))
    x = nn.QuantConv2D(8, 3, padding="same", use_bias=False)(inputs)
    x = layers.BatchNormalization(momentum=0.8)(x)
    shortcut = layers.AveragePooling2D(2)(x)
    shortcut = layers.Conv2D(16, 1, use_bias=False)(shortcut)
    shortcut = layers.BatchNormalization(momentum=0.8)(shortcut)
    x = nn.QuantConv2D(
        16,
        3,
        strides=2,
        padding="same",
        input_quantizer="approx_sign",
        kernel_quantizer="magnitude_aware_sign",
        kernel_constraint="weight_clip",
        use_bias=False,
    )(x)
    x = layers.BatchNormalization(momentum=0.8)(x)
    x = layers.add([x, shortcut])
    y = nn.QuantDepthwiseConv2D(
        3,
        padding="same",
        pad_values=1.0,
        input_quantizer="ste_sign",
        depthwise_quantizer="ste_sign",
        depthwise_constraint="weight_clip",
        use_bias=False,
    )(x)
    y = layers.BatchNormalization(scale=False)(y)
    y = layers.PReLU(shared_axes=[1, 2])(y)
    x = layers.concatenate([x, y])
    x = layers.GlobalAveragePooling2D()(x)
    x = nn.QuantDense(5, kernel_quantizer="ste_sign", kernel_constraint=nn.WeightClip(1.3))(x)
    return keras.Model(inputs, layers.Activation("softmax")(x))


def test_a_users_residual_network_gives_larqs_probabilities(network):
    network.load_weights(DATA / "larq_user_model.h5")
    with np.load(DATA / "larq_user_model.npz") as larq:
        found = network.predict_on_batch(larq["x"])
        # Sums of float32 in another order; one flipped sign would change them by more than 1e-3.
        np.testing.assert_allclose(found, larq["probabilities"], atol=1e-5)


def layout(path: Path) -> dict[str, object]:
    """Returns what a weight file is made of, without the numbers and names of its layers."""
    with h5py.File(path) as file:
        names = list(file.attrs["layer_names"])
        weights = [(name, weight) for name in names for weight in file[name].attrs["weight_names"]]
        return {
            "attributes": {key: str(file.attrs.get_id(key).dtype) for key in file.attrs},
            "other groups": {
                name: dict(file[name].attrs).keys() for name in set(file) - set(names)
            },
            "attributes of layers": {key for name in names for key in file[name].attrs},
            "types of weights": {str(file[name][weight].dtype) for name, weight in weights},
            "names of weights": {
                (weight.startswith(f"{name}/"), weight.endswith(":0")) for name, weight in weights
            },
        }


def test_the_seeded_files_have_larqs_layout(tmp_path):
    path = tmp_path / "seeded.h5"
    larq_zoo.write_weights("quicknet_small", path)
    assert layout(path) == layout(DATA / "larq_user_model.h5")
    path.unlink()
