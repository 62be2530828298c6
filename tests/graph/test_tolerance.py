"""Float32 stays within the tolerance, in NumPy's order of sums and the runtime's; bugs do not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bnnzoo import runtime
from bnnzoo.conversion.subgraphs import cut
from bnnzoo.graph.interpreter import MEANINGS, Call, parameters, run
from bnnzoo.graph.ir import Graph, Node
from bnnzoo.graph.ops import infer_types
from bnnzoo.graph.packing import Int8Kernel, quantize
from bnnzoo.graph.tolerance import Losses, errors
from tests.conversion.test_subgraphs import numbers
from tests.graph.graphs import random_graph


def float32_values(graph, x):
    """The values of a graph in float32 arithmetic: the reference's words with other numbers."""
    types = infer_types(graph)
    values = {graph.input: x.astype(np.float32)}
    for node in graph.nodes:
        tensors = {r: np.asarray(t, np.float32) for r, t in parameters(graph, node).items()}
        inputs = [values[name] for name in node.inputs]
        call = Call(node.attributes, inputs, [types[name] for name in node.inputs], tensors)
        value = np.asarray(MEANINGS[node.op](call))
        kind = types[node.name].kind
        values[node.name] = value.astype(np.float32 if kind == "real" else np.int16)
    return values


def between_bits(seed):
    """Random pieces that are fed with bits, so that no flip travels, and their input."""
    rng = np.random.default_rng([4, seed])
    graph = random_graph(rng)
    x = rng.standard_normal((2, *graph.input_shape)).astype(np.float32)
    values = run(graph, x)
    bits = [name for name, type_ in infer_types(graph).items() if type_.kind != "real"]
    (pieces,) = cut(graph, bits, list(graph.outputs))
    return pieces.graph, pieces.feed(numbers(graph, values))


@pytest.mark.parametrize("seed", range(30))
def test_float32_is_within_the_tolerance(seed):
    graph, fed = between_bits(seed)
    expected = run(graph, fed)
    allowed = errors(graph, expected)
    for name, found in float32_values(graph, fed).items():
        assert np.all(np.abs(found - expected[name]) <= allowed[name]), name


@pytest.mark.parametrize("seed", range(30))
def test_the_runtime_is_within_the_tolerance(seed):
    graph, fed = between_bits(seed)
    expected = run(graph, fed)
    allowed = errors(graph, expected)
    found = runtime.Model(graph).run_values(fed, graph.outputs)
    for name in graph.outputs:
        assert np.all(np.abs(found[name] - expected[name]) <= allowed[name]), name


def test_the_tolerance_is_tight():
    """A hundred-thousandth of the outputs, more only where nearly all of them cancel."""
    sizes = []
    for seed in range(30):
        graph, fed = between_bits(seed)
        expected = run(graph, fed)
        allowed = errors(graph, expected)
        name = graph.outputs[1]
        sizes.append(allowed[name].max() / np.abs(expected[name]).max())
    assert np.median(sizes) < 2e-5
    assert max(sizes) < 5e-2


def one(op, tensors=None, shape=(6, 6, 8), **attributes):
    names = {role: f"t/{role}" for role in tensors or {}}
    node = Node("y", op, ("x",), attributes, names)
    return Graph({"x": shape}, (node,), ("y",), {names[r]: t for r, t in (tensors or {}).items()})


