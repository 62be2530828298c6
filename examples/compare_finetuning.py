"""Compares fine-tuning from pretrained weights with training from random weights.

    python examples/compare_finetuning.py RUNS_FOLDER --images 100

The network for Fashion-MNIST is trained on some of the handwritten digits of the UCI repository,
which are part of scikit-learn, and evaluated on 797 others. Each starting point is trained with
every learning rate and several seeds, for the same number of epochs. Finished runs are not
repeated, and interrupted ones are resumed.
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
TRAIN = 1000  # the first `--images` of these are used
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
STARTS = ("latent", "packed", "random")
FROZEN = 5  # epochs in which only the head is trained, before the backbone is trained as well


def write_digits(path: Path, count: int) -> None:
    """Writes digits of 28 x 28 pixels, with `count` of them for training."""
    images, labels = load_digits(return_X_y=True)
    enlarged = [
        np.array(Image.fromarray((16 * image).clip(0, 255).astype("uint8")).resize((28, 28)))
        for image in images.reshape(-1, 8, 8)
    ]
    order = np.random.default_rng(0).permutation(len(labels))
    x, y = np.stack(enlarged)[order], labels[order]
    np.savez(path, x_train=x[:count], y_train=y[:count], x_test=x[TRAIN:], y_test=y[TRAIN:])


def first_weights(folder: Path, start: str, seed: int) -> str:
    """Returns the starting point of `finetune`: latent weights, only signs, or random weights."""
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
    """Trains once, unless the run is finished, and returns the accuracy in percent."""
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
    """Trains the missing runs and prints the table."""
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
