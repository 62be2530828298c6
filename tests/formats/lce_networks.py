"""Small networks that reach everything that is written for Larq Compute Engine."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from bnnzoo.graph.ir import Graph
from tests.graph.graphs import GraphBuilder, random_graph

SHAPE = (9, 7, 40)


class Builder(GraphBuilder):
    """Adds layers with the settings that a case is about."""

    in_8_bits = False

    def bconv(
        self, value: str, filters: int, size: tuple[int, int] = (3, 3), **settings: Any
    ) -> str:
        """Adds a binary convolution of bits; `padding` may be "same"."""
        attributes = {"strides": (1, 1), "dilation": (1, 1), "groups": 1, "pad_value": 1,
                      "padding": "same", **settings}  # fmt: skip
        attributes["padding"] = self.pads(value, size, attributes)
        channels = self.shape(value)[-1] // attributes["groups"]
        return self.add(
            "bconv2d", value, tensors={"kernel": self.signs(filters, *size, channels)}, **attributes
        )

    def pads(self, value: str, size: tuple[int, int], attributes: dict[str, Any]) -> Any:
        """Returns Keras's "same" in numbers, by its definition."""
        if attributes["padding"] != "same":
            return attributes["padding"]
        pads: list[int] = []
        for pixels, taps, stride, rate in zip(
            self.shape(value), size, attributes["strides"], attributes["dilation"], strict=False
        ):
            covered = (taps - 1) * rate + 1
            missing = max(0, (math.ceil(pixels / stride) - 1) * stride + covered - pixels)
            pads += [missing // 2, missing - missing // 2]
        return tuple(pads)

    def pooled(self, op: str, value: str, pool: tuple[int, int], strides: tuple[int, int]) -> str:
        settings = {"padding": "same", "strides": strides, "dilation": (1, 1)}
        pads = self.pads(value, pool, settings)
        return self.add(op, value, pool=pool, strides=strides, padding=pads)

    def relu(self, value: str, high: float = math.inf) -> str:
        return self.add("clip", value, low=0.0, high=high)

    def sign(self, value: str) -> str:
        return self.add("sign", value)


def chain(b: Builder, **settings: Any) -> str:
    """Two convolutions: the first one's signs are the second one's input."""
    first = b.batch_norm(b.bconv(b.sign("images"), 33, **settings))
    return b.batch_norm(b.bconv(b.sign(first), 5))


def grouped(b: Builder) -> str:
    return b.batch_norm(b.bconv(b.sign("images"), 8, groups=4, pad_value=1))


def activated(b: Builder, pad_value: int, high: float = math.inf) -> str:
    return b.batch_norm(b.relu(b.bconv(b.sign("images"), 12, pad_value=pad_value), high))


def pooled(b: Builder, norm_first: bool, pad_value: int = 1) -> str:
    x = b.bconv(b.sign("images"), 34, pad_value=pad_value)
    x = b.batch_norm(x) if norm_first else x
    x = b.pooled("max_pool2d", x, (3, 2), (1, 2))
    x = x if norm_first else b.batch_norm(x)
    return b.bconv(b.sign(x), 6)


def oddly_pooled(b: Builder) -> str:
    """Bits and numbers in borders that TensorFlow has no name for."""
    window = {"pool": (3, 3), "strides": (2, 1), "padding": (0, 2, 2, 0)}
    y = b.bconv(b.add("bmax_pool2d", b.sign("images"), **window), 40, padding=(0, 0, 0, 0))
    return b.add("concat", y, b.add("max_pool2d", y, **{**window, "strides": (1, 1)}), axis=0)


def depthwise(b: Builder, filters: int, size: int) -> str:
    """Above 4,832 channels TensorFlow Lite's depthwise kernel has no room for a pixel."""
    window = {"strides": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0), "groups": 8}
    kernel = b.reals(filters, size, size, 1)
    x = b.affine(b.add("conv2d", "images", tensors={"kernel": kernel}, **window))
    return b.bconv(b.sign(x), 2, (1, 1))


def shared_sum(b: Builder) -> str:
    """A sum that a ReLU and something else read."""
    x = b.add("add", b.affine("images"), "images")
    return b.add("concat", b.relu(x), x, axis=2)


def residual(b: Builder) -> str:
    x = b.batch_norm("images")
    for _ in range(2):
        x = b.add("add", b.batch_norm(b.bconv(b.sign(x), 40, pad_value=0)), x)
    return b.relu(x)


def joined(b: Builder) -> str:
    x = "images"
    for _ in range(2):
        y = b.bconv(b.sign(b.batch_norm(x)), 9, pad_value=0)
        x = b.add("concat", x, y, axis=2)
    return b.batch_norm(x)


def shared_affine(b: Builder) -> str:
    """A batch norm that a sign and a residual read."""
    x = b.batch_norm(b.bconv(b.sign("images"), 40))
    return b.add("add", b.bconv(b.sign(x), 40), x)


