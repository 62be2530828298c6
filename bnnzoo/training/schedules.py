"""The learning rate over the steps of a phase."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from bnnzoo.errors import ArgumentError
from bnnzoo.training.recipes.schema import SCHEDULES

__all__ = ["WarmupDecay"]

POLY_POWER = 0.9


@keras.saving.register_keras_serializable(package="bnnzoo")
class WarmupDecay(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Rises linearly, then falls.

    With t the step from 0, w `warmup_steps` and d `steps`:
    t < w: peak (t + 1) / w;
    later, with p = (t - w) / (d - w) limited to 1: peak (1 + cos(pi p)) / 2 for `cosine`,
    peak (1 - p) for `linear`, peak (1 - p)^0.9 for `poly`, peak for `constant`; for `steps`, peak
    times the share of the last of the `drops` that t has reached.

    Args:
        peak: Highest value.
        steps: Total number of steps.
        warmup_steps: Number of steps of the rise.
        decay: `cosine`, `linear`, `poly` (DeepLab's, https://arxiv.org/abs/1606.00915), `constant`
            or `steps`.
        drops: Pairs of a step and a share, in order, for `steps`.

    Raises:
        ArgumentError: `decay` is none of these, or the steps are not 0 <= w <= d.
    """

    def __init__(
        self,
        peak: float,
        steps: int,
        warmup_steps: int = 0,
        decay: str = "cosine",
        drops: Sequence[tuple[int, float]] = (),
    ) -> None:
        if decay not in SCHEDULES:
            raise ArgumentError(f"decay must be one of {', '.join(SCHEDULES)}, got {decay!r}.")
        if not 0 <= warmup_steps <= steps:
            raise ArgumentError(f"warmup_steps must be from 0 to {steps}, got {warmup_steps}.")
        self.peak = peak
        self.steps = steps
        self.warmup_steps = warmup_steps
        self.decay = decay
        self.drops = [(step, share) for step, share in drops]

    def __call__(self, step: Any) -> Any:
        """Returns the value at a step."""
        t = ops.cast(step, "float32")
        rest = max(self.steps - self.warmup_steps, 1)
        p = ops.clip((t - self.warmup_steps) / rest, 0.0, 1.0)
        factor = {
            "cosine": 0.5 * (1.0 + ops.cos(math.pi * p)),
            "linear": 1.0 - p,
            "poly": (1.0 - p) ** POLY_POWER,
            "constant": ops.ones_like(p),
            "steps": ops.ones_like(p),
        }[self.decay]
        for drop, share in self.drops if self.decay == "steps" else ():
            factor = ops.where(t >= drop, share, factor)
        rise = (t + 1.0) / max(self.warmup_steps, 1)
        return self.peak * ops.where(t < self.warmup_steps, rise, factor)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make an equal schedule."""
        return {
            "peak": self.peak,
            "steps": self.steps,
            "warmup_steps": self.warmup_steps,
            "decay": self.decay,
            "drops": self.drops,
        }
