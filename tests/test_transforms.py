"""Claim: `transforms` gives what `preprocess` gives, in the pipelines of other libraries."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest
from PIL import Image

from bnnzoo.data import open_source
from bnnzoo.errors import ArgumentError, MissingDependencyError
from bnnzoo.model_spec import ModelSpec

SPEC = ModelSpec("net", (28, 28, 1), 10, preprocessing="scale_pm1")
PHOTO = ModelSpec("net", (96, 96, 3), 10, preprocessing="larq_in1k")


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return [image for image, _, _ in open_source("sample:fashion_mnist")][:20]


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    """Two photos that scikit-learn ships, and a part of one."""
    images = pytest.importorskip("sklearn.datasets").load_sample_images().images
    return [*images, images[0][:150, :333]]


def test_numpy(images: list[np.ndarray], photos: list[np.ndarray]) -> None:
    for spec, each in ((SPEC, images), (PHOTO, photos)):
        one = spec.transforms()
        for image in each:
            assert np.array_equal(one(image), spec.preprocess([image])[0])
            assert np.array_equal(one(Image.fromarray(np.squeeze(image))), one(image))


def test_tf_data(images: list[np.ndarray], photos: list[np.ndarray]) -> None:
    tf = pytest.importorskip("tensorflow")
    for spec, each in ((SPEC, images), (PHOTO, photos)):
        kind = tf.TensorSpec(None, tf.uint8)  # of any size, grey ones without channels
        dataset = tf.data.Dataset.from_generator(each.__iter__, output_signature=kind)
        dataset = dataset.map(spec.transforms("tf"), num_parallel_calls=2).batch(len(each))
        assert dataset.element_spec.shape == (None, *spec.input_shape)
        (batch,) = dataset.as_numpy_iterator()
        assert np.array_equal(batch, spec.preprocess(each))


def test_torch(images: list[np.ndarray], photos: list[np.ndarray]) -> None:
    torch = pytest.importorskip("torch")
    for spec, each in ((SPEC, images), (PHOTO, photos)):
        transform = pickle.loads(pickle.dumps(spec.transforms("torch")))
        loader = torch.utils.data.DataLoader([transform(image) for image in each], len(each))
        (batch,) = loader
        assert np.array_equal(batch.numpy(), spec.preprocess(each))


def test_what_cannot_be_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArgumentError, match="library must be one of numpy, tf, torch, got 'jax'"):
        SPEC.transforms("jax")
    with pytest.raises(ArgumentError, match="net has no preprocessing"):
        ModelSpec("net", (28, 28, 1)).transforms()
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match=r"torch is needed for transforms"):
        SPEC.transforms("torch")
