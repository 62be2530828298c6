"""Trains a small binarized network on MNIST for five epochs: the classic first example.

    python examples/mnist_in_five_epochs.py

The network has two binary convolutions and two binary dense layers after a first convolution with a
binary kernel and a real-valued input. It consists of layers of `bnnzoo.nn` and Keras. At the end it
is converted to a bit-packed file and evaluated again in the runtime, which does not need Keras.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import keras
import numpy as np

import bnnzoo
from bnnzoo import nn
from bnnzoo.data import open_source
from bnnzoo.data.source import Source


def build(num_classes: int = 10) -> keras.Model:
    """Returns the untrained network.

    Pooling comes before batch norm, so that what is pooled is not signs, which would be nearly all
    +1; batch norm comes before the next sign and decides where it changes.
    """
    binary = {
        "input_quantizer": "ste_sign",
        "kernel_quantizer": "ste_sign",
        "kernel_constraint": "weight_clip",
        "use_bias": False,
    }
    return keras.Sequential(
        [
            keras.layers.Input((28, 28, 1)),
            nn.QuantConv2D(32, 3, **{**binary, "input_quantizer": None}),
            keras.layers.MaxPooling2D(2),
            keras.layers.BatchNormalization(momentum=0.9, scale=False),
            nn.QuantConv2D(64, 3, **binary),
            keras.layers.MaxPooling2D(2),
            keras.layers.BatchNormalization(momentum=0.9, scale=False),
            nn.QuantConv2D(64, 3, **binary),
            keras.layers.BatchNormalization(momentum=0.9, scale=False),
            keras.layers.Flatten(),
            nn.QuantDense(64, **binary),
            keras.layers.BatchNormalization(momentum=0.9, scale=False),
            nn.QuantDense(num_classes, **binary),
            keras.layers.BatchNormalization(momentum=0.9, scale=False),
            keras.layers.Activation("softmax"),
        ],
        name="first_steps",
    )


def load_arrays(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images of a source, scaled to [-1, +1], and their labels."""
    images, labels, _ = zip(*source, strict=True)
    return np.stack(images).reshape(-1, 28, 28, 1) / np.float32(127.5) - 1, np.array(labels)


def train(model: keras.Model, x: np.ndarray, y: np.ndarray, epochs: int = 5) -> None:
    """Trains the latent weights with Adam. The learning rate falls to zero."""
    batch = 64
    schedule = keras.optimizers.schedules.CosineDecay(0.01, epochs * -(-len(x) // batch))
    model.compile(
        optimizer=keras.optimizers.Adam(schedule),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(x, y, batch_size=batch, epochs=epochs, verbose=2)


def main() -> None:
    """Reads the command line, trains, evaluates, converts and evaluates again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", default="keras:mnist:train", metavar="DATA")
    parser.add_argument("--test", default="keras:mnist:test", metavar="DATA")
    parser.add_argument("--out", type=Path, default=Path("first_steps.safetensors"))
    options = parser.parse_args()
    keras.utils.set_random_seed(0)
    model = build()
    print(bnnzoo.summary(model))
    train(model, *load_arrays(open_source(options.train)))
    x, y = load_arrays(open_source(options.test))
    print(f"Keras: {100 * (model.predict(x, verbose=0).argmax(axis=1) == y).mean():.2f} %")

    bnnzoo.convert(model, options.out, force=True)
    packed = bnnzoo.runtime.load(options.out)
    print(f"packed: {100 * (packed(x).argmax(axis=1) == y).mean():.2f} %")
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
