"""Constraints on latent weights."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

__all__ = ["WeightClip", "get"]


@keras.saving.register_keras_serializable(package="bnnzoo")
class WeightClip(keras.constraints.Constraint):
    """Clips weights to [-clip_value, clip_value] after every update. Alias `weight_clip`.

    If the gradient of a quantizer is zero beyond `clip_value`, a latent weight beyond it would
    never change again. Clipping keeps every weight in the range where its sign can still change.

    Raises:
        ValueError: `clip_value` is not positive.

    Reference:
        Courbariaux et al. 2016, https://arxiv.org/abs/1602.02830
    """

    def __init__(self, clip_value: float = 1.0) -> None:
        if not clip_value > 0:
            raise ValueError(
                f"clip_value must be positive, got {clip_value!r}. "
                "Use the clip_value of the kernel's quantizer."
            )
        self.clip_value = clip_value

    def __call__(self, w: Any) -> Any:
        """Returns the clipped weights."""
        return ops.clip(w, -self.clip_value, self.clip_value)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constraint."""
        return {"clip_value": self.clip_value}


def get(identifier: Any) -> Any:
    """Returns the constraint for an alias of this package; anything else is returned unchanged.

    Keras looks up strings such as "non_neg" in a fixed table. A config of Larq, which names no
    package, also gives the constraint.
    """
    names = ("weight_clip", "WeightClip")
    if isinstance(identifier, dict) and identifier.get("class_name") in names:
        if identifier.get("registered_name") in (None, *names):
            return WeightClip(**identifier.get("config", {}))
        return identifier
    return WeightClip() if identifier in names else identifier
