"""Quantizers with more than two values, and the identity."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import keras
from keras import ops

from bnnzoo.nn.quantizers.straight_through import (
    Quantizer,
    check_clip_value,
    clip,
    clipped_identity,
    straight_through,
)

__all__ = ["DoReFa", "NoOp", "SteTern"]

register = keras.saving.register_keras_serializable(package="bnnzoo")


@register
@dataclasses.dataclass(frozen=True)
class SteTern(Quantizer):
    """Three values with the straight-through gradient. Alias `ste_tern`.

    Forward: q(x) = +1 if x >= t, -1 if x <= -t, else 0, and q(0) = 0; t = threshold_value, or
        0.7 mean |x| over all of x for ternary weight networks.
    Gradient: dq/dx = 1 if |x| <= clip_value, else 0.

    Args:
        threshold_value: The fixed threshold.
        ternary_weight_networks: Compute the threshold from x instead.
        clip_value: Limit of the gradient. `None`: 1 for every finite x.

    Raises:
        ValueError: `threshold_value` is negative, or `clip_value` neither None nor positive.

    Reference:
        Li et al. 2016 (Ternary Weight Networks), https://arxiv.org/abs/1605.04711
    """

    threshold_value: float = 0.05
    ternary_weight_networks: bool = False
    clip_value: float | None = 1.0

    bits: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if not self.threshold_value >= 0:
            raise ValueError(
                f"threshold_value must be 0 or more, got {self.threshold_value!r}. "
                "Larq's default is 0.05."
            )
        check_clip_value(self.clip_value)

    def __call__(self, x: Any) -> Any:
        """Returns -1, 0 or +1."""
        threshold = self.threshold_value
        if self.ternary_weight_networks:
            threshold = 0.7 * ops.mean(ops.absolute(x))
        one, zero = ops.ones_like(x), ops.zeros_like(x)
        large = ops.logical_and(ops.greater_equal(ops.absolute(x), threshold), ops.not_equal(x, 0))
        value = ops.where(large, ops.where(ops.less(x, 0), -one, one), zero)
        return straight_through(value, clipped_identity(x, self.clip_value))


@register
@dataclasses.dataclass(frozen=True)
class DoReFa(Quantizer):
    """2^k_bit equidistant levels. Aliases `dorefa`, `dorefa_quantizer`.

    With n = 2^k_bit - 1 and round half to even:

    Activations, forward: q(x) = round(n clip(x, 0, 1)) / n, in [0, 1].
    Activations, gradient: dq/dx = 1 if 0 <= x <= 1, else 0.

    Weights, forward: q(w) = 2 round(n (tanh(w) / (2 m) + 1/2)) / n - 1, in [-1, 1], with
        m = max |tanh(w)| over all of w (tanh(w) / m is 0 if m = 0).
    Weights, gradient: dq/dw = (1 - tanh(w)^2) / m; m is treated as a constant.

    Args:
        k_bit: Number of bits, 1 to 16.
        mode: "activations" or "weights".

    Raises:
        ValueError: `k_bit` or `mode` is invalid.

    Reference:
        Zhou et al. 2016 (DoReFa-Net; section 2.3 has the weights),
        https://arxiv.org/abs/1606.06160
    """

    k_bit: int = 2
    mode: str = "activations"

    def __post_init__(self) -> None:
        if self.k_bit not in range(1, 17):
            raise ValueError(
                f"k_bit must be an integer from 1 to 16, got {self.k_bit!r}. Larq's default is 2."
            )
        if self.mode not in ("activations", "weights"):
            raise ValueError(
                f"mode must be 'activations' or 'weights', got {self.mode!r}. "
                "Choose by what is quantized: inputs or kernels."
            )

    @property
    def bits(self) -> int:
        """The number of bits."""
        return self.k_bit

    def __call__(self, x: Any) -> Any:
        """Returns levels in [0, 1] (activations) or [-1, 1] (weights)."""
        if self.mode == "activations":
            limited = clip(x, 0.0, 1.0)
            return straight_through(self._round(limited), limited)
        squashed = ops.tanh(x)
        largest = ops.max(ops.absolute(squashed))
        divisor = ops.where(ops.greater(largest, 0), largest, ops.ones_like(largest))
        slope = (1 - ops.square(squashed)) / divisor
        slope = ops.where(ops.greater(largest, 0), slope, ops.zeros_like(slope))
        value = 2 * self._round(squashed / (2 * divisor) + 0.5) - 1
        return straight_through(value, clipped_identity(x, None), slope=slope)

    def _round(self, x: Any) -> Any:
        levels = 2**self.k_bit - 1
        return ops.round(x * levels) / levels


@register
@dataclasses.dataclass(frozen=True)
class NoOp(Quantizer):
    """The identity, which marks a kernel with a bit width. Alias `no_op`.

    Forward: q(x) = x.
    Gradient: dq/dx = 1.

    Args:
        bits: Bit width of the kernel: 1 for kernels that an optimizer such as Bop keeps
            binary.

    Raises:
        ValueError: `bits` is not a positive integer.

    Reference:
        Helwegen et al. 2019 (Bop), https://arxiv.org/abs/1906.02107
    """

    bits: int = 32

    def __post_init__(self) -> None:
        if self.bits not in range(1, 65):
            raise ValueError(
                f"bits must be an integer from 1 to 64, got {self.bits!r}. Use 1 for Bop."
            )

    def __call__(self, x: Any) -> Any:
        """Returns x."""
        return x
