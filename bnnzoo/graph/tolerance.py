"""Bounds on float32 rounding error against the reference interpreter, per value.

The reference interpreter computes in float64, everything else in float32, where every operation
rounds by a factor of at most 1 + u, u = 2^-24. To first order:

1. The error of a sum of n terms t_i, in any order, is at most n u sum |t_i|, and hardly ever more
   than 8 sqrt(n) u sum |t_i|, because rounding errors are close to random and cancel (Higham and
   Mary 2019, https://doi.org/10.1137/18M1226312, theorem 2.4, with probability 1 - 2 exp(-32)
   each).
2. The error of scale * x + bias is a few u of (|scale x| + |bias|), even if most of it cancels.
3. An error e of the input adds |f'| e: |scale| e, |w| * e, at most e for clip, sigmoid, tanh.
4. Moving, comparing and counting bits are exact, and so are sums of signs.
5. Inputs quantized to 8 bits are level * m / 127. Levels of equal inputs are equal: they are
   defined in float32. If x has an error of e, m is between the largest |x| - e and the largest
   |x| + e, x * 127 / m is between two ends, and the level is between the levels that the ends are
   rounded to, which are usually the same. Sums of levels are exact.

This admits any order of summation and fused multiply-adds. It excludes a wrong epsilon, a missing
bias, and a wrongly counted border, whose errors are larger by orders of magnitude.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.graph.interpreter import MEANINGS, Call, input_levels, parameters
from bnnzoo.graph.ir import Graph
from bnnzoo.graph.ops import infer_types
from bnnzoo.graph.packing import LEVELS

__all__ = ["FEW", "Losses", "errors", "sum_of"]

Array = NDArray[Any]

U = 2.0**-24
# Relative error of a chain of a few operations, or of an approximation of exp.
FEW = 8 * U
# Numbers below the smallest normal number, 2^-126, may be flushed to zero: results, and factors of
# a product, whose error is then this multiple of the other factor.
TINY = 2.0**-120


@dataclass(frozen=True)
class Losses:
    """How an implementation computes with larger errors than the runtime.

    Attributes:
        rounded: Names of binary convolutions whose sums are of rounded numbers: of levels as real
            numbers, or with a scale as part of the kernel.
        terms: By name of an affine, the sum of the magnitudes of its bias's terms, per channel: in
            a batch norm they cancel in the bias, but Keras rounds each of them.
    """

    rounded: Collection[str] = ()
    terms: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class _Case:
    """One operation: its inputs and value, and the errors of the inputs."""

    call: Call
    op: str
    errors: list[Array]
    value: Array
    rounded: bool
    terms: Array

    @property
    def x(self) -> Array:
        return np.asarray(self.call.x)

    @property
    def error(self) -> Array:
        return self.errors[0]

    def tensor(self, role: str, default: float) -> Array:
        return np.asarray(np.abs(self.call.tensors.get(role, np.float64(default))))

    def same(self, x: Array, **tensors: Array) -> Array:
        """Returns the result of the operation for another input and other tensors."""
        known = {**self.call.tensors, **tensors}
        call = dataclasses.replace(self.call, inputs=[x], tensors=known)
        return np.asarray(MEANINGS[self.op](call))


def errors(
    graph: Graph, values: Mapping[str, Array], losses: Losses | None = None
) -> dict[str, Array]:
    """Returns a bound on the difference of each value from that of the reference interpreter.

    Args:
        graph: A graph before or after any passes.
        values: Its values from the reference interpreter.
        losses: The larger errors of an implementation; None for the runtime.
    """
    losses = losses or Losses()
    types = infer_types(graph)
    found: dict[str, Array] = {name: np.zeros(values[name].shape) for name in graph.inputs}
    for node in graph.nodes:
        inputs = [np.asarray(values[name]) for name in node.inputs]
        call = Call(
            node.attributes, inputs, [types[name] for name in node.inputs], parameters(graph, node)
        )
        case = _Case(
            call,
            node.op,
            [found[name] for name in node.inputs],
            np.asarray(values[node.name], np.float64),
            node.name in losses.rounded,
            np.asarray(losses.terms.get(node.name, 0.0)),
        )
        found[node.name] = _RULES.get(node.op, _moved)(case)
    return found


def sum_of(n: int) -> float:
    """Returns the error of a sum of n terms, relative to the sum of their magnitudes."""
    return (FEW + 8 * math.sqrt(n) * U) if n > 1 else FEW


def _moved(case: _Case) -> Array:
    """Operations that select or move numbers select or move their errors."""
    return np.asarray(MEANINGS[case.op](dataclasses.replace(case.call, inputs=case.errors)))


def _exact(case: _Case) -> Array:
    return np.zeros(case.value.shape)


def _padded(case: _Case) -> Array:
    attributes = {**case.call.attributes, "value": 0.0}
    call = dataclasses.replace(case.call, attributes=attributes, inputs=[case.error])
    return np.asarray(MEANINGS["pad"](call))


def _conv2d(case: _Case) -> Array:
    if "input_bits" in case.call.attributes:
        return _int8_conv2d(case)
    kernel = np.abs(case.call.tensors["kernel"])
    K = int(np.prod(kernel.shape[1:]))
    lost = case.same(np.abs(case.x), kernel=kernel * sum_of(K) + TINY) + K * TINY
    return lost + case.same(case.error, kernel=kernel) if case.error.any() else lost


def _int8_conv2d(case: _Case) -> Array:
    """Levels of equal inputs are equal, and so are their sums; see 5 of the module's docstring."""
    lost = FEW * np.abs(case.value) + TINY
    if not case.error.any():
        return np.asarray(lost)
    kernel = np.abs(case.call.tensors["kernel"]) * np.abs(
        case.call.tensors["kernel_scale"]
    ).reshape(-1, 1, 1, 1)
    attributes = {k: v for k, v in case.call.attributes.items() if k != "input_bits"}
    call = dataclasses.replace(
        case.call,
        attributes=attributes,
        inputs=[_level_errors(case.x, case.error)],
        tensors={"kernel": kernel},
    )
    return np.asarray(lost + MEANINGS["conv2d"](call))


