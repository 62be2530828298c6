"""Graphs whose float32 arithmetic rounds nothing, so that any mistake is a wrong number.

Inputs and parameters are small integers, and clips keep sums small. Then the order of sums and
the folding of parameters do not matter, and the engine must agree with the reference interpreter to
the bit, through any number of signs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bnnzoo.graph.ir import Graph
from tests.graph.graphs import GraphBuilder

Block = Callable[[str], str]


class ExactBuilder(GraphBuilder):
    """Adds blocks that stress where values lie in memory."""

    in_8_bits = False

    def add(self, op: str, *inputs: str, **arguments: Any) -> str:
        if op == "quantize":
            arguments["bits"] = 1  # level / (2^bits - 1) is rounded for more
        return super().add(op, *inputs, **arguments)

    def reals(self, *shape: int) -> np.ndarray:
        return self.rng.integers(-2, 3, shape).astype(np.float32)

    def batch_norm(self, value: str) -> str:
        return self.affine(value)

    def step(self, part: str, value: str) -> str:
        return self.small(self.affine(value)) if part == "norm" else super().step(part, value)

    def small(self, value: str) -> str:
        return self.add("clip", value, low=-16.0, high=16.0)

    def binary_conv(self, value: str, filters: int) -> str:
        bits = self.add("sign", value)
        kernel = {"kernel": self.signs(filters, 3, 3, self.shape(bits)[-1])}
        pads = {"padding": (1, 1, 1, 1), "pad_value": int(self.rng.integers(-1, 2))}
        window = {"strides": (1, 1), "dilation": (1, 1), "groups": 1}
        return self.add("bconv2d", bits, tensors=kernel, **window, **pads)

    def dense_block(self, value: str) -> str:
        """Concats of concats, as DenseNets have them."""
        for _ in range(3):
            grown = self.binary_conv(value, int(self.rng.integers(1, 5)))
            value = self.add("concat", value, grown, axis=2)
            if self.rng.random() < 0.3:
                value = self.small(self.affine(value))
        return value

    def improvement(self, value: str) -> str:
        """Adds to the last channels only, as MeliusNet does, with slices in any order."""
        channels = self.shape(value)[-1]
        value = self.add("concat", value, self.binary_conv(value, 3), axis=2)
        better = self.binary_conv(value, 3)
        early = self.rng.random() < 0.5
        if early:
            kept = self.add("slice", value, axis=2, begin=0, size=channels)
        last = self.add("slice", value, axis=2, begin=channels, size=3)
        better = self.add("add", *self.rng.permutation([better, last]).tolist())
        if not early:
            kept = self.add("slice", value, axis=2, begin=0, size=channels)
        return self.add("concat", kept, better, axis=2)

    def shuffle(self, value: str) -> str:
        """Swaps two axes of channels."""
        height, width, channels = self.shape(value)
        split = self.add("reshape", value, shape=(height, width, 1, channels))
        swapped = self.add("permute", split, axes=(0, 1, 3, 2))
        return self.add("reshape", swapped, shape=(height, width, channels))

    def residuals(self, value: str) -> str:
        """Sums of sums, some of whose summands are read again."""
        kept = value
        for _ in range(3):
            value = self.small(self.add("add", value, self.affine(value)))
            if self.rng.random() < 0.3:
                value = self.small(self.add("add", kept, value))
        return value

    def blocks(self) -> list[Block]:
        half = lambda v: max(1, self.shape(v)[-1] // 2)  # noqa: E731
        one = lambda v: (1, 1, self.shape(v)[-1])  # noqa: E731
        channels = lambda v: self.shape(v)[-1]  # noqa: E731
        return [
            self.binary_block,
            self.dense_block,
            self.improvement,
            self.shuffle,
            self.residuals,
            lambda v: self.small(self.affine(self.conv(v, binary=False))),
            lambda v: self.conv(v, binary=False, groups=channels(v), filters=channels(v)),
            lambda v: self.conv(self.add("sign", v), binary=True, groups=channels(v)),
            lambda v: self.add(
                "pad", v, padding=(1, 0, 2, 1), value=float(self.rng.choice([0, 1]))
            ),
            lambda v: self.add("permute", v, axes=(1, 0, 2)),
            lambda v: self.add("slice", v, axis=2, begin=channels(v) - half(v), size=half(v)),
            lambda v: self.add("slice", v, axis=0, begin=0, size=max(1, self.shape(v)[0] - 1)),
            lambda v: self.add("concat", v, self.affine(v), axis=int(self.rng.integers(3))),
            lambda v: self.add("concat", v, v, axis=2),
            lambda v: self.add("subtract", v, self.affine(v)),
            lambda v: self.add("add", v, v),
            lambda v: self.add("dequantize", self.add("sign", v)),
            lambda v: self.add(
                "reshape", v, shape=(self.shape(v)[1], self.shape(v)[0], channels(v))
            ),
            lambda v: self.add("multiply", v, self.add("slice", v, axis=2, begin=0, size=1)),
            lambda v: self.add(
                "multiply", v, self.add("reshape", self.add("global_max_pool2d", v), shape=one(v))
            ),
        ]


def exact_graph(rng: np.random.Generator, blocks: int = 6) -> Graph:
    """Returns a random graph; besides its last value, any others may be outputs."""
    shape = tuple(int(n) for n in rng.integers([1, 1, 1], [8, 8, 70]))
    builder = ExactBuilder(rng, shape)
    value = "images"
    for _ in range(blocks):
        choices = builder.blocks()
        value = builder.small(choices[int(rng.integers(len(choices)))](value))
        if builder.shape(value)[-1] > 200:
            value = builder.add("slice", value, axis=2, begin=3, size=100)
    names = ["images", *builder.nodes]
    return builder.graph(value, *rng.choice(names, rng.integers(0, 4)).tolist())


def exact_inputs(rng: np.random.Generator, graph: Graph, count: int = 2) -> dict[str, np.ndarray]:
    return {
        name: rng.integers(-3, 4, (count, *shape)).astype(np.float32)
        for name, shape in graph.inputs.items()
    }


def exact_images(rng: np.random.Generator, graph: Graph, count: int = 2) -> np.ndarray:
    return rng.integers(-3, 4, (count, *graph.input_shape)).astype(np.float32)
