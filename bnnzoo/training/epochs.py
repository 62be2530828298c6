"""One epoch: its images in their order, the steps, the curve, the flips."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from bnnzoo.errors import BnnZooError
from bnnzoo.nn.optimizers import is_binary_variable
from bnnzoo.training.images import Images, evaluation_codes, training_codes
from bnnzoo.training.recipe import Recipe

__all__ = ["EpochRunner", "Progress", "Split"]

EVALUATION_BATCH = 500


class Progress(NamedTuple):
    """Where a run is: `step` of `steps` in `epoch` of `epochs`, both counted from 1."""

    epoch: int
    epochs: int
    step: int
    steps: int


@dataclass(frozen=True)
class Split:
    """Images in memory, and which of them are learnt from and which are measured for the curve."""

    images: Images
    train: NDArray[np.int64]
    curve: NDArray[np.int64]


class EpochRunner:
    """Runs the epochs of one phase.

    Args:
        trainee: The compiled model.
        split: The images.
        recipe: The recipe.
        progress: Called after every step.
    """

    def __init__(
        self,
        trainee: Any,
        split: Split,
        recipe: Recipe,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.trainee = trainee
        self.split = split
        self.recipe = recipe
        self.steps = len(split.train) // recipe.batch_size
        self.progress = progress
        self._signs = self._current_signs()

    def run(self, epoch: int) -> tuple[dict[str, float], dict[str, float]]:
        """Trains and measures; returns the row of the log and the flip ratio of each layer.

        Args:
            epoch: Counted from 0 over all phases.

        Raises:
            BnnZooError: The loss is no number.
        """
        start = time.perf_counter()
        logs = self._fit(epoch)
        seconds = time.perf_counter() - start
        if not np.isfinite(logs["loss"]):
            raise BnnZooError(
                f"The loss of epoch {epoch + 1} is {logs['loss']}: training has diverged. The last "
                "checkpoint is that of the epoch before; lower the learning rate in a new run."
            )
        curve = self._evaluate()
        flips = self._flips()
        row = {
            "epoch": epoch + 1,
            "loss": logs["loss"],
            "top1": 100 * logs["accuracy"],
            "val_loss": curve["loss"],
            "val_top1": 100 * curve["accuracy"],
            "learning_rate": _number(self.trainee.optimizer.learning_rate),
            "flip_ratio": float(np.mean(list(flips.values()))) if flips else 0.0,
            "seconds": seconds,
            "images_per_second": self.steps * self.recipe.batch_size / seconds,
        }
        return {name: round(value, 6) for name, value in row.items()}, flips

    def _fit(self, epoch: int) -> dict[str, float]:
        recipe = self.recipe
        codes = training_codes(self.split.train, recipe.augmentation, recipe.seed, epoch)
        codes = codes[: self.steps * recipe.batch_size]
        labels, batch_size = self.split.images.labels[codes[:, 0]], recipe.batch_size
        if self.trainee.steps_per_call > 1:
            calls = (-1, self.trainee.steps_per_call, batch_size)
            codes, labels, batch_size = codes.reshape(*calls, 4), labels.reshape(calls), 1
        history = self.trainee.fit(
            codes,
            labels,
            batch_size=batch_size,
            shuffle=False,
            verbose=0,
            callbacks=[_Steps(self, epoch)] if self.progress else [],
        )
        return {name: float(values[-1]) for name, values in history.history.items()}

    def _evaluate(self) -> dict[str, float]:
        codes = evaluation_codes(self.split.curve, self.recipe.augmentation)
        result = self.trainee.evaluate(
            codes,
            self.split.images.labels[self.split.curve],
            batch_size=EVALUATION_BATCH,
            verbose=0,
            return_dict=True,
        )
        return {name: float(value) for name, value in result.items()}

    def _current_signs(self) -> dict[str, NDArray[np.bool_]]:
        return {
            variable.path: np.asarray(ops.convert_to_numpy(variable)) < 0
            for variable in self.trainee.network.trainable_variables
            if is_binary_variable(variable)
        }

    def _flips(self) -> dict[str, float]:
        """Returns the share of weights of each binary kernel that changed sign in this epoch."""
        before, self._signs = self._signs, self._current_signs()
        return {path: float(np.mean(before[path] != now)) for path, now in self._signs.items()}


class _Steps(keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(self, runner: EpochRunner, epoch: int) -> None:
        super().__init__()
        self.runner = runner
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        runner = self.runner
        assert runner.progress is not None
        step = (batch + 1) * runner.trainee.steps_per_call
        runner.progress(Progress(self.epoch + 1, runner.recipe.epochs, step, runner.steps))


def _number(value: Any) -> float:
    return float(ops.convert_to_numpy(ops.convert_to_tensor(value)))
