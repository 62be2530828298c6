"""Every operation as C, compiled with all warnings and sanitizers, equals the reference."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from bnnzoo.conversion.subgraphs import cut
from bnnzoo.formats.c_source.lowering import prepare
from bnnzoo.graph.interpreter import run
from bnnzoo.graph.ops import OPS, infer_types
from bnnzoo.graph.packing import Int8Kernel
from bnnzoo.graph.tolerance import errors
from tests.conversion.test_subgraphs import numbers
from tests.formats.c_source.programs import (
    COMPILERS,
    build,
    needs_compiler,
    network,
    real_outputs,
    shared,
)
from tests.graph.graphs import random_graph, with_more_ends
from tests.runtime.exact_graphs import exact_graph, exact_images, exact_inputs
from tests.runtime.op_cases import CASES, INF, ROUNDED, CaseBuilder

pytestmark = needs_compiler

# Words have 32 channels: one less, one more, several; and maps of one row, column, pixel.
SHAPES = ((7, 9, 3), (1, 7, 33), (1, 1, 31), (2, 6, 64))
SEEDS = range(8)


def all_cases(shape):
    """One graph with every case at the same input: names of outputs by name of the case."""
    builder = CaseBuilder(np.random.default_rng(list(shape)), shape)
    found = {
        name: case(builder) for name, case in {**CASES, **ROUNDED, **SIGNED, **KERNELS}.items()
    }
    return found, real_outputs(builder.graph(*found.values()))


def signed(conv):
    """A convolution of which only the sign is read, with thresholds of both directions."""

    def build_case(b):
        value = conv(b)
        channels = b.shape(value)[-1]
        threshold = b.rng.choice([-INF, -3.0, -0.5, 0.0, 1.0, INF], channels)
        tensors = {"threshold": threshold, "direction": b.signs(channels)}
        return b.add("sign", value, tensors=tensors)

    return build_case


def int8_kernel(b):
    """A kernel in 8 bits over real numbers, and a batch norm's scale and bias behind it."""
    kernel = b.rng.integers(-127, 128, (5, 3, 3, b.channels)).astype(np.int8)
    tensors = {"kernel": Int8Kernel(kernel, b.rng.choice([0.25, -0.5, 1.0], 5))}
    return b.affine(b.add("conv2d", "images", tensors=tensors, **b.window((3, 3))))


def read_twice(conv):
    """A convolution of which the sign is read, and the sums too."""

    def build_case(b):
        value = conv(b)
        return b.add("add", value, b.add("dequantize", b.add("sign", value)))

    return build_case


SIGNED = {
    f"{name}-sign": signed({**CASES, **ROUNDED}[name])
    for name in (
        "bconv2d-3x3", "bconv2d-pad-0", "bconv2d-pad-minus-1", "bconv2d-groups",
        "bconv2d-filters-130", "bconv2d-levels", "conv2d-3x3", "conv2d-binary-kernel",
        "conv2d-groups", "conv2d-int8",
    )
}  # fmt: skip
KERNELS = {"conv2d-int8-kernel": int8_kernel}
SIGNED |= {f"{name}-twice": read_twice(CASES[name]) for name in ("bconv2d-3x3", "conv2d-3x3")}


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """A program per compiler, made when it is asked for."""

    @functools.cache
    def program(compiler):
        graphs = [all_cases(shape)[1] for shape in shared(SHAPES, compiler)]
        folder = tmp_path_factory.mktemp(compiler)
        return build(folder, [network(graph) for graph in graphs], compiler)

    return program


@pytest.mark.parametrize(
    ("compiler", "shape"), [(c, s) for c in COMPILERS for s in shared(SHAPES, c)], ids=str
)
def test_every_case(programs, compiler, shape):
    cases, graph = all_cases(shape)
    x = np.random.default_rng(3).integers(-3, 4, (2, *shape)).astype(np.float32)
    expected = run(graph, x)
    allowed = errors(graph, expected)
    found = programs(compiler).run(shared(SHAPES, compiler).index(shape), x)
    for name, output, got in zip(cases, graph.outputs, found, strict=True):
        # Where parameters are small integers, float32 rounds nothing.
        most = (
            allowed[output] if name in {**ROUNDED, **KERNELS} else np.zeros_like(expected[output])
        )
        off = np.abs(got - expected[output].reshape(got.shape))
        assert np.all(off <= most.reshape(got.shape)), name


def test_every_operation_has_a_case():
    _, graph = all_cases(SHAPES[0])
    assert {node.op for node in graph.nodes} == set(OPS)


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("ends", ["one input", "several inputs"])
def test_exact_graphs(compiler, ends, tmp_path):
    """Networks whose float32 arithmetic rounds nothing: any mistake is a wrong number."""
    rngs = [np.random.default_rng([5, seed]) for seed in shared(SEEDS, compiler)]
    graphs = [real_outputs(exact_graph(rng)) for rng in rngs]
    if ends == "several inputs":
        graphs = [with_more_ends(rng, graph) for rng, graph in zip(rngs, graphs, strict=True)]
    program = build(tmp_path, [network(graph) for graph in graphs], compiler)
    for index, (graph, rng) in enumerate(zip(graphs, rngs, strict=True)):
        x = exact_inputs(rng, graph)
        expected = run(graph, x)
        for name, got in zip(graph.outputs, program.run(index, x), strict=True):
            np.testing.assert_array_equal(
                got, expected[name].reshape(got.shape).astype(np.float32), err_msg=f"{index} {name}"
            )
        program.self_test(index)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_random_graphs_between_bits(compiler, tmp_path):
    """Pieces that are fed with bits, so that no flip travels, and the tolerance of float32."""
    pieces, fed = [], []
    for seed in shared(SEEDS, compiler):
        rng = np.random.default_rng([4, seed])
        graph = random_graph(rng)
        x = rng.standard_normal((2, *graph.input_shape)).astype(np.float32)
        values = run(graph, x)
        bits = [name for name, type_ in infer_types(graph).items() if type_.kind != "real"]
        (piece,) = cut(graph, bits, list(graph.outputs))
        pieces.append(piece.graph)
        fed.append(piece.feed(numbers(graph, values)))
    networks = [network(g, x[:1]) for g, x in zip(pieces, fed, strict=True)]
    program = build(tmp_path, networks, compiler)
    for index, (graph, x) in enumerate(zip(pieces, fed, strict=True)):
        expected = run(graph, x)
        allowed = errors(graph, expected)
        for name, got in zip(graph.outputs, program.run(index, x), strict=True):
            off = np.abs(got - expected[name].reshape(got.shape))
            assert np.all(off <= allowed[name].reshape(got.shape)), name
        program.self_test(index)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_computed_is_what_was_given(seed):
    graph = real_outputs(exact_graph(np.random.default_rng([6, seed])))
    x = exact_images(np.random.default_rng(seed), graph)
    before, after = run(graph, x), run(prepare(graph), x)
    for name in graph.outputs:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-12, atol=1e-12)
