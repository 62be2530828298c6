"""Trains `binarynet.fashion_mnist_small`, the network that is shipped with bnnzoo.

    python examples/train_fashion_mnist.py RUN_FOLDER

BinaryNet (Courbariaux et al. 2016, https://arxiv.org/abs/1602.02830) with 24 filters in its first
stage, on 28 x 28 greyscale: Adam on latent weights that are clipped to [-1, 1], learning rate
3e-3 with cosine decay, batches of 128, images shifted by up to 2 pixels and mirrored, mixed
bfloat16 (binary values are exact in it). Every epoch is kept in the run folder, so a killed run
goes on where it stopped. The result is measured in float32.

Measured once, on two cores of an x86 server with TensorFlow 2.21 (2026-11-21): 90.35 % on the
10,000 test images; its log is bnnzoo/pretrained/binarynet.fashion_mnist_small.log.csv.

The last lines store the latent weights as float16 with gzip and check that this changes no
prediction: the sign of a weight is all that inference sees of it.
"""

from __future__ import annotations

import argparse
import functools
from pathlib import Path

import h5py
import keras
import numpy as np

import bnnzoo

BATCH = 128
SHIFT = 2
PEAK_LEARNING_RATE = 3e-3


class ShiftedAndMirrored(keras.utils.PyDataset):
    """Batches in a new order every epoch, each image shifted and every second one mirrored."""

    def __init__(self, x: np.ndarray, y: np.ndarray, seed: int) -> None:
        super().__init__()
        self.padded = np.pad(x, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="edge")
        self.y = y
        self.side = x.shape[1]
        self.rng = np.random.default_rng(seed)
        self.order = self.rng.permutation(len(y))

    def __len__(self) -> int:
        return len(self.y) // BATCH

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self.order[index * BATCH : (index + 1) * BATCH]
        images = self.padded[chosen]
        shifts = self.rng.integers(0, 2 * SHIFT + 1, (len(chosen), 2))
        crops = [
            image[dy : dy + self.side, dx : dx + self.side]
            for image, (dy, dx) in zip(images, shifts, strict=True)
        ]
        crops[::2] = [crop[:, ::-1] for crop in crops[::2]]
        return np.stack(crops), self.y[chosen]

    def on_epoch_end(self) -> None:
        """Draws the order of the next epoch."""
        self.order = self.rng.permutation(len(self.y))


def load_split(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns images in [-1, 1], `(n, 28, 28, 1)`, and labels `(n,)`."""
    source = bnnzoo.data.open_source(f"keras:fashion_mnist:{split}")
    preprocess = bnnzoo.data.preprocessing.get("scale_pm1", (28, 28, 1))
    images, labels, _ = zip(*source, strict=True)
    return preprocess(np.stack(images)), np.array(labels)


def store(model: keras.Model, path: Path) -> None:
    """Writes the weights in Keras's own layout, kernels as float16 and compressed."""
    model.save_weights(path)
    rewritten = path.with_suffix(".new")
    with h5py.File(path) as old, h5py.File(rewritten, "w") as new:

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Group):
                new.require_group(name).attrs.update(item.attrs)
            elif item.ndim > 1:
                new.create_dataset(name, data=to_float16(item[()]), compression=9, shuffle=True)
            else:
                new.create_dataset(name, data=item[()])

        old.visititems(copy)
        new.attrs.update(old.attrs)
    rewritten.replace(path)


def to_float16(kernel: np.ndarray) -> np.ndarray:
    """Rounds to float16; what would become zero keeps its sign, which is all of a binary weight."""
    least = np.finfo(np.float16).smallest_subnormal
    return np.where(np.abs(kernel) < least, np.copysign(least, kernel), kernel).astype(np.float16)


def main() -> None:
    """Trains, stores and measures the network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run_folder", type=Path)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--width", type=int, default=24)
    parser.add_argument("--dtype", default="mixed_bfloat16", help="Keras dtype policy.")
    arguments = parser.parse_args()
    arguments.run_folder.mkdir(parents=True, exist_ok=True)

    keras.utils.set_random_seed(0)
    x, y = load_split("train")
    x_test, y_test = load_split("test")
    train = ShiftedAndMirrored(x, y, seed=0)
    build = functools.partial(
        bnnzoo.builder("binarynet"), input_shape=(28, 28, 1), width=arguments.width
    )
    keras.config.set_dtype_policy(arguments.dtype)
    model = build()
    schedule = keras.optimizers.schedules.CosineDecay(
        PEAK_LEARNING_RATE, arguments.epochs * len(train)
    )
    model.compile(
        optimizer=keras.optimizers.Adam(schedule),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(
        train,
        epochs=arguments.epochs,
        validation_data=(x_test, y_test),
        validation_batch_size=1000,
        verbose=2,
        callbacks=[
            keras.callbacks.BackupAndRestore(arguments.run_folder / "backup"),
            keras.callbacks.CSVLogger(arguments.run_folder / "log.csv", append=True),
        ],
    )

    keras.config.set_dtype_policy("float32")
    trained, model = model, build()
    model.set_weights(trained.get_weights())
    path = arguments.run_folder / "fashion_mnist_small.weights.h5"
    expected = model.predict(x_test, batch_size=1000, verbose=0)
    store(model, path)
    model.load_weights(path)
    stored = model.predict(x_test, batch_size=1000, verbose=0)
    if not np.array_equal(expected, stored):
        raise SystemExit(f"{path} predicts otherwise than the trained network.")
    accuracy = 100 * np.mean(stored.argmax(1) == y_test)
    print(f"{path}: {path.stat().st_size:,} bytes, top-1 {accuracy:.2f} % on {len(y_test)} images")


if __name__ == "__main__":
    main()
