"""Kernel quantizers of the native engine: which it computes itself, and the others in NumPy.

The formulas are those of `bnnzoo.nn.quantizers`; here `w` is `(k, filters)`, one column per filter.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bnnzoo import nn

__all__ = ["Formula", "Kind", "native_kind"]

Floats = NDArray[np.float32]


class Formula(NamedTuple):
    """A quantizer with its gradient.

    Attributes:
        value: Returns the quantized kernel, given the latent one.
        gradient: Returns the gradient of the latent kernel, given it and that of the quantized one.
    """

    value: Callable[[Floats], Floats]
    gradient: Callable[[Floats, Floats], Floats]


class Kind(NamedTuple):
    """How the engine quantizes a kernel.

    Attributes:
        kind: Name of the kind, `given` if the formula is computed in NumPy, and `given_signs` if
            its values are also of one magnitude per filter.
        limit: Largest magnitude of latent weights that have a gradient.
        scale_gradient: Whether the magnitude of a filter is a factor of the gradient.
        formula: The formula, if it is computed in NumPy.
    """

    kind: str
    limit: float = math.inf
    scale_gradient: bool = False
    formula: Formula | None = None


def native_kind(quantizer: Any) -> Kind | None:
    """Returns how a kernel with this quantizer is computed; None if the engine cannot."""
    clip = getattr(quantizer, "clip_value", None)
    limit = math.inf if clip is None else float(clip)
    if quantizer is None or type(quantizer) is nn.NoOp:
        return Kind("real")
    if type(quantizer) is nn.SteSign:
        return Kind("sign", limit)
    if type(quantizer) is nn.MagnitudeAwareSign:
        return Kind("magnitude_sign", limit, quantizer.scale_gradient)
    make = _FORMULAS.get(type(quantizer))
    if make is None:
        return None
    kind = "given" if type(quantizer) is nn.CenteredSign else "given_signs"
    return Kind(kind, formula=make(quantizer))


def _sign(x: Floats) -> Floats:
    signs: Floats = np.where(x < 0, np.float32(-1), np.float32(1))
    return signs


def _error_decay_slope(x: Floats, progress: float) -> Floats:
    t = 10 ** (2 * progress - 1)
    e = np.exp(np.float32(-2 * t) * np.abs(x))
    slope: Floats = np.float32(4 * max(1 / t, 1) * t) * e / np.square(1 + e)
    return slope


class _Standardized:
    """v = (w - mean) / sqrt(variance + epsilon) of each filter, and its gradient."""

    def __init__(self, w: Floats, epsilon: float = 0.0) -> None:
        centered = w - w.mean(axis=0)
        self.deviation = np.sqrt(np.square(centered).mean(axis=0) + np.float32(epsilon))
        self.v: Floats = centered / self.deviation

    def gradient(self, dv: Floats) -> Floats:
        projected = (dv * self.v).mean(axis=0) * self.v
        result: Floats = (dv - dv.mean(axis=0) - projected) / self.deviation
        return result


def _libra_sign(quantizer: nn.LibraSign) -> Formula:
    def scale(v: Floats) -> Floats:
        exponent = np.round(np.log(np.abs(v).mean(axis=0)) / np.float32(math.log(2)))
        power: Floats = np.exp2(exponent).astype(np.float32)
        return power

    def value(w: Floats) -> Floats:
        v = _Standardized(w).v
        return scale(v) * _sign(v)

    def gradient(w: Floats, dq: Floats) -> Floats:
        standardized = _Standardized(w)
        v = standardized.v
        return standardized.gradient(scale(v) * _error_decay_slope(v, quantizer.progress) * dq)

    return Formula(value, gradient)


def _centered_sign(quantizer: nn.CenteredSign) -> Formula:
    def normalized(w: Floats) -> tuple[Any, Any, Any]:
        mean = w.mean(axis=0)
        deviation = np.sqrt(np.square(w - mean).mean(axis=0))
        divisor = np.where(deviation > 0, deviation, np.float32(1))
        return (w - mean) / divisor, mean, deviation

    def value(w: Floats) -> Floats:
        v, mean, deviation = normalized(w)
        values: Floats = deviation * _sign(v) + mean
        return values

    def gradient(w: Floats, dq: Floats) -> Floats:
        v, _, deviation = normalized(w)
        divisor = np.where(deviation > 0, deviation, np.float32(1))
        slope: Any = _error_decay_slope(v, quantizer.progress) * dq
        result: Floats = deviation * slope / divisor
        return result

    return Formula(value, gradient)


def _recu(quantizer: nn.ReCU) -> Formula:
    tau = 0.85 + 0.14 * math.expm1(quantizer.progress) / math.expm1(1)
    factor, quantile = np.float32(2 * math.sqrt(2)), np.float32(-math.log(2 - 2 * tau))

    def clamped(v: Any) -> tuple[Any, Any]:
        limit = quantile * np.abs(v).mean(axis=0)
        return limit, np.abs(np.clip(v, -limit, limit)).mean(axis=0)

    def value(w: Floats) -> Floats:
        v = factor * _Standardized(w, 1e-5).v
        scaled: Floats = clamped(v)[1] * _sign(v)
        return scaled

    def gradient(w: Floats, dq: Floats) -> Floats:
        standardized = _Standardized(w, 1e-5)
        v = factor * standardized.v
        limit, alpha = clamped(v)
        du = np.where(np.abs(v) > limit, np.float32(0), alpha * dq)
        return standardized.gradient(factor * du)

    return Formula(value, gradient)


def _xnor_weight_scale(quantizer: nn.XnorWeightScale) -> Formula:
    def value(w: Floats) -> Floats:
        clipped = np.clip(w, -1, 1)
        scaled: Floats = np.abs(clipped).mean(axis=0) * _sign(clipped)
        return scaled

    def gradient(w: Floats, dq: Floats) -> Floats:
        clipped = np.clip(w, -1, 1)
        alpha = np.abs(clipped).mean(axis=0)
        mean = (dq * _sign(clipped)).mean(axis=0)
        inside = np.abs(w) <= 1
        result: Floats = np.where(inside, alpha * dq + np.sign(clipped) * mean, np.float32(0))
        return result

    return Formula(value, gradient)


def _dorefa_sign(quantizer: nn.DoReFaSign) -> Formula:
    return Formula(lambda w: np.abs(w).mean(dtype=np.float32) * _sign(w), lambda w, dq: dq)


_FORMULAS: dict[type, Callable[[Any], Formula]] = {
    nn.LibraSign: _libra_sign,
    nn.CenteredSign: _centered_sign,
    nn.ReCU: _recu,
    nn.XnorWeightScale: _xnor_weight_scale,
    nn.DoReFaSign: _dorefa_sign,
}
