"""The binary optimizer (Bop), which trains binary weights without latent weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

__all__ = ["Bop", "is_binary_variable"]


@keras.saving.register_keras_serializable(package="bnnzoo")
def is_binary_variable(variable: keras.Variable) -> bool:
    """Returns whether a variable is the kernel of a layer that quantizes it to one bit.

    Layers of `bnnzoo.nn` mark their kernels when they are built, which is before any optimizer uses
    the variables.
    """
    return getattr(getattr(variable, "quantizer", None), "bits", 32) == 1


@keras.saving.register_keras_serializable(package="bnnzoo")
class Bop(keras.optimizers.Optimizer):
    """The binary optimizer, which flips weights and has no latent weights.

    m[t] = (1 - gamma) m[t - 1] + gamma g[t], with g[t] the gradient and m[0] = 0;
    w[t] = -w[t - 1] where |m[t]| > threshold and sign(m[t]) = sign(w[t - 1]), else w[t - 1].

    The weights are -1 and +1 from the first step, whatever their initial values. Use it for binary
    kernels only, with `CaseOptimizer((Bop.is_binary_variable, Bop()), ...)`.

    `gamma` replaces the learning rate: `learning_rate` is an alias of `gamma`, so that Keras's
    callbacks for learning rates schedule it.

    Args:
        threshold: Magnitude of the average gradient above which a weight flips: a nonnegative
            float, or a schedule.
        gamma: Rate of the moving average of the gradient: a float from 0 to 1, or a schedule.
        name: Name of the optimizer.
        **kwargs: `clipnorm`, `clipvalue`, `global_clipnorm`, `loss_scale_factor` and
            `gradient_accumulation_steps` as in all Keras optimizers.

    Raises:
        ValueError: `threshold` or `gamma` is out of range, or `weight_decay` or `use_ema` is
            given, which would make weights non-binary.

    Reference:
        Helwegen et al. 2019, Latent Weights Do Not Exist, https://arxiv.org/abs/1906.02107
    """

    is_binary_variable = staticmethod(is_binary_variable)

    def __init__(
        self,
        threshold: float | LearningRateSchedule = 1e-8,
        gamma: float | LearningRateSchedule = 1e-4,
        name: str = "bop",
        **kwargs: Any,
    ) -> None:
        for argument in ("weight_decay", "use_ema"):
            if kwargs.get(argument):
                raise ValueError(
                    f"{argument} must be off in Bop, got {kwargs[argument]!r}. "
                    "It would make weights other than -1 and +1."
                )
        super().__init__(learning_rate=_checked("gamma", gamma, 0.0, 1.0), name=name, **kwargs)
        threshold = _checked("threshold", threshold, 0.0, float("inf"))
        if not isinstance(threshold, LearningRateSchedule):
            # A variable, so that a callback can change it under a compiled train step.
            threshold = self.add_variable(
                shape=(),
                initializer=keras.initializers.Constant(threshold),
                aggregation="only_first_replica",
                name="threshold",
            )
        self._threshold = threshold

    @property
    def gamma(self) -> Any:
        """Rate of the moving average of the gradient at this iteration."""
        return self.learning_rate

    @gamma.setter
    def gamma(self, value: float) -> None:
        self.learning_rate = value

    @property
    def threshold(self) -> Any:
        """Magnitude of the average gradient above which a weight flips, at this iteration."""
        if isinstance(self._threshold, LearningRateSchedule):
            return self._threshold(self._iterations)
        return self._threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        if isinstance(self._threshold, LearningRateSchedule):
            raise TypeError(
                f"threshold must be a float to be settable, got {self._threshold!r}. "
                "Construct Bop with a float."
            )
        self._threshold.assign(value)

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Creates the average gradient of each variable."""
        if self.built:
            return
        super().build(variables)
        self._averages = [self.add_variable_from_reference(v, name="m") for v in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Flips weights according to their average gradients."""
        average = self._averages[self._get_variable_index(variable)]
        gamma = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        m = ops.add(average, ops.multiply(gamma, ops.subtract(gradient, average)))
        w = ops.cast(ops.where(ops.less(variable, 0), -1.0, 1.0), variable.dtype)
        # As w is -1 or +1, "|m| > threshold and sign(m) = sign(w)" is "w m > threshold".
        signal = ops.cast(ops.multiply(w, m), "float32")
        flip = ops.greater(signal, ops.cast(self.threshold, "float32"))
        self.assign(average, m)
        self.assign(variable, ops.where(flip, ops.negative(w), w))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the optimizer, without its state."""
        config = super().get_config()
        config["gamma"] = config.pop("learning_rate")
        if isinstance(self._threshold, LearningRateSchedule):
            config["threshold"] = keras.optimizers.schedules.serialize(self._threshold)
        else:
            config["threshold"] = float(ops.convert_to_numpy(self._threshold))
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Bop:
        """Returns the optimizer of a config of `get_config`."""
        config = dict(config)
        for name in ("gamma", "threshold"):
            if isinstance(config.get(name), dict):
                config[name] = keras.optimizers.schedules.deserialize(
                    config[name], custom_objects=custom_objects
                )
        return cls(**config)


def _checked(name: str, value: Any, low: float, high: float) -> Any:
    if isinstance(value, LearningRateSchedule):
        return value
    if isinstance(value, (int, float)) and low <= value <= high:
        return float(value)
    bound = f"from {low:g} to {high:g}" if high < float("inf") else f"of at least {low:g}"
    raise ValueError(f"{name} must be a number {bound} or a schedule, got {value!r}.")
