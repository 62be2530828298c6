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
    "no_op": Formula(nn.NoOp(bits=1), lambda x: x, lambda x, upstream: upstream),
}
