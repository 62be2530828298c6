"""Small random graphs that reach every operation, for property tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bnnzoo.graph import builder
from bnnzoo.graph.ir import Graph
from bnnzoo.graph.ops import infer_types
from bnnzoo.graph.packing import quantize
from bnnzoo.graph.passes.distinct_outputs import distinct_outputs
from bnnzoo.graph.passes.drop_unused import drop_unused


class GraphBuilder(builder.GraphBuilder):
    """Builds graphs of an image named `images`, with random parameters.

    Attributes:
        in_8_bits: Whether some convolutions take their input and kernel in 8 bits.
        decoders: Whether some blocks make larger maps, as those of a decoder do.
    """

    in_8_bits = True
    decoders = False

    def __init__(self, rng: np.random.Generator, input_shape: tuple[int, ...]) -> None:
        super().__init__({"images": input_shape})
        self.rng = rng
        self.input_shape = input_shape

    def signs(self, *shape: int) -> np.ndarray:
        return self.rng.choice(np.array([-1, 1], np.int8), shape)

    def reals(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape).astype(np.float32)

    def window(self, value: str, *, strides: bool = True) -> dict[str, Any]:
        """Returns a kernel size that fits with its strides, dilation and padding."""
        height, width, _ = self.shape(value)
        rng = self.rng
        kernel = tuple(int(rng.integers(1, min(4, n) + 1)) for n in (height, width))
        rate = int(rng.choice([1, 1, 2]))
        dilation = tuple(
            rate if (k - 1) * rate < n else 1 for k, n in zip(kernel, (height, width), strict=True)
        )
        same = [
            ((k - 1) * d // 2, (k - 1) * d - (k - 1) * d // 2)
            for k, d in zip(kernel, dilation, strict=True)
        ]
        padding = (*same[0], *same[1]) if rng.random() < 0.7 else (0, 0, 0, 0)
        stride = (int(rng.choice([1, 1, 2])), int(rng.choice([1, 1, 2]))) if strides else (1, 1)
        return {"kernel": kernel, "dilation": dilation, "padding": padding, "strides": stride}

    def conv(self, value: str, *, binary: bool, filters: int | None = None, groups: int = 1) -> str:
        """Adds a convolution of bits, levels or real numbers, whose kernel fits the value."""
        window = self.window(value)
        kernel = window.pop("kernel")
        channels = self.shape(value)[-1]
        filters = groups * int(self.rng.integers(1, 9)) if filters is None else filters
        shape = (filters, *kernel, channels // groups)
        if not binary:
            if self.rng.random() < 0.3:
                kernel = {"kernel": self.signs(*shape)}
                return self.add("conv2d", value, tensors=kernel, groups=groups, **window)
            return self.real_conv(value, shape, groups=groups, **window)
        pad_value = int(self.rng.integers(-1, 2))
        tensors = {"kernel": self.signs(*shape)}
        return self.add(
            "bconv2d", value, tensors=tensors, groups=groups, pad_value=pad_value, **window
        )

    def real_conv(self, value: str, shape: tuple[int, ...], **window: Any) -> str:
        """Adds a convolution with a kernel of real numbers."""
        kernel = self.reals(*shape)
        if self.in_8_bits and self.rng.random() < 0.4:
            return self.add(
                "conv2d", value, tensors={"kernel": quantize(kernel)}, input_bits=8, **window
            )
        return self.add("conv2d", value, tensors={"kernel": kernel}, **window)

    def batch_norm(self, value: str) -> str:
        """Adds a batch norm with negative, zero and tiny scales among its channels."""
        channels = self.shape(value)[-1]
        gamma = self.reals(channels) * self.rng.choice([1, 1, 1, 0, 1e-30], channels)
        tensors = {
            "gamma": gamma.astype(np.float32),
            "beta": self.reals(channels),
            "mean": 3 * self.reals(channels),
            "variance": self.rng.uniform(0.1, 20, channels).astype(np.float32),
        }
        return self.add("batch_norm", value, tensors=tensors, epsilon=1e-3)

    def pool(self, op: str, value: str) -> str:
        window = self.window(value)
        del window["dilation"]
        pool = window.pop("kernel")
        limits = [(k - 1) // 2 for k in pool for _ in range(2)]
        window["padding"] = tuple(min(p, k) for p, k in zip(window["padding"], limits, strict=True))
        return self.add(op, value, pool=pool, **window)

    def affine(self, value: str) -> str:
        channels = self.shape(value)[-1]
        tensors = {"scale": self.reals(channels), "bias": self.reals(channels)}
        kept = self.rng.choice(["scale", "bias", "both"])
        return self.add(
            "affine", value, tensors={r: t for r, t in tensors.items() if kept in (r, "both")}
        )

    def binary_block(self, value: str) -> str:
        """Sign or levels, binary convolution, and what papers put after it, in any order."""
        levels = self.rng.random() < 0.2
        bits = self.add("quantize", value, bits=2) if levels else self.add("sign", value)
        if not levels and self.rng.random() < 0.2:
            bits = self.pool("bmax_pool2d", bits)
        channels = self.shape(bits)[-1]
        groups = int(self.rng.choice([g for g in (1, 2, channels) if channels % g == 0]))
        y = self.conv(bits, binary=True, groups=groups)
        for part in self.rng.permutation(["affine", "clip", "pool", "norm", "prelu"]):
            if self.rng.random() < 0.5:
                y = self.step(str(part), y)
        return self.residual(y, value)

    def residual(self, y: str, value: str) -> str:
        """Adds the two, the wider one's first channels, where their maps are of the same size."""
        if self.shape(y)[:2] != self.shape(value)[:2] or self.rng.random() < 0.3:
            return y
        channels = min(self.shape(y)[2], self.shape(value)[2])
        parts = [
            v if self.shape(v)[2] == channels
            else self.add("slice", v, axis=2, begin=0, size=channels)
            for v in (y, value)
        ]  # fmt: skip
        return self.add("add", *self.rng.permutation(parts).tolist())

    def step(self, part: str, value: str) -> str:
        steps: dict[str, Callable[[], str]] = {
            "affine": lambda: self.affine(value),
            "clip": lambda: self.add("clip", value, low=0.0, high=float("inf")),
            "pool": lambda: self.pool("max_pool2d", value),
            "norm": lambda: self.batch_norm(value),
            "prelu": lambda: self.add(
                "prelu", value, tensors={"alpha": self.reals(self.shape(value)[-1])}
            ),
        }
        return steps[part]()

    def real_block(self, value: str) -> str:
        """One of the operations on real numbers."""
        rng, shape = self.rng, self.shape(value)
        half = max(1, shape[-1] // 2)
        blocks: list[Callable[[], str]] = [
            lambda: self.affine(self.conv(value, binary=False)),
            lambda: self.conv(value, binary=False, groups=shape[-1], filters=shape[-1]),
            lambda: self.pool("avg_pool2d", value),
            lambda: self.add("pad", value, padding=(1, 0, 2, 1), value=float(rng.choice([0, 1]))),
            lambda: self.add("permute", value, axes=(1, 0, 2)),
            lambda: self.add("slice", value, axis=2, begin=shape[-1] - half, size=half),
            lambda: self.add("concat", value, self.batch_norm(value), axis=2),
            lambda: self.gate(value),
            lambda: self.add("subtract", value, self.affine(value)),
            lambda: self.add("dequantize", self.add("sign", value)),
            lambda: self.add("tanh", value),
            lambda: self.add(
                "multiply",
                value,
                self.add("reshape", self.add("global_max_pool2d", value), shape=(1, 1, shape[-1])),
            ),
        ]
        blocks += self.decoder_blocks(value) if self.decoders else []
        return blocks[int(rng.integers(len(blocks)))]()

    def decoder_blocks(self, value: str) -> list[Callable[[], str]]:
        """Returns transposed convolutions of signs and of numbers, and other sizes of a map."""
        pixels = tuple(self.rng.integers(2, 9, 2).tolist())
        return [
            lambda: self.affine(self.transposed("bconv2d_transpose", self.add("sign", value))),
            lambda: self.affine(self.transposed("conv2d_transpose", value)),
            lambda: self.add("nearest_resize2d", value, pixels=pixels),
            lambda: self.add("bilinear_resize2d", value, pixels=pixels),
            lambda: self.adaptive(value),
        ]

    def adaptive(self, value: str) -> str:
        """Adds a convolution of signs with a constant of its own for each class of the border."""
        bits, (*_, channels) = self.add("sign", value), self.shape(value)
        window = {**self.window(value), "groups": 1}
        size = window.pop("kernel")
        y = self.add("bconv2d", bits, tensors={"kernel": self.signs(4, *size, channels)},
                     pad_value=0, **window)  # fmt: skip
        scale = self.rng.uniform(0.5, 2, 4).astype(np.float32) * self.signs(4)
        y = self.add("affine", y, tensors={"scale": scale})
        zero, one = np.zeros(channels, np.float32), np.ones(channels, np.float32)
        ones = self.add("affine", value, tensors={"scale": zero, "bias": one})
        constant = self.add("conv2d", ones, tensors={"kernel": self.reals(4, *size, channels)},
                            **window)  # fmt: skip
        return self.add("add", y, constant)

    def transposed(self, op: str, value: str) -> str:
        """Adds a transposed convolution."""
        rng, shape = self.rng, self.shape(value)
        strides, crop = (tuple(rng.integers(low, low + 3, 2).tolist()) for low in (1, 0))
        pixels = tuple(rng.integers(2, 11, 2).tolist())
        kernel = int(rng.integers(1, 6)), *rng.integers(1, 5, 2).tolist(), shape[-1]
        tensors = {"kernel": (self.signs if op[0] == "b" else self.reals)(*kernel)}
        return self.add(op, value, tensors=tensors, strides=strides, dilation=(1, 2), crop=crop,
                        pixels=pixels)  # fmt: skip

    def gate(self, value: str) -> str:
        """Squeeze and excite: a scale per channel that depends on the whole map."""
        channels = self.shape(value)[-1]
        pooled = self.add("global_avg_pool2d", value)
        hidden = self.dense(pooled, channels, binary=False)
        scale = self.add("reshape", self.add("sigmoid", hidden), shape=(1, 1, channels))
        return self.add("multiply", value, scale)

    def dense(self, value: str, units: int, *, binary: bool) -> str:
        channels = self.shape(value)[-1]
        row = self.add("reshape", value, shape=(1, 1, channels))
        window = {"strides": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0), "groups": 1}
        if binary:
            tensors = {"kernel": self.signs(units, 1, 1, channels)}
            row = self.add("bconv2d", row, tensors=tensors, pad_value=0, **window)
        else:
            row = self.real_conv(row, (units, 1, 1, channels), **window)
        return self.add("reshape", row, shape=(units,))


