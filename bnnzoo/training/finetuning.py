"""`finetune(NAME, DATA, FOLDER)`: trains a network on other classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from bnnzoo.errors import ArgumentError
from bnnzoo.opening import open_model
from bnnzoo.training.networks import preprocessing_of
from bnnzoo.training.progress import Progress, Row
from bnnzoo.training.recipes.schema import Augmentation, Phase, Recipe
from bnnzoo.training.recipes.settings import apply_settings, both_splits
from bnnzoo.training.trainer import train

__all__ = ["finetune", "finetuning_recipe"]

HEAD_FACTOR = 3  # of the learning rate: random weights need larger steps


def finetune(
    model: str | PathLike[str],
    data: str,
    folder: str | PathLike[str],
    *,
    resume: bool = False,
    progress: Callable[[Progress], None] | None = None,
    on_epoch: Callable[[Row], None] | None = None,
    verbose: bool = True,
    engine: str = "auto",
    **settings: Any,
) -> dict[str, Any]:
    """Fine-tunes a network and returns the report.

        training.finetune("binarynet.fashion_mnist_small", "digits.npz", "runs/digits")

    Args:
        model: `name.tag`, or a `.keras` or packed file.
        data: Training images, as `finetuning_recipe` takes them.
        folder: The folder of the run, see `train`.
        resume: Continue a run that was interrupted.
        progress: See `train`.
        on_epoch: See `train`.
        verbose: See `train`.
        engine: See `train`.
        settings: Further arguments of `finetuning_recipe`.

    Raises:
        BnnZooError: See `train`.
    """
    return train(
        finetuning_recipe(model, data, **settings), folder, resume=resume, progress=progress,
        on_epoch=on_epoch, verbose=verbose, engine=engine,
    )  # fmt: skip


def finetuning_recipe(
    model: str | PathLike[str],
    data: str,
    *,
    test_data: str | None = None,
    split: float = 0.0,
    epochs: int = 10,
    learning_rate: float = 1e-3,
    freeze_backbone: int = 5,
    batch_size: int = 64,
    pad: int = 0,
    flip: bool = False,
    min_area: float = 1.0,
    held_out: int = 0,
    seed: int = 0,
    settings: Sequence[str] = (),
) -> Recipe:
    """Returns the recipe that fine-tunes a network: a new head first, then everything.

    Args:
        model: `name.tag`, or a `.keras` or packed file.
        data: `keras:NAME`, `FILE.npz`, or a folder with the folders `train` and `test`; or the
            training images alone, with `test_data`.
        test_data: Images for the final evaluation.
        split: Fraction of `data` to test on instead, for a folder without test images.
        epochs: Epochs in which the whole network is trained.
        learning_rate: Its highest value in these epochs.
        freeze_backbone: Earlier epochs, in which only the layers after the last stage are trained.
        batch_size: Images per step.
        pad: Shift training images by up to this many pixels.
        flip: Mirror half of the training images.
        min_area: If it is below 1, train on random parts of the images with at least this fraction
            of their area.
        held_out: Number of training images kept for the accuracy after each epoch.
        seed: Seed of weights, order and shifts.
        settings: Other settings of the recipe, as `apply_settings` takes them.

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
    train_data, measured = both_splits(data, test_data, split=split)
    recipe = Recipe(
        name=f"{Path(model).name}-finetuned",
        network=network.model_spec.name,
        data=train_data,
        test_data=measured,
        phases=tuple(phase for phase in (head, whole) if phase.epochs),
        start_from=str(model),
        preprocessing=preprocessing,
        split=split,
        augmentation=Augmentation(pad, flip, min_area),
        batch_size=batch_size,
        held_out=held_out,
        batch_norm_momentum=None,
        seed=seed,
        summary=f"Fine-tuned from {model}.",
    )
    return apply_settings(recipe, settings)
