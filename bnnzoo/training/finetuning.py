"""`finetune(NAME, DATA, FOLDER)`: trains a network on other classes."""

from __future__ import annotations

import math
from os import PathLike
from pathlib import Path
from typing import Any

from bnnzoo.errors import ArgumentError
from bnnzoo.opening import open_model
from bnnzoo.training.networks import preprocessing_of
from bnnzoo.training.recipes.schema import Augmentation, Phase, Recipe
from bnnzoo.training.recipes.settings import both_splits
from bnnzoo.training.trainer import train

__all__ = ["finetune", "finetuning_recipe"]

HEAD_FACTOR = 3  # of the learning rate: random weights need larger steps


def finetune(
    model: str | PathLike[str],
    data: str,
    folder: str | PathLike[str],
    *,
    resume: bool = False,
    **settings: Any,
) -> dict[str, Any]:
    """Fine-tunes a network and returns the report.

        training.finetune("binarynet.fashion_mnist_small", "digits.npz", "runs/digits")

    Args:
        model: `name.tag`, or a `.keras` or packed file.
        data: Training images, as `finetuning_recipe` takes them.
        folder: The folder of the run, see `train`.
        resume: Continue a run that was interrupted.
        settings: Further arguments of `finetuning_recipe`.

    Raises:
        BnnZooError: See `train`.
    """
    return train(finetuning_recipe(model, data, **settings), folder, resume=resume)


def finetuning_recipe(
    model: str | PathLike[str],
    data: str,
    *,
    test_data: str | None = None,
    epochs: int = 10,
    learning_rate: float = 1e-3,
    freeze_backbone: int = 5,
    batch_size: int = 64,
    pad: int = 0,
    flip: bool = False,
    seed: int = 0,
) -> Recipe:
    """Returns the recipe that fine-tunes a network: a new head first, then everything.

    Args:
        model: `name.tag`, or a `.keras` or packed file.
        data: `keras:NAME`, `FILE.npz`, or a folder with the folders `train` and `test`; or the
            training images alone, with `test_data`.
        test_data: Images for the final evaluation.
        epochs: Epochs in which the whole network is trained.
        learning_rate: Its highest value in these epochs.
        freeze_backbone: Earlier epochs, in which only the layers after the last stage are trained.
        batch_size: Images per step.
        pad: Shift training images by up to this many pixels.
        flip: Mirror half of the training images.
        seed: Seed of weights, order and shifts.

    Raises:
        ArgumentError: There are no test images or no epochs, the learning rate is invalid, or the
            model is not a network of the zoo.
        BnnZooError: The model cannot be loaded.
    """
    if not (epochs or freeze_backbone):
        raise ArgumentError(
            "epochs or freeze_backbone must be positive, got 0 for both. Nothing would be trained."
        )
    if not 0 <= learning_rate < math.inf:
        raise ArgumentError(f"learning_rate must be finite and at least 0, got {learning_rate!r}.")
    network = open_model(str(model), pretrained=True)
    preprocessing = preprocessing_of(network, str(model))
    head = Phase(freeze_backbone, freeze_backbone=True, learning_rate=HEAD_FACTOR * learning_rate)
    whole = Phase(epochs, learning_rate=learning_rate)
    train_data, measured = both_splits(data, test_data)
    return Recipe(
        name=f"{Path(model).name}-finetuned",
        network=network.model_spec.name,
        data=train_data,
        test_data=measured,
        phases=tuple(phase for phase in (head, whole) if phase.epochs),
        start_from=str(model),
        preprocessing=preprocessing,
        augmentation=Augmentation(pad, flip),
        batch_size=batch_size,
        batch_norm_momentum=None,
        seed=seed,
        summary=f"Fine-tuned from {model}.",
    )