def with_more_ends(rng: np.random.Generator, graph: Graph) -> Graph:
    """Takes some real values as inputs, and returns some more, inputs and repeated ones too.

    One of the inputs is read by nothing.
    """
    types = infer_types(graph)
    real = [node.name for node in graph.nodes if types[node.name].kind == "real"]
    fed = rng.choice(real, min(len(real), int(rng.integers(1, 5))), replace=False).tolist()
    shapes = {**graph.inputs, **{name: types[name].shape for name in fed}, "unused": (2, 3)}
    inputs = {name: shapes[name] for name in rng.permutation(list(shapes)).tolist()}
    outputs = rng.choice([*inputs, *real], int(rng.integers(1, 6))).tolist()
    nodes = tuple(node for node in graph.nodes if node.name not in fed)
    kept = tuple(name for name in graph.outputs if types[name].kind == "real")
    return drop_unused(distinct_outputs(Graph(inputs, nodes, (*kept, *outputs), graph.tensors)))


def random_graph(
    rng: np.random.Generator, *, classes: int = 5, blocks: int = 5, decoders: bool = False
) -> Graph:
    """Returns a classifier: binary and real blocks, then a binary and a real dense layer."""
    shape = tuple(int(n) for n in rng.integers([3, 3, 1], [10, 10, 7]))
    made = GraphBuilder(rng, shape)
    made.decoders = decoders
    x = "images"
    for _ in range(blocks):
        x = made.binary_block(x) if rng.random() < 0.6 else made.real_block(x)
    if rng.random() < 0.5:
        flat = made.add("reshape", x, shape=(int(np.prod(made.shape(x))),))
        x = made.dense(made.add("sign", flat), 7, binary=True)
        x = made.batch_norm(x)
    else:
        x = made.add("global_avg_pool2d", x)
    logits = made.affine(made.dense(x, classes, binary=False))
    return made.graph(made.add("softmax", logits), logits)