def flattened(b: Builder, channels: int) -> str:
    """Signs through a flatten, whose words stay whole or not."""
    x = b.batch_norm(b.bconv(b.sign("images"), channels, padding=(0, 0, 0, 0)))
    flat = b.add("reshape", b.sign(x), shape=(math.prod(b.shape(x)),))
    return b.batch_norm(b.dense(flat, 11, binary=True))


def every_real(b: Builder) -> str:
    """Operations on real numbers that no other case has."""
    x = b.affine(b.add("slice", "images", axis=2, begin=3, size=8))
    x = b.add("pad", x, padding=(1, 0, 2, 1), value=0.5)
    x = b.add("prelu", x, tensors={"alpha": b.reals(8)})
    x = b.pooled("avg_pool2d", x, (2, 2), (2, 2))
    x = b.add("subtract", x, b.add("tanh", b.add("clip", x, low=-0.5, high=2.0)))
    x = b.add("multiply", x, b.add("permute", b.add("permute", x, axes=(2, 0, 1)), axes=(1, 2, 0)))
    x = b.gate(x)
    x = b.add("concat", x, b.add("dequantize", b.sign(x)), axis=0)
    return b.add("softmax", b.dense(b.add("global_max_pool2d", x), 4, binary=False))


def tie(b: Builder) -> str:
    """Integer thresholds that sums meet exactly, rising and falling."""
    x = b.bconv(b.sign("images"), 32, (1, 1))
    scale = np.where(np.arange(32) % 2, -1, 1).astype(np.float32)
    bias = (-scale * (np.arange(32) - 16)).astype(np.float32)
    x = b.add("affine", x, tensors={"scale": scale, "bias": bias})
    return b.bconv(b.sign(x), 3)


CASES: dict[str, tuple[Callable[[Builder], str], tuple[int, ...]]] = {
    "one-padding": (chain, SHAPE),
    "zero-padding": (lambda b: chain(b, pad_value=0), SHAPE),
    "minus-padding": (lambda b: chain(b, pad_value=-1), SHAPE),
    "no padding": (lambda b: chain(b, padding=(0, 0, 0, 0)), SHAPE),
    "padding unlike same": (lambda b: chain(b, padding=(2, 0, 1, 1)), SHAPE),
    "zero-padding unlike same": (lambda b: chain(b, padding=(2, 0, 1, 1), pad_value=0), SHAPE),
    "strides": (lambda b: chain(b, strides=(2, 3)), SHAPE),
    "strides, zero-padding": (lambda b: chain(b, strides=(2, 3), pad_value=0), SHAPE),
    "dilation": (lambda b: chain(b, dilation=(2, 1)), SHAPE),
    "even kernel": (lambda b: chain(b, size=(4, 2)), SHAPE),
    "groups": (grouped, (6, 5, 12)),
    "1 channel": (chain, (5, 5, 1)),
    "31 channels": (chain, (5, 4, 31)),
    "32 channels": (chain, (4, 5, 32)),
    "33 channels": (chain, (1, 6, 33)),
    "64 channels": (chain, (3, 1, 64)),
    "relu": (lambda b: activated(b, 1), SHAPE),
    "relu6": (lambda b: activated(b, 1, 6.0), SHAPE),
    "relu, zero-padding": (lambda b: activated(b, 0), SHAPE),
    "clip of other bounds": (lambda b: activated(b, 1, 2.5), SHAPE),
    "bits pooled": (lambda b: pooled(b, norm_first=True), SHAPE),
    "bits pooled, zero-padding": (lambda b: pooled(b, norm_first=True, pad_value=0), SHAPE),
    "sums pooled": (lambda b: pooled(b, norm_first=False), SHAPE),
    "pooled in odd borders": (oddly_pooled, SHAPE),
    "depthwise": (lambda b: depthwise(b, 16, 3), (5, 4, 8)),
    "wide depthwise": (lambda b: depthwise(b, 4840, 1), (2, 1, 8)),
    "a sum for two": (shared_sum, SHAPE),
    "residual": (residual, SHAPE),
    "concatenation": (joined, (7, 5, 21)),
    "batch norm for two": (shared_affine, SHAPE),
    "flatten of words": (lambda b: flattened(b, 64), (4, 4, 5)),
    "flatten of parts of words": (lambda b: flattened(b, 33), (4, 4, 5)),
    "real operations": (every_real, (8, 7, 12)),
    "ties": (tie, (3, 3, 16)),
}


def network(name: str) -> Graph:
    """Returns the network of a case; some of its gammas are negative, zero or tiny."""
    build, shape = CASES[name]
    builder = Builder(np.random.default_rng(zlib.crc32(name.encode())), shape)
    return builder.graph(build(builder))


def random_network(seed: int) -> Graph | None:
    """Returns a random graph, None where it has what Larq Compute Engine does not know."""
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    unknown = any(node.op == "quantize" or "input_bits" in node.attributes for node in graph.nodes)
    return None if unknown else graph


def images(graph: Graph, count: int = 2) -> Any:
    """Returns standard normal numbers, by name where there are several inputs."""
    rng = np.random.default_rng(7)
    found = {
        name: rng.standard_normal((count, *shape)).astype(np.float32)
        for name, shape in graph.inputs.items()
    }
    return found if len(found) > 1 else found[graph.input]
