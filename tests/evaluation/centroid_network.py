"""A real classifier whose scores NumPy can restate: the nearest class mean of Fashion-MNIST."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from bnnzoo.data import open_source

SAMPLE = "sample:fashion_mnist"


def sample() -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 `(2000, 28, 28)` and labels of the embedded sample."""
    rows = list(open_source(SAMPLE))
    return np.stack([image for image, _, _ in rows]), np.array([label for _, label, _ in rows])


def centroid_weights() -> tuple[np.ndarray, np.ndarray]:
    """Kernel `(784, 10)` and bias: x . c - |c|^2 / 2 is largest for the nearest mean c."""
    images, labels = sample()
    x = (images / 127.5 - 1).reshape(len(images), -1)
    means = np.stack([x[labels == label].mean(axis=0) for label in range(10)], axis=1)
    scale = 0.05  # keeps the softmax away from 0 and 1
    return scale * means, -scale * (means**2).sum(axis=0) / 2


def centroid_scores() -> np.ndarray:
    """Logits `(2000, 10)` of the sample in float64."""
    images, _ = sample()
    kernel, bias = centroid_weights()
    return (images / 127.5 - 1).reshape(len(images), -1) @ kernel + bias


def centroid_network(activation: str | None = None) -> keras.Model:
    """The same as a Keras model from `(n, 28, 28, 1)`, for preprocessing `scale_pm1`."""
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation=activation),
        ],
        name="centroids",
    )
    model.set_weights(list(centroid_weights()))
    return model


def save_centroid_network(folder: Path) -> Path:
    """Saves it with a softmax as a `.keras` file."""
    path = folder / "centroids.keras"
    centroid_network("softmax").save(path)
    return path
