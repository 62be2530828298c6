"""Trains and measures epochs of a Keras network with the native network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from bnnzoo.training.images.host_images import Batch
from bnnzoo.training.native.building import NativeNetwork, NotNativeError, build
from bnnzoo.training.native.updates import Updates
from bnnzoo.training.recipes.schema import Phase

__all__ = [
    "NativeEngine",
    "NotNativeError",
    "add_penalties",
    "load",
    "pass_gradients",
    "quantize",
    "store",
]


class NativeEngine:
    """Trains a Keras network: its variables are read before an epoch and written after it.

    Args:
        network: The Keras network.
        optimizer: Its built optimizer.
        phase: The phase, for the objective.
        batch_size: Images per step.
        teacher: A network that is not trained, for the objective.

    Raises:
        NotNativeError: The engine does not know a layer, or a setting.
    """

    def __init__(
        self, network: Any, optimizer: Any, phase: Phase, batch_size: int, teacher: Any = None
    ) -> None:
        if phase.attention:
            raise NotNativeError("attention matching is not in the native engine.")
        self.network = network
        self.optimizer = optimizer
        self.phase = phase
        self.batch_size = batch_size
        self.teacher = None if teacher is None else _made(teacher, batch_size)
        self.rebuild()
        trained = {id(b.variable) for b in self._made.bindings if b.trained}
        if trained != {id(variable) for variable in network.trainable_variables}:
            raise NotNativeError("some layers are not trained.")

    def rebuild(self) -> None:
        """Builds the native network again, after quantizers have changed."""
        self._made = _made(self.network, self.batch_size)
        self._updates = Updates(self._made, self.optimizer)

    def fit(self, batches: Iterable[Batch], on_step: Callable[[int], None]) -> dict[str, float]:
        """Trains on some batches; returns the mean loss and accuracy.

        Args:
            batches: The batches.
            on_step: Called after every step with its index.
        """
        made, phase = self._made, self.phase
        load(made)
        self._updates.load()
        losses: list[float] = []
        correct = images = 0
        for index, batch in enumerate(batches):
            taught = None if self.teacher is None else _predict(self.teacher, batch.images)
            quantize(made)
            mean, right = made.network.train(
                made.output, batch.images, batch.labels, phase.label_smoothing, taught,
                phase.distillation, phase.temperature,
            )  # fmt: skip
            pass_gradients(made)
            mean += add_penalties(made)
            self._updates.step()
            losses.append(mean)
            correct, images = correct + right, images + len(batch.labels)
            on_step(index)
        store(made)
        self._updates.store()
        # The loss is computed in double precision, so that it is finite longer than the weights.
        numbers = (made.network.parameters, made.network.state, *self._updates.slots)
        finite = all(np.isfinite(each).all() for each in numbers)
        loss = float(np.mean(losses)) if finite else math.nan
        return {"loss": loss, "accuracy": correct / images}

    def evaluate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Returns the mean cross-entropy and accuracy."""
        load(self._made)
        quantize(self._made)
        loss = correct = images = 0.0
        for batch in batches:
            logits = _predict(self._made, batch.images).astype(np.float64)
            with np.errstate(invalid="ignore"):  # of a network that has diverged
                logits -= logits.max(axis=1, keepdims=True)
            of_label = logits[np.arange(len(logits)), batch.labels]
            loss += float((np.log(np.exp(logits).sum(axis=1)) - of_label).sum())
            correct += float((logits.argmax(axis=1) == batch.labels).sum())
            images += len(batch.labels)
        return {"loss": loss / images, "accuracy": correct / images}


def _made(network: Any, batch_size: int) -> NativeNetwork:
    made = build(network, batch_size)
    load(made)
    quantize(made)
    return made


def _numbers(made: NativeNetwork, binding: Any) -> NDArray[np.float32]:
    values = made.network.parameters if binding.trained else made.network.state
    numbers: NDArray[np.float32] = values[binding.place]
    return numbers


def load(made: NativeNetwork) -> None:
    """Reads the values of the Keras variables."""
    for binding in made.bindings:
        _numbers(made, binding)[:] = np.ravel(ops.convert_to_numpy(binding.variable))


def add_penalties(made: NativeNetwork) -> float:
    """Adds the gradients of the L2 regularizers, and returns their losses."""
    loss = 0.0
    for binding in made.bindings:
        if binding.l2:
            values = made.network.parameters[binding.place]
            made.network.gradients[binding.place] += np.float32(2 * binding.l2) * values
            loss += binding.l2 * float(np.dot(values, values))
    return loss


def store(made: NativeNetwork) -> None:
    """Writes the values of the Keras variables."""
    for binding in made.bindings:
        binding.variable.assign(_numbers(made, binding).reshape(binding.variable.shape))


def _predict(made: NativeNetwork, images: NDArray[np.float32]) -> NDArray[np.float32]:
    size = made.batch_size
    parts = [
        made.network.predict(made.output, images[first : first + size])
        for first in range(0, len(images), size)
    ]
    return np.concatenate(parts)


def quantize(made: NativeNetwork) -> None:
    """Computes the kernels that the extension module does not quantize."""
    for kernel in made.given:
        latent = made.network.parameters[kernel.latent.place]
        filters = latent.reshape(-1, kernel.latent.variable.shape[-1])
        made.network.state[kernel.quantized] = np.ravel(kernel.formula.value(filters))


def pass_gradients(made: NativeNetwork) -> None:
    """Turns the gradients of these kernels into those of the latent ones."""
    for kernel in made.given:
        shape = (-1, kernel.latent.variable.shape[-1])
        latent = made.network.parameters[kernel.latent.place].reshape(shape)
        gradient = made.network.gradients[kernel.latent.place]
        gradient[:] = np.ravel(kernel.formula.gradient(latent, gradient.reshape(shape)))
