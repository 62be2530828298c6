"""The optimizers of a phase, natively: the same numbers as Keras's, in the same slots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from bnnzoo import nn
from bnnzoo.training.native.building import Binding, NativeNetwork, NotNativeError

__all__ = ["Updates"]


class Updates:
    """Updates the parameters of a native network with a Keras optimizer's settings and state.

    Args:
        made: The network.
        optimizer: A built optimizer of `training.optimizers.make_optimizer`.

    Raises:
        NotNativeError: The optimizer is not Adam, SGD with momentum or Bop.
    """

    def __init__(self, made: NativeNetwork, optimizer: Any) -> None:
        self.optimizer = optimizer
        trained = [binding for binding in made.bindings if binding.trained]
        cases = isinstance(optimizer, nn.CaseOptimizer)
        inner = [case.optimizer for case in optimizer.cases] if cases else [optimizer]
        self._parts = [_Part(made.network, each, _own(each, trained)) for each in inner]

    @property
    def slots(self) -> list[NDArray[np.float32]]:
        """The state of the optimizers."""
        return [slot for part in self._parts for slot in part.slots]

    def load(self) -> None:
        """Reads the state of the optimizer from Keras."""
        for part in self._parts:
            part.load()

    def store(self) -> None:
        """Writes the state of the optimizer to Keras."""
        for part in self._parts:
            part.store()
        if isinstance(self.optimizer, nn.CaseOptimizer):
            self.optimizer._iterations.assign(self._parts[-1].iterations)

    def step(self) -> None:
        """Runs one step with the network's gradients."""
        for part in self._parts:
            part.step()


def _own(optimizer: Any, bindings: Sequence[Binding]) -> list[Binding]:
    known = {id(variable) for variable in optimizer._trainable_variables}
    return [binding for binding in bindings if id(binding.variable) in known]


class _Part:
    """One optimizer with its variables. Its slots are flat, of the layout of the parameters."""

    def __init__(self, network: Any, optimizer: Any, bindings: Sequence[Binding]) -> None:
        names = _SLOTS.get(type(optimizer))
        if names is None:
            raise NotNativeError(f"the optimizer {type(optimizer).__name__} is not native.")
        self.network = network
        self.optimizer = optimizer
        self.bindings = bindings
        self.names = names
        self.iterations = 0
        self.slots = [np.zeros_like(network.parameters) for _ in names]
        self.clip_norm = optimizer.global_clipnorm
        self.decay = optimizer.weight_decay or 0.0

    def _variables(self) -> list[tuple[Binding, list[Any]]]:
        slots = [getattr(self.optimizer, name) for name in self.names]
        index = self.optimizer._get_variable_index
        return [(b, [slot[index(b.variable)] for slot in slots]) for b in self.bindings]

    def load(self) -> None:
        self.iterations = int(ops.convert_to_numpy(self.optimizer._iterations))
        for binding, variables in self._variables():
            for slot, variable in zip(self.slots, variables, strict=True):
                slot[binding.place] = np.ravel(ops.convert_to_numpy(variable))

    def store(self) -> None:
        self.optimizer._iterations.assign(self.iterations)
        for binding, variables in self._variables():
            for slot, variable in zip(self.slots, variables, strict=True):
                variable.assign(slot[binding.place].reshape(variable.shape))

    def step(self) -> None:
        rate = self._rate()
        scale = self._scale()
        self.iterations += 1
        update = {
            keras.optimizers.Adam: self._adam,
            keras.optimizers.SGD: self._sgd,
            nn.Bop: self._bop,
        }[type(self.optimizer)]
        for binding in self.bindings:
            decays = self.decay and self.optimizer._use_weight_decay(binding.variable)
            update(binding, rate, rate * self.decay if decays else 0.0, scale)

    def _rate(self) -> float:
        rate = self.optimizer._learning_rate
        if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            rate = rate(self.iterations)
        return float(ops.convert_to_numpy(ops.convert_to_tensor(rate)))

    def _scale(self) -> float:
        """Returns the factor that limits the norm of all gradients."""
        if self.clip_norm is None:
            return 1.0
        squares = [
            float(np.square(self.network.gradients[b.place], dtype=np.float64).sum())
            for b in self.bindings
        ]
        return min(1.0, float(self.clip_norm) / max(math.sqrt(sum(squares)), 1e-30))

    def _adam(self, binding: Binding, rate: float, decay: float, scale: float) -> None:
        adam, t = self.optimizer, self.iterations
        corrected = rate * (1 - adam.beta_2**t) ** 0.5 / (1 - adam.beta_1**t)
        place = binding.place
        self.network.adam(
            place.start, place.stop - place.start, *self.slots, corrected, 1 - adam.beta_1,
            1 - adam.beta_2, adam.epsilon, decay, binding.limit, scale,
        )  # fmt: skip

    def _sgd(self, binding: Binding, rate: float, decay: float, scale: float) -> None:
        place, momentum = binding.place, self.optimizer.momentum
        self.network.sgd(
            place.start, place.stop - place.start, *self.slots, rate, momentum, decay,
            binding.limit, scale,
        )  # fmt: skip

    def _bop(self, binding: Binding, rate: float, decay: float, scale: float) -> None:
        place = binding.place
        average, weights = self.slots[0][place], self.network.parameters[place]
        gradient = self.network.gradients[place] * np.float32(scale)
        average += np.float32(rate) * (gradient - average)
        signs = np.where(weights < 0, np.float32(-1), np.float32(1))
        threshold = ops.convert_to_numpy(ops.convert_to_tensor(self.optimizer.threshold))
        flipped = np.where(signs * average > threshold, -signs, signs)
        weights[:] = np.clip(flipped, -binding.limit, binding.limit)


_SLOTS: dict[type, tuple[str, ...]] = {
    keras.optimizers.Adam: ("_momentums", "_velocities"),
    keras.optimizers.SGD: ("momentums",),
    nn.Bop: ("_averages",),
}
