"""Every quantizer restated in NumPy (float64): its value and the gradient of sum(upstream * q)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from bnnzoo import nn


@dataclasses.dataclass(frozen=True)
class Formula:
    quantizer: nn.Quantizer
    value: Callable[[np.ndarray], np.ndarray]
    gradient: Callable[[np.ndarray, np.ndarray], np.ndarray]


def sign(x):
    return np.where(x < 0, -1.0, 1.0)


def mean_magnitude(x):
    return np.abs(x).mean(axis=tuple(range(x.ndim - 1)))


def identity_within(clip_value):
    return lambda x, upstream: upstream * (np.abs(x) <= clip_value)


def swish_gradient(beta):
    def gradient(x, upstream):
        t = np.clip(beta * x, -300, 300)
        return upstream * beta * (2 - t * np.tanh(t / 2)) / (1 + np.cosh(t))

    return gradient


def magnitude_aware_gradient(clip_value):
    return lambda x, upstream: upstream * mean_magnitude(x) * (np.abs(x) <= clip_value)


def xnor_value(x):
    return mean_magnitude(np.clip(x, -1, 1)) * sign(x)


def xnor_gradient(x, upstream):
    """The product rule: through the sign with factor alpha, and through alpha."""
    axes = tuple(range(x.ndim - 1))
    n = x[..., 0].size
    through_alpha = np.sign(x) * (upstream * sign(x)).sum(axis=axes) / n
    return (np.abs(x) <= 1) * (mean_magnitude(np.clip(x, -1, 1)) * upstream + through_alpha)


def ternary(threshold):
    return lambda x: np.sign(x) * (np.abs(x) >= threshold(x))


def levels(x, k):
    return np.round(x * (2**k - 1)) / (2**k - 1)


def dorefa(k):
    return lambda x: levels(np.clip(x, 0, 1), k)


def dorefa_gradient(x, upstream):
    return upstream * ((x >= 0) & (x <= 1))


def dorefa_weights(k):
    def value(x):
        squashed = np.tanh(x)
        return 2 * levels(squashed / (2 * np.abs(squashed).max()) + 0.5, k) - 1

    return value


def dorefa_weights_gradient(x, upstream):
    return upstream * (1 - np.tanh(x) ** 2) / np.abs(np.tanh(x)).max()


def filter_mean(x):
    return x.mean(axis=tuple(range(x.ndim - 1)), keepdims=True)


def standardized(w, epsilon=0.0):
    """Returns (w - mean) / deviation and the deviation of each filter."""
    centered = w - filter_mean(w)
    deviation = np.sqrt(filter_mean(centered**2) + epsilon)
    return centered / deviation, deviation


def through_standardization(w, upstream, epsilon=0.0):
    """Returns the gradient of sum(upstream * v), v the standardized w."""
    v, deviation = standardized(w, epsilon)
    return (upstream - filter_mean(upstream) - v * filter_mean(upstream * v)) / deviation


def error_decay(x, progress):
    t = 10 ** (2 * progress - 1)
    return max(1 / t, 1) * t * (1 - np.tanh(t * x) ** 2)


def libra_scale(w):
    return 2 ** np.round(np.log2(filter_mean(np.abs(standardized(w)[0]))))


def libra(progress):
    def gradient(w, upstream):
        slope = libra_scale(w) * error_decay(standardized(w)[0], progress)
        return through_standardization(w, upstream * slope)

    return gradient


def centered(progress):
    return lambda w, upstream: upstream * error_decay(standardized(w)[0], progress)


def recu_parts(w, progress):
    """Returns v, its limit Q, and alpha."""
    tau = 0.85 + (0.99 - 0.85) * (np.exp(progress) - 1) / (np.e - 1)
    v = 2 * np.sqrt(2) * standardized(w, 1e-5)[0]
    limit = -filter_mean(np.abs(v)) * np.log(2 - 2 * tau)
    return v, limit, filter_mean(np.minimum(np.abs(v), limit))


def recu_value(progress):
    def value(w):
        v, _, alpha = recu_parts(w, progress)
        return alpha * sign(v)

    return value


def recu_gradient(progress):
    def gradient(w, upstream):
        v, limit, alpha = recu_parts(w, progress)
        inner = 2 * np.sqrt(2) * alpha * upstream * (np.abs(v) <= limit)
        return through_standardization(w, inner, 1e-5)

    return gradient


STEP = {"value": lambda x: np.where(x > 0, 1.0, 0.0)}
FORMULAS = {
    "ste_sign": Formula(nn.SteSign(), sign, identity_within(1)),
    "ste_sign_1.25": Formula(nn.SteSign(1.25), sign, identity_within(1.25)),
    "ste_sign_unclipped": Formula(nn.SteSign(None), sign, identity_within(np.inf)),
    "approx_sign": Formula(
        nn.ApproxSign(), sign, lambda x, up: up * np.maximum(2 - 2 * np.abs(x), 0)
    ),
    "swish_sign": Formula(nn.SwishSign(), sign, swish_gradient(5)),
    "swish_sign_2": Formula(nn.SwishSign(2.0), sign, swish_gradient(2)),
    "magnitude_aware_sign": Formula(
        nn.MagnitudeAwareSign(),
        lambda x: mean_magnitude(x) * sign(x),
        magnitude_aware_gradient(1),
    ),
    "magnitude_aware_sign_unclipped": Formula(
        nn.MagnitudeAwareSign(None),
        lambda x: mean_magnitude(x) * sign(x),
        magnitude_aware_gradient(np.inf),
    ),
    "xnor_weight_scale": Formula(nn.XnorWeightScale(), xnor_value, xnor_gradient),
    "dorefa_sign": Formula(
        nn.DoReFaSign(), lambda x: np.abs(x).mean() * sign(x), identity_within(np.inf)
    ),
    "ste_heaviside": Formula(nn.SteHeaviside(), gradient=identity_within(1), **STEP),
    "ste_heaviside_0.5": Formula(nn.SteHeaviside(0.5), gradient=identity_within(0.5), **STEP),
    "ste_tern": Formula(nn.SteTern(), ternary(lambda x: 0.05), identity_within(1)),
    "ste_tern_0.5": Formula(
        nn.SteTern(0.5, clip_value=1.25), ternary(lambda x: 0.5), identity_within(1.25)
    ),
    "ste_tern_twn": Formula(
        nn.SteTern(ternary_weight_networks=True),
        ternary(lambda x: 0.7 * np.abs(x).mean()),
        identity_within(1),
    ),
    **{f"dorefa_{k}": Formula(nn.DoReFa(k), dorefa(k), dorefa_gradient) for k in (1, 2, 3, 8)},
    **{
        f"dorefa_weights_{k}": Formula(
            nn.DoReFa(k, "weights"), dorefa_weights(k), dorefa_weights_gradient
        )
        for k in (1, 2, 4)
    },
    **{
        f"error_decay_sign_{p}": Formula(
            nn.ErrorDecaySign(p), sign, lambda x, up, p=p: up * error_decay(x, p)
        )
        for p in (0.0, 0.5, 0.9)
    },
    **{
        f"libra_sign_{p}": Formula(
            nn.LibraSign(p), lambda w: libra_scale(w) * sign(standardized(w)[0]), libra(p)
        )
        for p in (0.0, 0.75)
    },
    **{
        f"centered_sign_{p}": Formula(
            nn.CenteredSign(p),
            lambda w: sign(standardized(w)[0]) * standardized(w)[1] + filter_mean(w),
            centered(p),
        )
        for p in (0.0, 0.75)
    },
    **{f"recu_{p}": Formula(nn.ReCU(p), recu_value(p), recu_gradient(p)) for p in (0.0, 0.6)},
    "magnitude_aware_sign_reactnet": Formula(
        nn.MagnitudeAwareSign(scale_gradient=False),
        lambda x: mean_magnitude(x) * sign(x),
        identity_within(1),
    ),
    "no_op": Formula(nn.NoOp(bits=1), lambda x: x, lambda x, upstream: upstream),
}
