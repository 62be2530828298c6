"""Quantizers with two values."""

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
    filter_mean,
    sign,
    straight_through,
)

__all__ = [
    "ApproxSign",
    "DoReFaSign",
    "MagnitudeAwareSign",
    "SteHeaviside",
    "SteSign",
    "SwishSign",
    "XnorWeightScale",
]

register = keras.saving.register_keras_serializable(package="bnnzoo")


@register
@dataclasses.dataclass(frozen=True)
class SteSign(Quantizer):
    """Sign with the straight-through gradient. Alias `ste_sign`.

    Forward: q(x) = -1 if x < 0, else +1 (so q(0) = q(-0.0) = +1).
    Gradient: dq/dx = 1 if |x| <= clip_value, else 0.

    Args:
        clip_value: Limit of the gradient. `None`: 1 for every finite x.

    Raises:
        ValueError: `clip_value` is neither None nor positive.

    Reference:
        Courbariaux et al. 2016, https://arxiv.org/abs/1602.02830
    """

    clip_value: float | None = 1.0

    bits: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_clip_value(self.clip_value)

    def __call__(self, x: Any) -> Any:
        """Returns the sign."""
        return straight_through(sign(x), clipped_identity(x, self.clip_value))


@register
@dataclasses.dataclass(frozen=True)
class ApproxSign(Quantizer):
    """Sign with the gradient of a piecewise quadratic. Alias `approx_sign`.

    Forward: q(x) = -1 if x < 0, else +1.
    Gradient: dq/dx = 2 - 2 |x| if |x| <= 1, else 0.

    Reference:
        Liu et al. 2018 (Bi-Real Net), https://arxiv.org/abs/1808.00278
    """

    bits: ClassVar[int] = 1
    vanishing_gradient: ClassVar[bool] = True

    def __call__(self, x: Any) -> Any:
        """Returns the sign."""
        inside = clipped_identity(x, 1.0)
        return straight_through(sign(x), inside, slope=2 - 2 * ops.absolute(inside))


@register
@dataclasses.dataclass(frozen=True)
class SwishSign(Quantizer):
    """Sign with the gradient of SignSwish. Alias `swish_sign`.

    Forward: q(x) = -1 if x < 0, else +1.
    Gradient: dq/dx = beta (2 - beta x tanh(beta x / 2)) / (1 + cosh(beta x)).

    Args:
        beta: Sharpness. For larger values, the gradient is closer to the derivative of the sign.

    Raises:
        ValueError: `beta` is not positive.

    Reference:
        Darabi et al. 2018 (BNN+), https://arxiv.org/abs/1812.11800
    """

    beta: float = 5.0

    bits: ClassVar[int] = 1
    vanishing_gradient: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ValueError(f"beta must be positive, got {self.beta!r}. Larq's default is 5.")

    def __call__(self, x: Any) -> Any:
        """Returns the sign."""
        # At 50 the gradient is 1e-19 of its maximum; beyond it the formula gives inf / inf.
        t = ops.clip(self.beta * clipped_identity(x, None), -50.0, 50.0)
        slope = self.beta * (2 - t * ops.tanh(0.5 * t)) / (1 + ops.cosh(t))
        return straight_through(sign(x), clipped_identity(x, None), slope=slope)


@register
@dataclasses.dataclass(frozen=True)
class MagnitudeAwareSign(Quantizer):
    """Sign times the mean magnitude of each filter. Alias `magnitude_aware_sign`.

    Forward: q(w) = alpha sign(w), alpha = mean |w| over every axis but the last.
    Gradient: dq/dw = alpha if |w| <= clip_value, else 0; alpha is treated as a constant.
        With `scale_gradient=False` it is 1 instead of alpha, as in ReActNet.

    Args:
        clip_value: Limit of the gradient. `None`: alpha for every finite w.
        scale_gradient: Whether alpha is a factor of the gradient.

    Raises:
        ValueError: `clip_value` is neither None nor positive.

    Reference:
        Liu et al. 2018 (Bi-Real Net), section 3.3, https://arxiv.org/abs/1808.00278;
        Liu et al. 2020 (ReActNet), https://arxiv.org/abs/2003.03488
    """

    clip_value: float | None = 1.0
    scale_gradient: bool = True

    bits: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_clip_value(self.clip_value)

    def __call__(self, x: Any) -> Any:
        """Returns the scaled sign."""
        alpha = ops.stop_gradient(filter_mean(ops.absolute(x)))
        inside = clipped_identity(x, self.clip_value)
        if self.scale_gradient:
            return alpha * straight_through(sign(x), inside)
        return straight_through(alpha * sign(x), inside)


@register
@dataclasses.dataclass(frozen=True)
class XnorWeightScale(Quantizer):
    """Sign times XNOR-Net's scale of each filter. Alias `xnor_weight_scale`.

    Forward: c = clip(w, -1, 1); q(w) = alpha sign(c), alpha = mean |c| over every axis but the
        last.
    Gradient: with upstream g, d/dw = 1[|w| <= 1] (alpha g + sign(w) sum(g sign(c)) / n), the sum
        and n over the filter, sign(0) = 0 in the factor before the sum: alpha is differentiated.

    Reference:
        Rastegari et al. 2016 (XNOR-Net), https://arxiv.org/abs/1603.05279
    """

    bits: ClassVar[int] = 1
    vanishing_gradient: ClassVar[bool] = True

    def __call__(self, x: Any) -> Any:
        """Returns the scaled sign."""
        clipped = clip(x, -1.0, 1.0)
        # |c| as a product, because backends disagree on the gradient of `absolute` at zero.
        magnitude = clipped * ops.stop_gradient(ops.sign(clipped))
        return filter_mean(magnitude) * straight_through(sign(clipped), clipped)


@register
@dataclasses.dataclass(frozen=True)
class DoReFaSign(Quantizer):
    """Sign times the mean magnitude of the whole kernel, gradient 1. Alias `dorefa_sign`.

    Forward: q(w) = alpha sign(w), alpha = mean |w| over all of w.
    Gradient: dq/dw = 1 for every finite w. It never vanishes, so no constraint is needed.

    Reference:
        Zhou et al. 2016 (DoReFa-Net), section 2.3, https://arxiv.org/abs/1606.06160
    """

    bits: ClassVar[int] = 1

    def __call__(self, x: Any) -> Any:
        """Returns the scaled sign."""
        alpha = ops.mean(ops.absolute(x))
        return straight_through(alpha * sign(x), clipped_identity(x, None))


@register
@dataclasses.dataclass(frozen=True)
class SteHeaviside(Quantizer):
    """Step to {0, 1} with the straight-through gradient. Alias `ste_heaviside`.

    Forward: q(x) = 1 if x > 0, else 0.
    Gradient: dq/dx = 1 if |x| <= clip_value, else 0.

    Args:
        clip_value: Limit of the gradient. `None`: 1 for every finite x.

    Raises:
        ValueError: `clip_value` is neither None nor positive.

    Reference:
        Bengio et al. 2013 (the straight-through estimator), https://arxiv.org/abs/1308.3432
    """

    clip_value: float | None = 1.0

    bits: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_clip_value(self.clip_value)

    def __call__(self, x: Any) -> Any:
        """Returns 0 or 1."""
        step = ops.where(ops.greater(x, 0), ops.ones_like(x), ops.zeros_like(x))
        return straight_through(step, clipped_identity(x, self.clip_value))
