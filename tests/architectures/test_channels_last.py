"""With `channels_first` in Keras's settings, everything of the zoo computes the same."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import bnnzoo
from bnnzoo import registry
from tests.architectures.models import MODELS, swept

SHIPPED = "binarynet.fashion_mnist_small"
PACKED = Path(bnnzoo.__file__).parent / "pretrained" / f"{SHIPPED}.safetensors"


@pytest.mark.parametrize("name", swept())
def test_every_layer_of_a_network_says_its_data_format(name: str, channels_first: None) -> None:
    pixels = max(8, MODELS[name].least)
    model = registry.builder(name)(input_shape=(pixels, pixels, 3), num_classes=7)
    assert model.output_shape[-1] == 7
    formats = {layer.name: getattr(layer, "data_format", "channels_last") for layer in model.layers}
    assert set(formats.values()) == {"channels_last"}, formats


def test_shipped_weights_measure_and_convert_the_same(tmp_path: Path, channels_first: None) -> None:
    for what in (SHIPPED, PACKED):
        report = bnnzoo.evaluate(what, "sample:fashion_mnist", limit=200)
        assert report.top1 > 85
    opened = bnnzoo.open_model(PACKED)
    bnnzoo.convert(opened, tmp_path / "again.safetensors")
    images = [image for image, _, _ in bnnzoo.data.open_source("sample:fashion_mnist")][:20]
    x = opened.model_spec.preprocess(images)
    expected = bnnzoo.runtime.load(PACKED)(x)
    for found in (
        opened.predict(x, verbose=0),
        bnnzoo.runtime.load(tmp_path / "again.safetensors")(x),
    ):
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_flattened_image_is_read_in_the_same_order(channels_first: None) -> None:
    model = bnnzoo.load("binarynet_mlp.mnist", pretrained=True)
    pixels = np.arange(28 * 28, dtype=np.float32).reshape(1, 28, 28, 1)
    flat = keras.Model(model.input, model.get_layer("flatten").output)(pixels)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(flat)[0], np.arange(28 * 28))


def test_pooled_features_have_the_channels(channels_first: None) -> None:
    model = bnnzoo.load("birealnet20", include_top=False, pooling="avg")
    assert model.output_shape == (None, 64)
