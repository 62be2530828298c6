"""One graph per operation and way to use it, over numbers that float32 rounds nowhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bnnzoo.graph.ir import Graph
from bnnzoo.graph.packing import Int8Kernel
from tests.graph.graphs import GraphBuilder

INF = float("inf")
Case = Callable[["CaseBuilder"], str]
CASES: dict[str, Case] = {}
# Whose results float32 rounds: their test has a tolerance.
ROUNDED: dict[str, Case] = {}


class CaseBuilder(GraphBuilder):
    """Parameters are small integers."""

    @property
    def channels(self) -> int:
        return self.input_shape[-1]

    def reals(self, *shape: int) -> np.ndarray:
        return self.rng.integers(-3, 4, shape).astype(np.float32)

    def sign(self) -> str:
        return self.add("sign", "images")

    def window(self, kernel: tuple[int, int], **changed: Any) -> dict[str, Any]:
        """Returns what keeps the size of a map with stride 1."""
        rate = changed.get("dilation", (1, 1))
        around = [(k - 1) * r for k, r in zip(kernel, rate, strict=True)]
        pads = (around[0] // 2, around[0] - around[0] // 2, around[1] // 2)
        window = {"strides": (1, 1), "dilation": (1, 1), "groups": 1}
        return {**window, "padding": (*pads, around[1] - pads[2]), **changed}

    def bconv(self, bits: str, kernel=(3, 3), filters=5, pad_value=1, groups=1, **changed: Any):
        shape = (filters * groups, *kernel, self.channels // groups)
        window = self.window(kernel, groups=groups, **changed)
        tensors = {"kernel": self.signs(*shape)}
        return self.add("bconv2d", bits, tensors=tensors, pad_value=pad_value, **window)

    def conv_real(self, kernel=(3, 3), filters=5, groups=1, binary=False, **changed: Any) -> str:
        shape = (filters * groups, *kernel, self.channels // groups)
        tensors = {"kernel": self.signs(*shape) if binary else self.reals(*shape)}
        window = self.window(kernel, groups=groups, **changed)
        return self.add("conv2d", "images", tensors=tensors, **window)

    def conv_int8(self, kernel=(3, 3), filters=5, groups=1, **changed: Any) -> str:
        shape = (filters * groups, *kernel, self.channels // groups)
        levels = self.rng.integers(-127, 128, shape).astype(np.int8)
        scale = self.rng.choice([0.25, -0.5, 0.0, 1.0], filters * groups)
        window = self.window(kernel, groups=groups, **changed)
        tensors = {"kernel": Int8Kernel(levels, scale)}
        return self.add("conv2d", "images", tensors=tensors, input_bits=8, **window)

    def transposed(self, binary=True, kernel=(3, 3), filters=5, source="images", **changed: Any):
        shape = (filters, *kernel, self.channels)
        height, width, _ = self.input_shape
        settings = {"strides": (2, 2), "dilation": (1, 1), "crop": (1, 0)}
        settings |= {"pixels": (2 * height + 1, 2 * width), **changed}
        tensors = {"kernel": self.signs(*shape) if binary else self.reals(*shape)}
        op = "bconv2d_transpose" if source != "images" else "conv2d_transpose"
        return self.add(op, source, tensors=tensors, **settings)

    def pooled(self, op: str, value: str, **tensors: np.ndarray) -> str:
        """Pools with windows that fit into every map, on the border and inside."""
        height, width = (min(3, n) for n in self.input_shape[:2])
        window = {"pool": (height, width), "strides": (2, 1)}
        padding = (height // 2, height // 2, 0, width - 1)
        return self.add(op, value, tensors=tensors, padding=padding, **window)

    def vector(self) -> np.ndarray:
        return self.reals(self.channels)

    def small(self) -> str:
        """Returns numbers around 0 to 1, never at the half between two levels."""
        scale = np.full(self.channels, 0.11, np.float32)
        return self.add("affine", "images", tensors={"scale": scale})

    def part(self, axis: int) -> str:
        """Returns a slice of one entry along an axis, which broadcasts."""
        return self.add("slice", "images", axis=axis, begin=0, size=1)


def case(name: str, table: dict[str, Case] = CASES) -> Callable[[Case], Case]:
    def register(build: Case) -> Case:
        table[name] = build
        return build

    return register


def groups_of(channels: int) -> int:
    return next(g for g in (2, 3, 5, 1) if channels % g == 0)


CASES |= {
    "sign": lambda b: b.sign(),
    "dequantize": lambda b: b.add("dequantize", b.sign()),
    "quantize-1": lambda b: b.add("quantize", "images", bits=1),
    "bconv2d-3x3": lambda b: b.bconv(b.sign()),
    "bconv2d-1x1": lambda b: b.bconv(b.sign(), (1, 1), filters=64),
    "bconv2d-5x3": lambda b: b.bconv(b.sign(), (5, 3), filters=65),
    "bconv2d-filters-1": lambda b: b.bconv(b.sign(), filters=1),
    "bconv2d-filters-130": lambda b: b.bconv(b.sign(), filters=130),
    "bconv2d-pad-0": lambda b: b.bconv(b.sign(), pad_value=0),
    "bconv2d-pad-minus-1": lambda b: b.bconv(b.sign(), pad_value=-1),
    "bconv2d-strides": lambda b: b.bconv(b.sign(), strides=(2, 3), pad_value=0),
    "bconv2d-dilation": lambda b: b.bconv(b.sign(), dilation=(3, 2), pad_value=0),
    "bconv2d-one-side": lambda b: b.bconv(b.sign(), padding=(0, 2, 2, 0), pad_value=0),
    "bconv2d-wide-border": lambda b: b.bconv(b.sign(), padding=(5, 4, 3, 6), pad_value=0),
    "bconv2d-groups": lambda b: b.bconv(b.sign(), groups=groups_of(b.channels), pad_value=0),
    "bconv2d-groups-minus-1": lambda b: b.bconv(
        b.sign(), groups=groups_of(b.channels), pad_value=-1
    ),
    "bconv2d-depthwise": lambda b: b.bconv(b.sign(), groups=b.channels, filters=1, pad_value=0),
    "bconv2d-levels-1": lambda b: b.bconv(b.add("quantize", "images", bits=1)),
    "conv2d-3x3": lambda b: b.conv_real(),
    "conv2d-1x1": lambda b: b.conv_real((1, 1), filters=66),
    "conv2d-7x5": lambda b: b.conv_real((7, 5), filters=33, strides=(2, 2)),
    "conv2d-binary-kernel": lambda b: b.conv_real(binary=True, filters=130),
    "conv2d-dilation": lambda b: b.conv_real(dilation=(2, 3)),
    "conv2d-groups": lambda b: b.conv_real(groups=groups_of(b.channels), filters=3),
    "conv2d-depthwise": lambda b: b.conv_real(groups=b.channels, filters=1),
    "conv2d-depthwise-twice": lambda b: b.conv_real(groups=b.channels, filters=2, strides=(1, 2)),
    "conv2d-depthwise-dilation": lambda b: b.conv_real(
        groups=b.channels, filters=1, dilation=(2, 1)
    ),
    "bconv2d_transpose": lambda b: b.transposed(source=b.sign()),
    "bconv2d_transpose-filters-65": lambda b: b.transposed(source=b.sign(), filters=65),
    "bconv2d_transpose-4x2": lambda b: b.transposed(source=b.sign(), kernel=(4, 2), crop=(1, 1)),
    "bconv2d_transpose-strides": lambda b: b.transposed(
        source=b.sign(), kernel=(2, 5), strides=(3, 4), pixels=(11, 23), crop=(2, 3)
    ),
    "bconv2d_transpose-dilation": lambda b: b.transposed(
        source=b.sign(), strides=(1, 2), dilation=(2, 3), pixels=(9, 20), crop=(0, 4)
    ),
    "bconv2d_transpose-affine": lambda b: b.affine(b.transposed(source=b.sign())),
    "conv2d_transpose": lambda b: b.transposed(binary=False, filters=17),
    "conv2d_transpose-binary-kernel": lambda b: b.transposed(kernel=(2, 2), crop=(0, 0)),
    "nearest_resize2d": lambda b: b.add("nearest_resize2d", "images", pixels=(14, 5)),
    "bilinear_resize2d-twice": lambda b: b.add(
        "bilinear_resize2d", "images", pixels=tuple(2 * n for n in b.input_shape[:2])
    ),
    "affine": lambda b: b.add(
        "affine", "images", tensors={"scale": b.vector(), "bias": b.vector()}
    ),
    "affine-scale": lambda b: b.add("affine", "images", tensors={"scale": b.vector()}),
    "affine-bias": lambda b: b.add("affine", "images", tensors={"bias": b.vector()}),
    "affine-nothing": lambda b: b.add("affine", "images"),
    "clip": lambda b: b.add("clip", "images", low=-1.0, high=1.5),
    "clip-relu": lambda b: b.add("clip", "images", low=0.0, high=INF),
    "prelu": lambda b: b.add("prelu", "images", tensors={"alpha": b.vector()}),
    "add": lambda b: b.add("add", "images", b.add("clip", "images", low=0.0, high=1.0)),
    "add-itself": lambda b: b.add("add", "images", "images", "images"),
    "add-row": lambda b: b.add("add", "images", b.part(0)),
    "add-column": lambda b: b.add("add", b.part(1), "images"),
    "add-channel": lambda b: b.add("add", b.part(2), "images"),
    "add-outer": lambda b: b.add("add", b.part(0), b.part(1)),
    "subtract": lambda b: b.add("subtract", "images", b.add("clip", "images", low=0.0, high=1.0)),
    "subtract-from-row": lambda b: b.add("subtract", b.part(0), "images"),
    "subtract-from-channel": lambda b: b.add("subtract", b.part(2), "images"),
    "multiply": lambda b: b.add("multiply", "images", "images", b.part(0)),
    "multiply-channel": lambda b: b.add("multiply", "images", b.part(2), b.part(1)),
    "max_pool2d": lambda b: b.pooled("max_pool2d", "images"),
    "bmax_pool2d": lambda b: b.pooled("bmax_pool2d", b.sign()),
    "bmax_pool2d-direction": lambda b: b.pooled(
        "bmax_pool2d", b.sign(), direction=b.signs(b.channels)
    ),
    "global_max_pool2d": lambda b: b.add("global_max_pool2d", "images"),
    "concat-channels": lambda b: b.add("concat", "images", b.affine("images"), "images", axis=2),
    "concat-rows": lambda b: b.add("concat", "images", b.affine("images"), axis=0),
    "concat-columns": lambda b: b.add("concat", "images", b.affine("images"), axis=1),
    "concat-one": lambda b: b.add("concat", "images", axis=2),
    "slice-channels": lambda b: b.add(
        "slice", "images", axis=2, begin=b.channels // 3, size=b.channels - b.channels // 3
    ),
    "slice-rows": lambda b: b.add(
        "slice", "images", axis=0, begin=b.input_shape[0] // 2, size=(b.input_shape[0] + 1) // 2
    ),
    "pad": lambda b: b.add("pad", "images", padding=(1, 2, 0, 3), value=-2.5),
    "reshape": lambda b: b.add("reshape", "images", shape=b.input_shape[::-1]),
    "reshape-flat": lambda b: b.add("reshape", "images", shape=(int(np.prod(b.input_shape)),)),
    "reshape-bits": lambda b: b.add("reshape", b.sign(), shape=b.input_shape[::-1]),
    "permute": lambda b: b.add("permute", "images", axes=(2, 0, 1)),
}


@case("sign-threshold")
def _threshold(b: CaseBuilder) -> str:
    threshold = b.rng.choice([-INF, -1.0, 0.0, 0.5, 1.0, INF], b.channels)
    tensors = {"threshold": threshold, "direction": b.signs(b.channels)}
    return b.add("sign", "images", tensors=tensors)


@case("reshape-of-bordered")
def _bordered(b: CaseBuilder) -> str:
    flat = b.add("reshape", "images", shape=(b.input_shape[1], b.input_shape[0], b.channels))
    return b.add("concat", flat, b.add("permute", b.conv_real(filters=b.channels), axes=(1, 0, 2)),
                 axis=2)  # fmt: skip


@case("two-borders")
def _two_borders(b: CaseBuilder) -> str:
    bits = b.sign()
    convs = [
        b.bconv(bits, pad_value=v, kernel=k) for v, k in ((1, (3, 3)), (-1, (5, 3)), (0, (3, 5)))
    ]
    return b.add("add", *convs)


@case("four-axes")
def _four_axes(b: CaseBuilder) -> str:
    height, width, channels = b.input_shape
    value = b.add("reshape", "images", shape=(height, width, channels, 1))
    swapped = b.add("permute", value, axes=(3, 1, 0, 2))
    first = b.add("slice", swapped, axis=2, begin=0, size=1)
    return b.add("subtract", swapped, first)


@case("one-axis")
def _one_axis(b: CaseBuilder) -> str:
    flat = b.add("reshape", "images", shape=(int(np.prod(b.input_shape)),))
    return b.add("concat", flat, b.add("add", flat, flat), axis=0)


ROUNDED |= {
    **{f"quantize-{k}": lambda b, k=k: b.add("quantize", b.small(), bits=k) for k in (2, 3, 8)},
    "dequantize-levels": lambda b: b.add("dequantize", b.add("quantize", b.small(), bits=3)),
    "bconv2d-levels": lambda b: b.bconv(b.add("quantize", b.small(), bits=2), pad_value=0),
    "bconv2d-levels-groups": lambda b: b.bconv(
        b.add("quantize", b.small(), bits=3), groups=groups_of(b.channels)
    ),
    "batch_norm": lambda b: b.add(
        "batch_norm", "images", epsilon=1e-3,
        tensors={"mean": b.vector(), "variance": b.vector() ** 2, "gamma": b.vector()},
    ),
    "batch_norm-beta": lambda b: b.add(
        "batch_norm", "images", epsilon=1e-3,
        tensors={"mean": b.vector(), "variance": b.vector() ** 2, "beta": b.vector()},
    ),
    "conv2d-int8": lambda b: b.conv_int8(),
    "conv2d-int8-1x1": lambda b: b.conv_int8((1, 1), filters=66),
    "conv2d-int8-7x5": lambda b: b.conv_int8((7, 5), filters=33, strides=(2, 2)),
    "conv2d-int8-dilation": lambda b: b.conv_int8(dilation=(2, 3), filters=17),
    "conv2d-int8-one-side": lambda b: b.conv_int8(padding=(0, 2, 2, 0)),
    "conv2d-int8-groups": lambda b: b.conv_int8(groups=groups_of(b.channels), filters=3),
    "conv2d-int8-depthwise": lambda b: b.conv_int8(groups=b.channels, filters=1),
    "bconv2d_transpose-levels": lambda b: b.transposed(
        source=b.add("quantize", b.small(), bits=2)
    ),
    "bilinear_resize2d": lambda b: b.add("bilinear_resize2d", "images", pixels=(5, 11)),
    "sigmoid": lambda b: b.add("sigmoid", "images"),
    "tanh": lambda b: b.add("tanh", "images"),
    "softmax": lambda b: b.add("softmax", "images"),
    "avg_pool2d": lambda b: b.pooled("avg_pool2d", "images"),
    "global_avg_pool2d": lambda b: b.add("global_avg_pool2d", "images"),
}  # fmt: skip


def build(name: str, shape: tuple[int, ...]) -> Graph:
    """Returns the graph of a case for an input shape."""
    builder = CaseBuilder(np.random.default_rng(len(name)), shape)
    return builder.graph({**CASES, **ROUNDED}[name](builder))
