"""Measures what pretrained weights are worth: the same network, from them and from random ones.

    python examples/compare_finetuning.py RUNS_FOLDER --images 100

The network for Fashion-MNIST learns the handwritten digits of the UCI repository, which
scikit-learn has, from a few of them; the other 797 measure it. Each start takes every learning
rate, with several seeds and as many epochs. Runs that are finished are not repeated, and one that
was killed goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import keras
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

import bnnzoo
from bnnzoo import training

NETWORK = "binarynet.fashion_mnist_small"
TRAIN = 1000  # of which the first are used
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
STARTS = ("latent", "packed", "random")
FROZEN = 5  # of the epochs: in them only the head learns, where the backbone is trained


def write_digits(path: Path, count: int) -> None:
    """Writes digits of 28 x 28 pixels, `count` of them to train on."""
    images, labels = load_digits(return_X_y=True)
    enlarged = [
        np.array(Image.fromarray((16 * image).clip(0, 255).astype("uint8")).resize((28, 28)))
        for image in images.reshape(-1, 8, 8)
    ]
    order = np.random.default_rng(0).permutation(len(labels))
    x, y = np.stack(enlarged)[order], labels[order]
    np.savez(path, x_train=x[:count], y_train=y[:count], x_test=x[TRAIN:], y_test=y[TRAIN:])


def first_weights(folder: Path, start: str, seed: int) -> str:
    """Returns what `finetune` begins with: latent weights, signs alone, or a random network."""
    if start == "latent":
        return NETWORK
    path = folder / ("packed.safetensors" if start == "packed" else f"random-{seed}.keras")
    if path.exists():
        return str(path)
    if start == "packed":
        bnnzoo.convert(NETWORK, path)
    else:
        keras.utils.set_random_seed(seed)
        bnnzoo.load(NETWORK).save(path)
    return str(path)


def reached(folder: Path, start: str, count: int, rate: float, seed: int, epochs: int) -> float:
    """Trains once, unless it has been done, and returns the accuracy in percent."""
    run = folder / f"{start}-{count}-{rate:g}-{seed}"
    frozen = 0 if start == "random" else FROZEN
    report = training.finetune(
        first_weights(folder, start, seed),
        str(folder / f"digits-{count}.npz"),
        run,
        epochs=epochs - frozen,
        freeze_backbone=frozen,
        learning_rate=rate,
        batch_size=max(20, count // 20),
        seed=seed,
        resume=run.exists(),
    )
    return report["evaluation"]["top1"]


def main() -> None:
    """Trains what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=100, help=f"to train on, up to {TRAIN}")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    write_digits(options.folder / f"digits-{options.images}.npz", options.images)
    print("| start | rate | mean top-1, % | lowest | highest |\n|---|--:|--:|--:|--:|")
    for start in STARTS:
        for rate in RATES:
            found = [
                reached(options.folder, start, options.images, rate, seed, options.epochs)
                for seed in range(options.seeds)
            ]
            figures = [f"{each(found):.2f}" for each in (np.mean, min, max)]
            print("|", " | ".join([start, f"{rate:g}", *figures]), "|")


if __name__ == "__main__":
    main()
