"""A transposed convolution is one convolution per phase, with nothing but products that count."""

from __future__ import annotations

import numpy as np
import pytest

from bnnzoo.errors import GraphError
from bnnzoo.graph import interpreter, passes
from bnnzoo.graph.ops import infer_types
from bnnzoo.graph.packing import Int8Kernel
from bnnzoo.graph.passes.phases import phases
from tests.graph.graphs import GraphBuilder


def transposed(builder, source="images", kernel=None, **changed):
    op = "conv2d_transpose" if source == "images" else "bconv2d_transpose"
    kernel = builder.signs(2, 3, 3, 2) if kernel is None else kernel
    window = {"strides": (2, 2), "dilation": (1, 1), "crop": (0, 0), "pixels": (8, 6), **changed}
    return builder.add(op, source, tensors={"kernel": kernel}, **window)


def assert_equal(before, after, rng):
    x = rng.standard_normal((2, *before.input_shape))
    expected, values = interpreter.run(before, x), interpreter.run(after, x)
    for name in before.outputs:
        np.testing.assert_allclose(values[name], expected[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(60))
def test_any_geometry(seed):
    """Kernels smaller than strides, crops beyond the kernel, dilation with common factors."""
    rng = np.random.default_rng(seed)
    builder = GraphBuilder(rng, (*rng.integers(1, 6, 2).tolist(), 2))
    geometry = {
        name: tuple(rng.integers(low, high, 2).tolist())
        for name, low, high in (
            ("strides", 1, 5), ("dilation", 1, 4), ("crop", 0, 7), ("pixels", 1, 12)
        )
    }  # fmt: skip
    source = builder.add("sign", "images") if seed % 2 else "images"
    kernel = builder.signs(3, *rng.integers(1, 6, 2).tolist(), 2)
    graph = builder.graph(transposed(builder, source, kernel, **geometry))
    assert_equal(graph, phases(graph), rng)


def test_products_are_those_of_the_kernel(rng):
    builder = GraphBuilder(rng, (4, 3, 2))
    graph = builder.graph(transposed(builder, builder.add("sign", "images")))
    after = phases(graph)
    convs = [node for node in after.nodes if node.op == "bconv2d"]
    taps = [after.tensors[node.tensors["kernel"]].shape[1:3] for node in convs]
    assert taps == [(2, 2), (2, 1), (1, 2), (1, 1)]  # 9 in all, of a kernel of 3 x 3
    assert [node.op for node in after.nodes[-3:]] == ["reshape", "permute", "reshape"]


def test_what_follows_per_channel_is_computed_in_each_phase(rng):
    builder = GraphBuilder(rng, (4, 3, 2))
    y = builder.affine(transposed(builder, builder.add("sign", "images")))
    graph = builder.graph(builder.add("clip", y, low=-1.0, high=2.0))
    after = phases(graph)
    assert [node.op for node in after.nodes].count("clip") == 4
    assert after.nodes[-1].name == graph.outputs[0]
    assert_equal(graph, after, rng)


def test_sums_that_others_read_stay(rng):
    builder = GraphBuilder(rng, (4, 3, 2))
    sums = transposed(builder)
    graph = builder.graph(sums, builder.affine(sums))
    assert_equal(graph, phases(graph), rng)


def test_a_sign_of_the_sums_compares_integers(rng):
    builder = GraphBuilder(rng, (4, 3, 2))
    y = builder.affine(transposed(builder, builder.add("sign", "images")))
    graph = builder.graph(builder.add("dequantize", builder.add("sign", y)))
    after, _ = passes.apply(graph, passes.RUNTIME)
    (sign,) = (n for n in after.nodes if n.op == "sign" and n.tensors)
    threshold = np.asarray(after.tensor(sign, "threshold"))
    assert np.all((threshold == np.rint(threshold)) | np.isinf(threshold))
    assert_equal(graph, after, rng)


def test_a_kernel_in_8_bits_stays_so(rng):
    builder = GraphBuilder(rng, (4, 3, 2))
    levels = rng.integers(-127, 128, (3, 3, 3, 2)).astype(np.int8)
    graph = builder.graph(transposed(builder, kernel=Int8Kernel(levels, np.ones(3) / 127)))
    after = phases(graph)
    assert all(isinstance(tensor, Int8Kernel) for tensor in after.tensors.values())
    assert_equal(graph, after, rng)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"strides": (33, 1)}, r"strides must be at most 32"),
        ({"crop": (0, -1)}, r"crop must be two integers of at least 0: rows above"),
        ({"pixels": (2**14, 2**13)}, r"has more than 67108864 elements"),
    ],
    ids=["strides", "crop", "pixels"],
)
def test_what_is_no_transposed_convolution_is_named(rng, changed, match):
    builder = GraphBuilder(rng, (4, 3, 2))
    with pytest.raises(GraphError, match=match):
        infer_types(builder.graph(transposed(builder, **changed)))
