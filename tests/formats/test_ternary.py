"""Kernels of -1, 0 and +1 take two bits a weight, by the words of docs/format.md."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bnnzoo.errors import ModelFormatError
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.formats.packed import from_bytes, to_bytes
from bnnzoo.formats.storage import Stored, restore
from bnnzoo.graph.packing import pack_ternary
from tests.graph.graphs import GraphBuilder

ONE = {"strides": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0), "groups": 1}


def ternary(rng, *shape):
    return rng.integers(-1, 2, shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 1, 1, 4), (2, 3, 3, 5), (5, 1, 2, 65)])
def test_a_kernel_comes_back(rng, shape):
    kernel = ternary(rng, *shape)
    codes = pack_ternary(kernel)
    K = int(np.prod(shape[1:]))
    assert codes.shape == (shape[0], -(-K // 4))
    for o, row in enumerate(kernel.reshape(shape[0], -1)):
        for k, weight in enumerate(row):
            assert codes[o, k // 4] >> 2 * (k % 4) & 3 == {0: 0b00, 1: 0b01, -1: 0b11}[weight]
    stored = Stored("ternary", shape)
    np.testing.assert_array_equal(restore("kernel", stored, {"kernel": codes}), kernel)


@pytest.mark.parametrize("weights_dtype", ["float32", "float16", "int8"])
def test_a_file_of_version_2(rng, weights_dtype):
    builder = GraphBuilder(rng, (4, 3, 6))
    kernel = ternary(rng, 5, 1, 1, 6)
    graph = builder.graph(builder.add("conv2d", "images", tensors={"kernel": kernel}, **ONE))
    file = from_bytes(to_bytes(graph, NetworkInfo("net"), weights_dtype=weights_dtype))
    (name,) = graph.tensors
    assert (file.format, file.stored[name].encoding) == ("bnnzoo-packed/2", "ternary")
    np.testing.assert_array_equal(file.graph.tensors[name], kernel)
    changed = dataclasses.replace(graph, tensors={name: kernel + 0.5})
    assert from_bytes(to_bytes(changed, NetworkInfo("net"))).format == "bnnzoo-packed/1"


@pytest.mark.parametrize(
    ("codes", "match"),
    [
        ([[0b10]], r"must be -1, 0 and 1, and zeros after its 3 weights, got other bits"),
        ([[0b01000000]], r"must be -1, 0 and 1, and zeros after its 3 weights, got other bits"),
        ([[0, 0]], r"must be uint8 \(1, 1\), got uint8 \(1, 2\)"),
    ],
    ids=["10", "behind the last", "shape"],
)
def test_other_bits_are_refused(codes, match):
    with pytest.raises(ModelFormatError, match=match):
        restore("kernel", Stored("ternary", (1, 1, 1, 3)), {"kernel": np.array(codes, np.uint8)})
