"""Stores what each layer of a model gives for the first golden image.

KERAS_BACKEND=jax python -m tests.architectures.layer_outputs quicknet weights.h5 outputs.npz
"""

from __future__ import annotations

import sys

import keras
import numpy as np

from bnnzoo import registry
from tests.architectures import larq_zoo
from tests.architectures.conftest import quick_kernel


def main(name: str, weights: str, path: str) -> None:
    keras.initializers.VarianceScaling.__call__ = quick_kernel
    model = registry.builder(name)()
    model.load_weights(weights)
    names = [layer.name for layer in model.layers]
    outputs = keras.Model(model.input, [layer.output for layer in model.layers])
    values = outputs.predict_on_batch(larq_zoo.images(name)[:1])
    np.savez(path, **dict(zip(names, values, strict=True)))


if __name__ == "__main__":
    main(*sys.argv[1:])
