"""Callbacks that schedule optimizers and quantizers, and log flips of binary weights."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import ops

from bnnzoo.nn.layers import QuantizedLayer
from bnnzoo.nn.metrics import FlipRatio
from bnnzoo.nn.optimizers import CaseOptimizer, is_binary_variable
from bnnzoo.nn.quantizers import AnnealedQuantizer

__all__ = ["AnnealQuantizers", "FlipRatioLogger", "HyperparameterScheduler", "anneal"]


class HyperparameterScheduler(keras.callbacks.Callback):
    """Sets a hyperparameter of an optimizer before every epoch or step, and logs it.

        HyperparameterScheduler(lambda epoch: 1e-3 * 0.1 ** (epoch // 30), "gamma")

    `learning_rate`, and `gamma` and `threshold` of `Bop`, are variables, which can change at
    no cost. Others, such as `beta_1` of Adam, are constants of the compiled train step, which is
    compiled again whenever the value changes.

    Args:
        schedule: Function from the epoch or step, counted from 0, to the new value. If it has a
            second argument without a default, it also gets the current value. Can also be a
            `keras.optimizers.schedules.LearningRateSchedule`.
        hyperparameter: Name of an attribute of the optimizer.
        optimizer: The model's optimizer, or one inside its `CaseOptimizer`. Defaults to the one
            that has the attribute.
        update_freq: "epoch" or "step". Steps are counted by the optimizer, over all epochs.
        verbose: 1 prints each new value.
        log_name: Name in the logs. Defaults to `hyperparameter`.

    Raises:
        ValueError: `update_freq` is invalid; or, when training begins, the model does not train
            with `optimizer`, not exactly one optimizer has the attribute, or the attribute is
            not a number, for example because it already follows a schedule.
    """

    def __init__(
        self,
        schedule: Callable[..., Any],
        hyperparameter: str,
        optimizer: keras.optimizers.Optimizer | None = None,
        update_freq: str = "epoch",
        verbose: int = 0,
        log_name: str | None = None,
    ) -> None:
        super().__init__()
        if not callable(schedule):
            raise ValueError(
                f"schedule must be callable, got {schedule!r}. "
                "Pass a function of the epoch or the step."
            )
        self.schedule = schedule
        self.hyperparameter = hyperparameter
        self.optimizer = optimizer
        self.update_freq = _checked_frequency(update_freq)
        self.verbose = verbose
        self.log_name = log_name or hyperparameter
        self._takes_value = _takes_value(schedule)
        self._target: keras.optimizers.Optimizer | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Finds the optimizer and checks its hyperparameter."""
        self._target = self._find_target()
        value = getattr(self._target, self.hyperparameter)
        number = value is None or isinstance(value, (int, float)) or _is_variable(value)
        if not number or isinstance(value, bool):
            raise ValueError(
                f"{self.hyperparameter} of optimizer {self._target.name!r} must be a number to be "
                f"scheduled, got {value!r}. Construct the optimizer with a float."
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the value for the epoch."""
        if self.update_freq == "epoch":
            self._update("Epoch", epoch)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the value for the step."""
        if self.update_freq == "step":
            _fetch_variables(self)
            self._update("Step", int(ops.convert_to_numpy(self._target.iterations)))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Logs the value."""
        if logs is not None:
            logs[self.log_name] = self._value()

    def _find_target(self) -> keras.optimizers.Optimizer:
        known = list(_with_inner_optimizers(self.model.optimizer))
        if self.optimizer is not None:
            if not any(self.optimizer is optimizer for optimizer in known):
                raise ValueError(
                    f"optimizer must be one that the model trains with, got "
                    f"{self.optimizer.name!r}. For a loaded model, pass its model.optimizer."
                )
            known = [self.optimizer]
        found = [optimizer for optimizer in known if hasattr(optimizer, self.hyperparameter)]
        # A CaseOptimizer with the attribute (learning_rate) sets that of its default optimizer.
        if found and (len(found) == 1 or isinstance(found[0], CaseOptimizer)):
            return found[0]
        names = [optimizer.name for optimizer in found or known]
        raise ValueError(
            f"hyperparameter must be an attribute of one optimizer, got {self.hyperparameter!r}, "
            f"which {'all' if found else 'none'} of {names} has. "
            + ("Pass optimizer." if found else "Check the name.")
        )

    def _value(self) -> float | None:
        value = getattr(self._target, self.hyperparameter)
        return None if value is None else float(ops.convert_to_numpy(ops.convert_to_tensor(value)))

    def _update(self, unit: str, time: int) -> None:
        old = self._value()
        new = self.schedule(time, old) if self._takes_value else self.schedule(time)
        new = float(ops.convert_to_numpy(ops.convert_to_tensor(new)))
        current = getattr(self._target, self.hyperparameter)
        if _is_variable(current):
            current.assign(new)
        elif new != old:
            setattr(self._target, self.hyperparameter, new)
            self.model.make_train_function(force=True)
        if self.verbose:
            print(f"{unit} {time}: {self.log_name} is now {new:g}.")


class AnnealQuantizers(keras.callbacks.Callback):
    """Sets the `progress` of annealed quantizers before every epoch, from 0 to almost 1.

    These are `ErrorDecaySign`, `LibraSign`, `CenteredSign` and `ReCU`. The progress is a constant
    of the compiled train step, which is compiled again whenever it changes.

    Args:
        steps: Number of different values of the progress. Default: one per epoch.

    Raises:
        ValueError: `steps` is not positive, or the model has no annealed quantizer.
    """

    def __init__(self, steps: int | None = None) -> None:
        super().__init__()
        if steps is not None and steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps!r}. Omit it for every epoch.")
        self.steps = steps

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Checks that there is something to anneal."""
        if not any(_annealed(self.model)):
            raise ValueError(
                f"Model {self.model.name!r} must have an annealed quantizer, got none. "
                "Use kernel_quantizer='libra_sign', or omit the callback."
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the progress for the epoch."""
        epochs = self.params["epochs"]
        steps = min(self.steps or epochs, epochs)
        progress = epoch * steps // epochs / steps
        if anneal(self.model, progress):
            self.model.make_train_function(force=True)


def anneal(model: keras.Model, progress: float) -> bool:
    """Sets the `progress` of a model's annealed quantizers; returns whether one has changed.

    A compiled train step must be compiled again after a change.
    """
    changed = False
    for layer, name, quantizer in list(_annealed(model)):
        if quantizer.progress != progress:
            setattr(layer, name, dataclasses.replace(quantizer, progress=progress))
            changed = True
    return changed


def _annealed(model: keras.Model) -> Iterator[tuple[Any, str, AnnealedQuantizer]]:
    """Yields the layers with annealed quantizers, the name of the attribute, and the quantizer."""
    for layer in model._flatten_layers():
        if isinstance(layer, QuantizedLayer):
            for name in ("input_quantizer", *layer.kernel_quantizers.values()):
                quantizer = getattr(layer, name)
                if isinstance(quantizer, AnnealedQuantizer):
                    yield layer, name, quantizer


class FlipRatioLogger(keras.callbacks.Callback):
    """Logs the flip ratio of every binary kernel, as `flip_ratio/<path of the variable>`.

    Args:
        update_freq: "epoch" compares the weights at the ends of two epochs. "step" logs the mean
            over the steps of the epoch, each compared with the previous step, at the cost of a pass
            over the weights per step.

    Raises:
        ValueError: `update_freq` is invalid, or the model trains no binary variable.
    """

    def __init__(self, update_freq: str = "epoch") -> None:
        super().__init__()
        self.update_freq = _checked_frequency(update_freq)
        self._kernels: list[tuple[keras.Variable, FlipRatio]] = []

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Finds the binary kernels and stores their initial signs."""
        binary = [v for v in self.model.trainable_variables if is_binary_variable(v)]
        if not binary:
            raise ValueError(
                f"Model {self.model.name!r} must train binary kernels to log their flips, got "
                "none. Use a 1-bit quantizer, such as kernel_quantizer='ste_sign'."
            )
        self._kernels = [(variable, FlipRatio()) for variable in binary]
        self._update()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Compares the signs with those before the step."""
        if self.update_freq == "step":
            self._update()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Logs the flip ratios of the epoch."""
        if self.update_freq == "epoch":
            self._update()
        for variable, metric in self._kernels:
            if logs is not None:
                logs[f"flip_ratio/{variable.path}"] = float(ops.convert_to_numpy(metric.result()))
            metric.reset_state()

    def _update(self) -> None:
        _fetch_variables(self)
        for variable, metric in self._kernels:
            metric.update_state(variable)


def _checked_frequency(update_freq: str) -> str:
    if update_freq not in ("epoch", "step"):
        raise ValueError(f"update_freq must be 'epoch' or 'step', got {update_freq!r}.")
    return update_freq


def _fetch_variables(callback: keras.callbacks.Callback) -> None:
    # On JAX the train step holds the variables' values during an epoch. Reading the model of a
    # callback restores them.
    _ = callback.model


def _is_variable(value: Any) -> bool:
    # Not isinstance: in Keras 3.5 no variable of an optimizer or layer is a `keras.Variable`.
    return hasattr(value, "assign")


def _takes_value(schedule: Callable[..., Any]) -> bool:
    required = [
        parameter
        for parameter in inspect.signature(schedule).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    return len(required) > 1


def _with_inner_optimizers(
    optimizer: keras.optimizers.Optimizer,
) -> Iterator[keras.optimizers.Optimizer]:
    """Yields an optimizer and those inside it; for a loss scale optimizer, only the latter."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        yield from _with_inner_optimizers(optimizer.inner_optimizer)
        return
    yield optimizer
    if isinstance(optimizer, CaseOptimizer):
        for case in optimizer.cases:
            yield from _with_inner_optimizers(case.optimizer)