def normal(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


CONV = {"strides": (1, 1), "dilation": (1, 1), "padding": (1, 1, 1, 1), "groups": 1}
NORM = {
    "gamma": normal(8),
    "beta": normal(8),
    "mean": normal(8),
    "variance": np.abs(normal(8)) + 0.5,
}
# Two graphs that differ by a mistake.
MISTAKES = {
    "epsilon": (
        one("batch_norm", NORM, epsilon=1e-3),
        one("batch_norm", NORM, epsilon=1e-5),
    ),
    "bias": (
        one("affine", {"scale": normal(8), "bias": normal(8)}),
        one("affine", {"scale": normal(8)}),
    ),
    "border": (
        one("conv2d", {"kernel": normal(4, 3, 3, 8)}, **CONV),
        one("conv2d", {"kernel": normal(4, 3, 3, 8)}, **{**CONV, "padding": (2, 0, 1, 1)}),
    ),
    "one weight": (
        one("conv2d", {"kernel": normal(4, 3, 3, 8)}, **CONV),
        one(
            "conv2d", {"kernel": np.where(np.arange(8) == 3, 1.001, 1) * normal(4, 3, 3, 8)}, **CONV
        ),
    ),
    "mean over the border": (
        one("avg_pool2d", pool=(2, 2), strides=(1, 1), padding=(1, 0, 0, 0)),
        one("avg_pool2d", pool=(2, 2), strides=(1, 1), padding=(0, 1, 0, 0)),
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_outside(name):
    right, wrong = MISTAKES[name]
    x = normal(2, *right.input_shape)
    expected = run(right, x)
    difference = np.abs(run(wrong, x)["y"] - expected["y"])
    assert np.any(difference > 5 * errors(right, expected)["y"])


def flushed(x):
    """Float32 as a processor has it that flushes subnormal numbers to zero."""
    x = np.asarray(x, np.float32)
    return np.where(np.abs(x) < np.finfo(np.float32).tiny, np.float32(0), x)


ZERO_MEAN = {"mean": np.zeros(8, np.float32), "variance": np.ones(8, np.float32)}
SMALL = {
    "conv2d": one(
        "conv2d", {"kernel": np.abs(normal(4, 1, 1, 8))}, **{**CONV, "padding": (0,) * 4}
    ),
    "affine": one("affine", {"scale": normal(8)}),
    "batch_norm": one("batch_norm", {"gamma": normal(8), **ZERO_MEAN}, epsilon=0.0),
    "prelu": one("prelu", {"alpha": normal(8)}),
}


@pytest.mark.parametrize("scale", [1e-36, 1e-37, 1e-38, 1e-39])
@pytest.mark.parametrize("name", SMALL)
def test_numbers_that_are_flushed_to_zero_are_within_the_tolerance(name, scale):
    first, *_ = SMALL[name].tensors
    small = {first: scale * SMALL[name].tensors[first].astype(np.float64)}
    graph = dataclasses.replace(SMALL[name], tensors={**SMALL[name].tensors, **small})
    x = -3000 * np.abs(normal(2, 6, 6, 8))
    expected = run(graph, x)
    weights = flushed(small[first])
    if name == "conv2d":  # each product by itself
        found = flushed(x[..., None, :] * weights[:, 0, 0]).sum(axis=-1)
    else:
        found = flushed(x * weights)
    difference = np.abs(found - expected["y"])
    assert np.all(difference <= errors(graph, expected)["y"])
    assert scale > 1e-38 or difference.max() > 0.1 * np.abs(expected["y"]).max()


def test_sums_of_signs_are_exact_unless_their_terms_are_rounded():
    kernel = np.sign(normal(4, 3, 3, 8)).astype(np.int8)
    node = Node("y", "bconv2d", ("bits",), {**CONV, "pad_value": 0}, {"kernel": "k"})
    sign = Node("bits", "sign", ("x",))
    graph = Graph({"x": (6, 6, 8)}, (sign, node), ("y",), {"k": kernel})
    values = run(graph, normal(2, 6, 6, 8))
    assert not errors(graph, values)["y"].any()
    rounded = errors(graph, values, Losses(rounded={"y"}))["y"]
    assert np.all((rounded > 0) & (rounded < 0.01))


def test_terms_that_cancel_in_a_bias_count():
    graph = one("affine", {"scale": np.ones(8, np.float32), "bias": np.zeros(8, np.float32)})
    x = normal(2, 6, 6, 8)
    values = run(graph, x)
    more = errors(graph, values, Losses(terms={"y": np.full(8, 100.0)}))["y"]
    assert np.all(more > 10 * errors(graph, values)["y"])


IN_8_BITS = one("conv2d", {"kernel": quantize(normal(4, 3, 3, 8))}, **CONV, input_bits=8)


def test_levels_of_equal_inputs_are_exact():
    """Nothing but the last product is rounded, however many terms there are."""
    values = run(IN_8_BITS, normal(2, 6, 6, 8))
    assert np.all(errors(IN_8_BITS, values)["y"] <= 1e-6 * np.abs(values["y"]) + 1e-30)


def after_affine(graph):
    """The same graph over scale * x + bias, which is rounded."""
    affine = Node("a", "affine", ("x",), {}, {"scale": "s", "bias": "b"})
    (conv,) = graph.nodes
    return dataclasses.replace(
        graph,
        nodes=(affine, dataclasses.replace(conv, inputs=("a",))),
        tensors={**graph.tensors, "s": normal(8), "b": normal(8) / 3},
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_level_may_flip_where_its_input_is_next_to_a_half(seed):
    """Inputs a few roundings off give other levels there, and nowhere else."""
    rng = np.random.default_rng(seed)
    graph = after_affine(IN_8_BITS)
    x = rng.standard_normal((2, 6, 6, 8)).astype(np.float32)
    values = run(graph, x)
    # Move every input to within a rounding of a half.
    m = np.abs(values["a"]).max(axis=(1, 2, 3), keepdims=True)
    place = values["a"] * 127 / m
    halves = np.where(np.abs(place) < 126, (np.floor(place) + 0.5) * m / 127, values["a"])
    for size, given, flips in ((0.0, halves, True), (0.01, halves + 0.01 * m / 127, False)):
        exact = run(graph, x, {"a": given})
        allowed = errors(graph, exact)
        off = allowed["a"] * rng.uniform(-1, 1, given.shape)
        found = run(graph, x, {"a": given + off})
        difference = np.abs(found["y"] - exact["y"])
        assert np.all(difference <= allowed["y"]), size
        assert (difference.max() > 1e-3 * np.abs(exact["y"]).max()) == flips


def test_a_wrong_level_is_outside():
    kernel = IN_8_BITS.tensors["t/kernel"]
    levels = kernel.levels.copy()
    levels[1, 1, 1, 1] += 1
    wrong = dataclasses.replace(IN_8_BITS, tensors={"t/kernel": Int8Kernel(levels, kernel.scale)})
    graph, wrong = after_affine(IN_8_BITS), after_affine(wrong)
    x = normal(2, 6, 6, 8)
    expected = run(graph, x)
    difference = np.abs(run(wrong, x)["y"] - expected["y"])
    assert np.any(difference > 100 * errors(graph, expected)["y"])


def test_errors_grow_through_what_follows():
    first = one("affine", {"scale": normal(8)})
    second = Node("z", "affine", ("y",), {}, {"scale": "s"})
    graph = dataclasses.replace(
        first,
        nodes=(*first.nodes, second),
        outputs=("z",),
        tensors={**first.tensors, "s": np.full(8, 50.0, np.float32)},
    )
    values = run(graph, normal(2, 6, 6, 8))
    found = errors(graph, values)
    assert np.all(found["z"] >= 50 * found["y"])
