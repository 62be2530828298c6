"""Networks of small dyadic numbers, whose values float32 represents exactly on every machine."""

from __future__ import annotations

import numpy as np

from bnnzoo.graph.ir import Graph
from bnnzoo.graph.packing import Int8Kernel
from tests.formats.files import tiny_graph
from tests.graph.graphs import GraphBuilder

ONE = {"strides": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0), "groups": 1}


def _borders() -> Graph:
    """Bits with padding of -1, 0 and +1, with a different width on every side."""
    builder = GraphBuilder(np.random.default_rng(1), (7, 8, 4))
    bits = builder.add("sign", "images")
    window = {"strides": (2, 1), "dilation": (1, 2), "padding": (0, 1, 2, 3), "groups": 2}
    kernel = {"kernel": builder.signs(6, 3, 3, 2)}
    convs = [
        builder.add("bconv2d", bits, tensors=kernel, pad_value=value, **window)
        for value in (-1, 0, 1)
    ]
    return builder.graph(builder.add("concat", *convs, axis=2))


def _levels() -> Graph:
    """Levels of one bit and of two; thirds of integers keep their sign."""
    builder = GraphBuilder(np.random.default_rng(2), (6, 6, 3))
    levels = builder.add("quantize", "images", bits=1)
    kernel = {"kernel": builder.signs(4, 3, 3, 3)}
    window = {**ONE, "padding": (1, 1, 1, 1)}
    y = builder.add("bconv2d", levels, tensors=kernel, pad_value=0, **window)
    scaled = builder.add("affine", y, tensors={"scale": np.full(4, 1 / 32, np.float32)})
    finer = builder.add("quantize", scaled, bits=2)
    kernel = {"kernel": builder.signs(5, 2, 2, 4)}
    y = builder.add("bconv2d", finer, tensors=kernel, pad_value=0, **ONE)
    return builder.graph(builder.add("dequantize", builder.add("sign", y)))


def _kernel_in_8_bits() -> Graph:
    """A real kernel of levels, a batch norm with a negative scale, and a dense layer."""
    builder = GraphBuilder(np.random.default_rng(3), (4, 4, 2))
    levels = builder.rng.integers(-127, 128, (3, 3, 3, 2)).astype(np.int8)
    kernel = Int8Kernel(levels, np.float32([1 / 64, 1 / 128, 1 / 32]))
    y = builder.add("conv2d", "images", tensors={"kernel": kernel}, **ONE)
    vectors = {"scale": np.float32([0.5, -0.25, 0]), "bias": np.float32([-1, 0.5, 0])}
    y = builder.add("sign", builder.add("affine", y, tensors=vectors))
    row = builder.add("reshape", y, shape=(1, 1, 12))
    kernel = {"kernel": builder.signs(5, 1, 1, 12)}
    y = builder.add("bconv2d", row, tensors=kernel, pad_value=0, **ONE)
    return builder.graph(builder.add("reshape", y, shape=(5,)))


NETWORKS = {
    "tiny": tiny_graph(),
    "borders": _borders(),
    "levels": _levels(),
    "kernel in 8 bits": _kernel_in_8_bits(),
}


def exact_input(graph: Graph) -> np.ndarray:
    """An input of sixteenths, including zeros of both signs."""
    rng = np.random.default_rng(7)
    x = (rng.integers(-24, 25, (1, *graph.input_shape)) / 16).astype(np.float32)
    x.ravel()[::5], x.ravel()[1::5] = 0.0, -0.0
    return x
