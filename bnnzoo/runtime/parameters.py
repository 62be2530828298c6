"""Converts parameters to the engine's format."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.graph.ir import Graph, Node, Tensor, numbers, sum_inputs
from bnnzoo.graph.packing import PackedSigns, pack
from bnnzoo.graph.passes.fold_affine import parameter
from bnnzoo.graph.passes.fold_batch_norm import scale_and_bias
from bnnzoo.graph.thresholds import above_float32, directed
from bnnzoo.runtime.lowering import BLOCK

__all__ = [
    "affine",
    "border_words",
    "float32",
    "kernel_words",
    "real_kernel",
    "thresholds",
    "weight_sums",
]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

# The smallest normal float32; the engine flushes smaller numbers to 0.
_TINY = float(np.finfo(np.float32).tiny)


def float32(values: Any) -> Floats:
    """Returns the nearest float32 numbers, infinities beyond their range."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, np.float32)


def affine(graph: Graph, node: Node) -> tuple[Doubles | None, Doubles | None]:
    """Returns the scale and bias of an `affine` or a `batch_norm`."""
    if node.op == "batch_norm":
        return scale_and_bias(graph, node)
    return parameter(graph, node, "scale"), parameter(graph, node, "bias")


def thresholds(graph: Graph, node: Node) -> tuple[Floats | None, Floats | None]:
    """Returns threshold * direction and direction of a `sign`; None if it compares with 0.

    The engine flushes subnormal numbers to 0, so that a subnormal threshold is rounded up to the
    next number that is not subnormal.
    """
    if "threshold" not in node.tensors:
        return None, None
    threshold, direction = directed(graph, node, 0)
    threshold = np.where((threshold > 0) & (threshold < _TINY), _TINY, threshold)
    threshold = np.where((threshold < 0) & (threshold > -_TINY), 0.0, threshold)
    return above_float32(threshold), None if (direction > 0).all() else float32(direction)


def kernel_words(kernel: Tensor, rows: slice) -> NDArray[np.uint64]:
    """Returns some output channels of a binary kernel as words of 64 input channels, tap by tap.

    Returns:
        `(c_out, taps * ceil(c_in / 64))`, unused bits 0.
    """
    packed = kernel if isinstance(kernel, PackedSigns) else pack(numbers(kernel))
    bits, c_in = packed.bits[rows], packed.shape[3]
    if c_in % BLOCK:
        taps = packed.shape[1] * packed.shape[2]
        unpacked = np.unpackbits(bits, axis=-1, count=packed.K, bitorder="little")
        tap_bits = unpacked.reshape(len(bits), taps, c_in)
        padded = np.zeros((len(bits), taps, -(-c_in // BLOCK) * BLOCK // 8), np.uint8)
        padded[..., : -(-c_in // 8)] = np.packbits(tap_bits, axis=-1, bitorder="little")
        bits = padded.reshape(len(bits), -1)
    return np.ascontiguousarray(bits).view("<u8").astype(np.uint64, copy=False)


def weight_sums(kernel: Tensor) -> Doubles:
    """Returns the sum of the -1 and +1 of every output channel."""
    sums: Doubles = sum_inputs(kernel).sum(axis=(1, 2), dtype=np.float64)
    return sums


def real_kernel(kernel: Tensor) -> Floats:
    """Returns a kernel as float32; signs as -1 and +1."""
    return float32(numbers(kernel))


def border_words(groups: tuple[int, int]) -> NDArray[np.uint64]:
    """Returns a pixel whose bits are all -1; each group of channels begins with a new word."""
    count, channels = groups
    words = np.full((count, -(-channels // BLOCK)), ~np.uint64(0))
    if channels % BLOCK:
        words[:, -1] = np.uint64((1 << channels % BLOCK) - 1)
    return words.reshape(-1)
