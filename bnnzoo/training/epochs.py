"""Runs one epoch: image order, steps, validation and flip ratios."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from bnnzoo.errors import BnnZooError
from bnnzoo.nn.optimizers import CaseOptimizer, is_binary_variable
from bnnzoo.training.distributed.distribution import ALONE, Group
from bnnzoo.training.images.crops import Drawing
from bnnzoo.training.images.host_images import HostImages
from bnnzoo.training.images.image_arrays import evaluation_codes, training_codes
from bnnzoo.training.images.run_data import RunData
from bnnzoo.training.interrupts import kept_interrupts
from bnnzoo.training.progress import Progress
from bnnzoo.training.recipes.schema import Recipe

__all__ = ["EpochRunner", "evaluation_batch"]

MAX_EVALUATED_AT_ONCE = 500
VALUES_EVALUATED_AT_ONCE = 2**24


def evaluation_batch(data: RunData) -> int:
    """Returns how many images are measured at once: 500, or 111 of 224 x 224 x 3.

    With masks, a pixel has a value for each class.
    """
    height, width, values = data.images.shape
    if data.test.has_masks:
        values = max(values, data.num_classes)
    size = VALUES_EVALUATED_AT_ONCE // (height * width * values)
    return max(min(MAX_EVALUATED_AT_ONCE, size), 1)


class EpochRunner:
    """Runs the epochs of one phase.

    Args:
        model: The compiled model.
        data: The images.
        recipe: The recipe.
        group: The processes that share each batch.
        progress: Called after every step.
        native: The native engine, if it trains instead of Keras.
    """

    def __init__(
        self,
        model: Any,
        data: RunData,
        recipe: Recipe,
        group: Group = ALONE,
        progress: Callable[[Progress], None] | None = None,
        native: Any = None,
    ) -> None:
        self.model = model
        self.data = data
        self.recipe = recipe
        self.group = group
        self.steps = len(data.train) // recipe.batch_size
        self.progress = progress
        self.native = native
        self.host = HostImages(data.images, recipe.preprocessing, recipe.augmentation.pad)
        self._signs = self._current_signs()

    def run(self, epoch: int) -> tuple[dict[str, float], dict[str, float]]:
        """Trains and validates; returns the row of the log and the flip ratio of each layer.

        Args:
            epoch: Index of the epoch, over all phases.

        Raises:
            BnnZooError: The loss is not finite.
        """
        start = time.perf_counter()
        with kept_interrupts() as check:
            logs = self._fit(epoch, check)
            seconds = time.perf_counter() - start
            validation = self._evaluate()
        for loss in (logs["loss"], validation["loss"]):  # the first is measured before each step
            if not np.isfinite(loss):
                raise BnnZooError(
                    f"The loss of epoch {epoch + 1} is {loss}: training has diverged. The last "
                    "checkpoint is of the epoch before; start a new run with a lower learning rate."
                )
        flips = self._flips()
        row = {
            "epoch": epoch + 1,
            "loss": logs["loss"],
            "top1": 100 * logs["accuracy"],
            "val_loss": validation["loss"],
            "val_top1": 100 * validation["accuracy"],
            "learning_rate": _learning_rate(self.model.optimizer),
            "flip_ratio": float(np.mean(list(flips.values()))) if flips else 0.0,
            "seconds": seconds,
            "images_per_second": self.steps * self.recipe.batch_size / seconds,
        }
        return {name: round(value, 6) for name, value in row.items()}, flips

    def _fit(self, epoch: int, check: Callable[[], None]) -> dict[str, float]:
        recipe = self.recipe
        codes = training_codes(self.data.train, recipe.augmentation, recipe.seed, epoch)
        codes = codes[: self.steps * recipe.batch_size].reshape(self.steps, recipe.batch_size, 4)
        codes = self.group.part(codes)
        drawing = Drawing(recipe.augmentation.min_area, recipe.seed, epoch)
        callback = _Steps(self, epoch, check)
        with self.data.images.feed(codes.reshape(-1, 4), codes.shape[1], drawing) as batches:
            if self.native is not None:
                return self._fit_natively(batches, callback)
            history = self.model.fit(
                **self._by_calls(batches),
                shuffle=False,
                verbose=0,
                callbacks=[callback] if self.progress else [],
            )
        return {name: float(values[-1]) for name, values in history.history.items()}

    def _fit_natively(self, fed: dict[str, Any], callback: _Steps) -> dict[str, float]:
        on_step = callback.on_train_batch_end if self.progress else lambda step: None
        batches = self.host.batches(fed, self.recipe.batch_size)
        logs: dict[str, float] = self.native.fit(batches, on_step)
        return logs

    def _by_calls(self, data: dict[str, Any]) -> dict[str, Any]:
        """Returns the codes and labels of an epoch, one batch per call."""
        if self.model.steps_per_call == 1:
            return data
        in_calls, batch = self.model.in_calls, data["batch_size"]
        x, y = data["x"].reshape(-1, batch, 4), data["y"].reshape(-1, batch)
        return {**data, "x": in_calls(x), "y": in_calls(y)}

    def _evaluate(self) -> dict[str, float]:
        images, group = self.data.images, self.group
        if self.native is not None:
            codes = evaluation_codes(self.data.validation, self.recipe.augmentation)
            with images.feed(codes, self.recipe.batch_size) as batches:
                measured: dict[str, float] = self.native.evaluate(
                    self.host.batches(batches, self.recipe.batch_size)
                )
            return measured
        size = evaluation_batch(self.data)
        indices, weights = whole_batches(self.data.validation, size, group.devices)
        indices, weights = group.part(indices), group.part(weights)
        codes = evaluation_codes(indices.ravel(), self.recipe.augmentation)
        with images.feed(codes, indices.shape[1]) as batches:
            result = self.model.evaluate(**_weighted(batches, weights), verbose=0, return_dict=True)
        return {name: float(value) for name, value in result.items()}

    def _current_signs(self) -> dict[str, NDArray[np.bool_]]:
        return {
            variable.path: np.asarray(ops.convert_to_numpy(variable)) < 0
            for variable in self.model.network.trainable_variables
            if is_binary_variable(variable)
        }

    def _flips(self) -> dict[str, float]:
        """Returns the share of weights of each binary kernel that changed sign in this epoch."""
        before, self._signs = self._signs, self._current_signs()
        return {path: float(np.mean(before[path] != now)) for path, now in self._signs.items()}


def whole_batches(
    indices: NDArray[np.int64], size: int, devices: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Returns indices of images in whole batches `(batches, size)`, and the weight of each.

    The last batch is filled with an image of weight 0. The mean of the weights is 1, so that the
    weighted mean over all batches is the mean over the images.

    Args:
        indices: Indices of the images.
        size: Approximate batch size.
        devices: Number of devices; the batch size becomes a multiple of it.
    """
    size = -(-min(size, len(indices)) // devices) * devices
    missing = -len(indices) % size
    total = len(indices) + missing
    weights = np.zeros(total, dtype=np.float32)
    weights[: len(indices)] = total / len(indices)
    filled = np.concatenate([indices, np.repeat(indices[:1], missing)])
    return filled.reshape(-1, size), weights.reshape(-1, size)


def _weighted(data: dict[str, Any], weights: NDArray[np.float32]) -> dict[str, Any]:
    """Returns the data for Keras's `evaluate`, with weights `(batches, size)`."""
    if "y" in data:
        return {**data, "sample_weight": weights.ravel()}
    return {"x": ((*batch, weight) for batch, weight in zip(data["x"], weights, strict=False))}


class _Steps(keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(self, runner: EpochRunner, epoch: int, check: Callable[[], None]) -> None:
        super().__init__()
        self.runner = runner
        self.epoch = epoch
        self.check = check

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        runner = self.runner
        assert runner.progress is not None
        step = (batch + 1) * runner.model.steps_per_call
        runner.progress(Progress(self.epoch + 1, runner.recipe.epochs, step, runner.steps))
        self.check()


def _learning_rate(optimizer: Any) -> float:
    """Returns the learning rate of the float variables; the binary ones may have their own."""
    if isinstance(optimizer, CaseOptimizer):
        optimizer = optimizer.cases[-1].optimizer
    return float(ops.convert_to_numpy(ops.convert_to_tensor(optimizer.learning_rate)))
