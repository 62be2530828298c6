"""Measures what pretrained weights are worth: the same network, from them and from random ones.

    python examples/compare_finetuning.py RUNS_FOLDER --images 100

The network for Fashion-MNIST learns the handwritten digits of the UCI repository, which
scikit-learn has, from a few of them; the other 797 measure it. Each start takes every learning
rate, with several seeds. Runs that are finished are not repeated, and one that was killed goes on.
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
RATES = (1e-3, 3e-3, 1e-2)


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


def reached(
    folder: Path, pretrained: bool, count: int, rate: float, seed: int, epochs: int
) -> float:
    """Trains once, unless it has been done, and returns the accuracy in percent."""
    start, options = NETWORK, {}
    if not pretrained:
        start, options = str(folder / f"random-{seed}.keras"), {"freeze_backbone": 0}
        if not Path(start).exists():
            keras.utils.set_random_seed(seed)
            bnnzoo.load(NETWORK).save(start)
    run = folder / f"{'pretrained' if pretrained else 'random'}-{count}-{rate:g}-{seed}"
    report = training.finetune(
        start,
        str(folder / f"digits-{count}.npz"),
        run,
        epochs=epochs,
        learning_rate=rate,
        batch_size=max(20, count // 20),
        seed=seed,
        resume=run.exists(),
        **options,
    )
    return report["evaluation"]["top1"]


def main() -> None:
    """Trains what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=100, help=f"to train on, up to {TRAIN}")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    write_digits(options.folder / f"digits-{options.images}.npz", options.images)
    print("| start | rate | mean top-1, % | lowest | highest |\n|---|--:|--:|--:|--:|")
    for pretrained in (True, False):
        for rate in RATES:
            found = [
                reached(options.folder, pretrained, options.images, rate, seed, options.epochs)
                for seed in range(options.seeds)
            ]
            start = "pretrained" if pretrained else "random"
            figures = [f"{each(found):.2f}" for each in (np.mean, min, max)]
            print("|", " | ".join([start, f"{rate:g}", *figures]), "|")


if __name__ == "__main__":
    main()
