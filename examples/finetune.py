"""Fine-tunes a pretrained network on other classes: a new head first, then everything.

    python examples/finetune.py --train digits.npz:train --test digits.npz:test --out digits.keras

`--train` and `--test` take what `bnnzoo evaluate --data` takes: a folder of class folders, an
`.npz`, `keras:mnist:train`. The result is a file that `bnnzoo evaluate` and `bnnzoo.open_model`
open; its preprocessing travels with it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import keras
import numpy as np

import bnnzoo
from bnnzoo.data import open_source
from bnnzoo.data.source import Source

BATCH = 64


def load_arrays(model: keras.Model, source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Returns the source's images as the model wants them, and their labels."""
    images, labels, _ = zip(*source, strict=True)
    return model.model_spec.preprocess(list(images)), np.array(labels)


def train(
    model: keras.Model, x: np.ndarray, y: np.ndarray, learning_rate: float, epochs: int
) -> None:
    """Trains what is trainable, with a learning rate that falls to zero."""
    steps = epochs * -(-len(x) // BATCH)
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    model.compile(
        optimizer=keras.optimizers.Adam(schedule),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=2)


def finetune(
    name: str, train_source: Source, *, head_epochs: int, epochs: int, pretrained: bool = True
) -> keras.Model:
    """Returns the network with a head for the source's classes.

    Args:
        name: A model with pretrained weights.
        train_source: Images to train on.
        head_epochs: Epochs in which only the new head learns, the backbone frozen.
        epochs: Epochs after that in which everything learns.
        pretrained: False starts from random weights, for comparison.
    """
    num_classes = 1 + max(label for _, label, _ in train_source)
    model = bnnzoo.load(name, pretrained=pretrained, num_classes=num_classes)
    x, y = load_arrays(model, train_source)

    # Freeze up to the last stage; what comes behind it is the classifier.
    last = model.layers.index(model.get_layer(model.stages[-1]))
    backbone = [layer for layer in model.layers[: last + 1] if layer.trainable]
    for layer in backbone:
        layer.trainable = False
    train(model, x, y, learning_rate=3e-3, epochs=head_epochs)
    for layer in backbone:
        layer.trainable = True
    if epochs:
        train(model, x, y, learning_rate=1e-3, epochs=epochs)
    return model


def main() -> None:
    """Reads the command line, fine-tunes, saves and evaluates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="binarynet.fashion_mnist_small")
    parser.add_argument("--train", required=True, metavar="DATA")
    parser.add_argument("--test", required=True, metavar="DATA")
    parser.add_argument("--out", type=Path, default=Path("finetuned.keras"))
    parser.add_argument("--head-epochs", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    arguments = parser.parse_args()

    keras.utils.set_random_seed(0)
    model = finetune(
        arguments.model,
        open_source(arguments.train),
        head_epochs=arguments.head_epochs,
        epochs=arguments.epochs,
    )
    model.save(arguments.out)
    report = bnnzoo.evaluate(arguments.out, arguments.test)
    print(f"{arguments.out}: top-1 {report.top1:.2f} % on {report.n} images of {report.dataset}")


if __name__ == "__main__":
    main()