def _level_errors(x: Array, error: Array) -> Array:
    """Returns the error of inputs quantized to 8 bits if the inputs have `error`."""
    levels, unit = input_levels(x)
    axes = (1, 2, 3)
    size = np.abs(x)
    largest = size.max(axis=axes, keepdims=True)
    most = (size + error).max(axis=axes, keepdims=True)
    least = np.maximum((size - error).max(axis=axes, keepdims=True), np.finfo(np.float64).tiny)
    # The ends of each input's range in units of a level, and their levels.
    place = x * np.divide(LEVELS, largest, out=np.zeros_like(largest), where=largest > 0)
    with np.errstate(over="ignore"):
        off = LEVELS * error / least + size * LEVELS * (1 / least - 1 / most) + LEVELS * FEW
    ends = (np.rint(np.clip(end, -LEVELS, LEVELS)) for end in (place - off, place + off))
    steps = np.maximum(*(np.abs(end - levels) for end in ends))
    worth = most / LEVELS
    return np.asarray(
        steps * worth + np.abs(levels) * np.maximum(worth - unit, unit - least / LEVELS)
    )


def _bconv2d(case: _Case) -> Array:
    K = int(np.prod(case.call.tensors["kernel"].shape[1:]))
    levels = case.call.types[0].kind == "levels"
    if case.rounded:
        return np.full(case.value.shape, K * sum_of(K))
    return FEW * np.abs(case.value) if levels else _exact(case)


def _affine(case: _Case) -> Array:
    scale, bias = case.tensor("scale", 1), np.maximum(case.tensor("bias", 0), case.terms)
    lost = FEW * (scale * np.abs(case.x) + bias) + TINY * (1 + np.abs(case.x))
    return np.asarray(scale * case.error + lost)


def _batch_norm(case: _Case) -> Array:
    deviation = np.sqrt(case.call.tensors["variance"] + case.call.attributes["epsilon"])
    scale, mean = case.tensor("gamma", 1) / deviation, case.tensor("mean", 0)
    size = scale * (np.abs(case.x) + mean) + case.tensor("beta", 0)
    lost = FEW * size + TINY * (1 + np.abs(case.x) + mean)
    return np.asarray(scale * case.error + lost)


def _prelu(case: _Case) -> Array:
    slope = np.maximum(1, case.tensor("alpha", 0))
    lost = FEW * np.abs(case.value) + TINY * (1 + np.abs(case.x))
    return np.asarray(slope * case.error + lost)


def _sigmoid(case: _Case) -> Array:
    return case.error + FEW


def _softmax(case: _Case) -> Array:
    """The error of the exponents is relative to the result, and so is that of their sum."""
    largest = case.error.max(axis=-1, keepdims=True)
    size = np.abs(case.x).max(axis=-1, keepdims=True)
    relative = 2 * largest + FEW * (2 + size) + sum_of(case.x.shape[-1])
    return np.asarray(case.value * relative + TINY)


def _sum(case: _Case) -> Array:
    size = sum(np.abs(x) for x in case.call.inputs)
    return np.asarray(sum(case.errors) + FEW * size + TINY)


def _multiply(case: _Case) -> Array:
    product, error, *others = np.abs(case.call.inputs[0]), *(e + TINY for e in case.errors)
    for x, lost in zip(case.call.inputs[1:], others, strict=True):
        error = error * np.abs(x) + product * lost + error * lost
        product = product * np.abs(x)
    return np.asarray(error + FEW * product + TINY)


def _mean(case: _Case) -> Array:
    n = math.prod(case.call.attributes.get("pool", case.x.shape[1:3]))
    return case.same(case.error) + sum_of(n) * case.same(np.abs(case.x)) + TINY


def _mixed(case: _Case) -> Array:
    """The weights and positions of four pixels are rounded, in proportion to the pixels."""
    size = case.same(np.abs(case.x))
    largest = np.abs(case.x).max(axis=(1, 2), keepdims=True)
    places = max(case.call.x.shape[1:3])
    return np.asarray(case.same(case.error) + FEW * size + 4 * places * U * largest + TINY)


def _dequantized(case: _Case) -> Array:
    bits = case.call.types[0].kind == "bits"
    return _exact(case) if bits else FEW * np.abs(case.value)


_RULES: dict[str, Callable[[_Case], Array]] = {
    "sign": _exact,
    "quantize": _exact,
    "dequantize": _dequantized,
    "bconv2d": _bconv2d,
    "conv2d": _conv2d,
    "conv2d_transpose": _conv2d,
    "bconv2d_transpose": _bconv2d,
    "bilinear_resize2d": _mixed,
    "batch_norm": _batch_norm,
    "affine": _affine,
    "clip": lambda case: case.error,
    "prelu": _prelu,
    "sigmoid": _sigmoid,
    "tanh": _sigmoid,
    "softmax": _softmax,
    "add": _sum,
    "subtract": _sum,
    "multiply": _multiply,
    "avg_pool2d": _mean,
    "global_avg_pool2d": _mean,
    "bmax_pool2d": _exact,
    "pad": _padded,
}
