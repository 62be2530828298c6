"""Biases between counts and signs, moved so that float32 has the signs that float64 has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bnnzoo.graph.interpreter import run
from bnnzoo.graph.ir import Graph
from bnnzoo.graph.passes.steady_signs import steady_signs
from tests.graph.graphs import GraphBuilder

K = 777
PIXEL = {"strides": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0), "groups": 1}
SIZE = 256


def counting(rng: np.random.Generator, *affines: dict[str, Any]) -> Graph:
    """A graph of the sums of K signs, the affines, and a sign."""
    builder = GraphBuilder(rng, (1, 1, K))
    bits = builder.add("sign", "images")
    kernel = {"kernel": np.ones((SIZE, 1, 1, K), np.int8)}
    value = builder.add("bconv2d", bits, tensors=kernel, pad_value=0, **PIXEL)
    for vectors in affines:
        value = builder.add("affine", value, tensors=vectors)
    return builder.graph(builder.add("dequantize", builder.add("sign", value)), value)


def near_counts(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """An affine that is zero within some roundings of an integer."""
    counts = rng.integers(-K, K + 1, SIZE) * (1 + rng.uniform(-4, 4, SIZE) * 2.0**-24)
    scale = np.float32(rng.choice([-1, 1], SIZE) * rng.uniform(0.01, 1, SIZE))
    return {"scale": scale, "bias": np.float32(-scale.astype(np.float64) * counts)}


def in_float32(scale: np.ndarray, bias: np.ndarray, n: np.ndarray) -> list[np.ndarray]:
    """Values of scale * n + bias in some orders of float32."""
    scale, bias, n = (np.asarray(v, np.float32) for v in (scale, bias, n))
    off = np.float32(1 - 2.0**-23)  # of a reciprocal root that is taken roughly
    half = n - np.float32(K // 2)
    return [
        scale * n + bias,
        scale * off * n + bias,
        (scale * n.astype(np.float64) + bias).astype(np.float32),
        scale * half + (bias + scale * np.float32(K // 2)),
    ]


@pytest.mark.parametrize("seed", range(5))
def test_float32_has_the_signs_of_counts_in_any_order(seed):
    rng = np.random.default_rng(seed)
    before = counting(rng, near_counts(rng))
    after = steady_signs(before)
    name = before.outputs[1]
    scale, old = (before.tensors[f"{name}/{role}"].astype(float) for role in ("scale", "bias"))
    new = after.tensors[f"{name}/bias"]
    n = np.arange(-K, K + 1)[:, None]
    expected = scale * n + old < 0
    assert any((v < 0).tolist() != expected.tolist() for v in in_float32(scale, old, n))
    for found in in_float32(scale, new, n):
        np.testing.assert_array_equal(found < 0, expected)
    # By a few roundings, and only where the threshold is that near to a count.
    assert np.all(np.abs(new - old) <= 8 * 2.0**-24 * (np.abs(scale) * K + np.abs(old)))


def test_biases_that_are_no_weights_stay_and_the_one_before_moves(rng):
    first, second = near_counts(rng), {"scale": np.full(SIZE, -0.5, np.float32)}
    graph = counting(rng, first, second)
    after = steady_signs(graph)
    changed = {name for name, t in after.tensors.items() if t is not graph.tensors[name]}
    assert changed == {f"{graph.nodes[2].name}/bias"}
    x = np.where(np.arange(K) < np.arange(0, K + 1, 7)[:, None], 1, -1)[:, None, None]
    np.testing.assert_array_equal(run(after, x)[graph.outputs[0]], run(graph, x)[graph.outputs[0]])


def test_thresholds_between_counts_and_signs_of_real_numbers_are_left_alone(rng):
    scale = np.ones(SIZE, np.float32)
    between = counting(rng, {"scale": scale, "bias": scale / 2})
    assert steady_signs(between).tensors == between.tensors
    builder = GraphBuilder(rng, (1, 1, 4))
    value = builder.real_conv("images", (SIZE, 1, 1, 4), **PIXEL)
    value = builder.add("affine", value, tensors=near_counts(rng))
    graph = builder.graph(builder.add("dequantize", builder.add("sign", value)))
    assert steady_signs(graph).tensors == graph.tensors
