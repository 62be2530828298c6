"""Quantizers whose gradient or clipping changes during training.

`bnnzoo.nn.AnnealQuantizers` sets their `progress`, the fraction of the training that is done. In
`ErrorDecaySign`, `CenteredSign` and `LibraSign`, it changes only the gradient.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import keras
from keras import ops

from bnnzoo.nn.quantizers.straight_through import (
    Quantizer,
    clip,
    clipped_identity,
    filter_mean,
    sign,
    straight_through,
)

__all__ = ["AnnealedQuantizer", "CenteredSign", "ErrorDecaySign", "LibraSign", "ReCU"]

register = keras.saving.register_keras_serializable(package="bnnzoo")


@dataclasses.dataclass(frozen=True)
class AnnealedQuantizer(Quantizer):
    """Base of the quantizers with a `progress`.

    Args:
        progress: Fraction of the training that is done, from 0 to 1.

    Raises:
        ValueError: `progress` is not in this range.
    """

    progress: float = 0.0

    bits: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 0 <= self.progress <= 1:
            raise ValueError(
                f"progress must be from 0 to 1, got {self.progress!r}. "
                "It is the number of finished epochs divided by the number of all epochs."
            )


def _error_decay(x: Any, progress: float) -> Any:
    """Returns sign(x) with the gradient k t (1 - tanh(t x)^2) of IR-Net."""
    t = 10 ** (2 * progress - 1)
    k = max(1 / t, 1)
    inside = clipped_identity(x, None)
    # 1 - tanh(y)^2 = 4 e / (1 + e)^2 with e = exp(-2 |y|), which is accurate for large y too.
    e = ops.exp(-2 * t * ops.absolute(inside))
    slope = 4 * k * t * e / ops.square(1 + e)
    return straight_through(sign(x), inside, slope=slope)


def _standardized(w: Any, epsilon: float = 0.0) -> Any:
    """Returns (w - mean) / deviation of each filter; the deviation divides by n."""
    centered = w - filter_mean(w)
    return centered / ops.sqrt(filter_mean(ops.square(centered)) + epsilon)


@register
@dataclasses.dataclass(frozen=True)
class ErrorDecaySign(AnnealedQuantizer):
    """Sign with IR-Net's error decay estimator (EDE). Alias `error_decay_sign`.

    Forward: q(x) = -1 if x < 0, else +1.
    Gradient: dq/dx = k t (1 - tanh(t x)^2), with t = 10^(2 progress - 1) from 0.1 to 10 and
        k = max(1 / t, 1): close to the identity at first, then close to the sign.

    Args:
        progress: Fraction of the training that is done, from 0 to 1.

    Raises:
        ValueError: `progress` is not in this range.

    Reference:
        Qin et al. 2020 (IR-Net), section 3.3, https://arxiv.org/abs/1909.10788
    """

    def __call__(self, x: Any) -> Any:
        """Returns the sign."""
        return _error_decay(x, self.progress)


@register
@dataclasses.dataclass(frozen=True)
class LibraSign(AnnealedQuantizer):
    """IR-Net's libra parameter binarization of kernels. Alias `libra_sign`.

    Forward: v = (w - mean(w)) / deviation(w); q(w) = 2^s sign(v), s = round(log2(mean |v|)). Mean
        and deviation are over every axis but the last.
    Gradient: that of `ErrorDecaySign` at v, times 2^s, through v as a function of w.

    Args:
        progress: Fraction of the training that is done, from 0 to 1.

    Raises:
        ValueError: `progress` is not in this range.

    Reference:
        Qin et al. 2020 (IR-Net), section 3.2, https://arxiv.org/abs/1909.10788
    """

    def __call__(self, x: Any) -> Any:
        """Returns the scaled sign."""
        v = _standardized(x)
        exponent = ops.round(ops.log(filter_mean(ops.absolute(v))) / math.log(2))
        scale = ops.stop_gradient(ops.power(ops.cast(2.0, x.dtype), exponent))
        return scale * _error_decay(v, self.progress)


@register
@dataclasses.dataclass(frozen=True)
class CenteredSign(AnnealedQuantizer):
    """AdaBin's binarization of kernels: the two values m - s and m + s. Alias `centered_sign`.

    Forward: q(w) = s sign((w - m) / s) + m, with m = mean(w) and s = deviation(w) over every axis
        but the last; the deviation divides by n.
    Gradient: that of `ErrorDecaySign` at (w - m) / s; m and s are treated as constants.

    Args:
        progress: Fraction of the training that is done, from 0 to 1.

    Raises:
        ValueError: `progress` is not in this range.

    Reference:
        Tu et al. 2022 (AdaBin), https://arxiv.org/abs/2208.08084
    """

    def __call__(self, x: Any) -> Any:
        """Returns m - s or m + s."""
        mean = ops.stop_gradient(filter_mean(x))
        deviation = ops.stop_gradient(ops.sqrt(filter_mean(ops.square(x - mean))))
        divisor = ops.where(ops.greater(deviation, 0), deviation, ops.ones_like(deviation))
        return deviation * _error_decay((x - mean) / divisor, self.progress) + mean


@register
@dataclasses.dataclass(frozen=True)
class ReCU(AnnealedQuantizer):
    """Sign of kernels whose outliers are clamped (rectified clamp unit). Alias `recu`.

    Forward: v = 2 sqrt(2) (w - mean(w)) / sqrt(variance(w) + 1e-5); u = clip(v, -Q, Q) with
        Q = -mean |v| ln(2 - 2 tau); q(w) = alpha sign(u), alpha = mean |u|. Means and variance are
        over every axis but the last. tau increases exponentially from 0.85 to 0.99:
        tau = 0.85 + 0.14 (exp(progress) - 1) / (e - 1).
    Gradient: alpha where |v| <= Q, else 0, through v as a function of w; alpha and Q are treated
        as constants.

    v has the standard deviation 2 sqrt(2), that is b = 2 for a Laplace distribution. Its quantiles
    1 - tau and tau are then -Q and Q.

    Args:
        progress: Fraction of the training that is done, from 0 to 1.

    Raises:
        ValueError: `progress` is not in this range.

    Reference:
        Xu et al. 2021 (ReCU), https://arxiv.org/abs/2103.12369
    """

    def __call__(self, x: Any) -> Any:
        """Returns the scaled sign."""
        tau = 0.85 + 0.14 * math.expm1(self.progress) / math.expm1(1)
        v = 2 * math.sqrt(2) * _standardized(x, epsilon=1e-5)
        limit = -math.log(2 - 2 * tau) * ops.stop_gradient(filter_mean(ops.absolute(v)))
        alpha = ops.stop_gradient(filter_mean(ops.absolute(clip(v, -limit, limit))))
        within = ops.where(ops.greater(ops.absolute(v), limit), ops.stop_gradient(v), v)
        return alpha * straight_through(sign(v), within)
