"""Calls for convolutions, including the sign of the sums if nothing else reads them.

A sign of direction -1 compares x > t, which is -x < -t: the filter's weights are negated, and the C
code only compares with less. This is exact in floating point as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.errors import ConversionError
from bnnzoo.formats.c_source.calls import Call, Lowering, planes, words
from bnnzoo.formats.c_source.computing import as_words, window
from bnnzoo.graph.ir import Node, numbers, signs
from bnnzoo.graph.packing import Int8Kernel
from bnnzoo.graph.thresholds import above_float32, above_integer, directed

__all__ = ["convolution"]

Array = NDArray[Any]


def convolution(node: Node, sign: Node | None, lowering: Lowering) -> Iterator[Call]:
    """Yields the call for a convolution.

    Args:
        node: `bconv2d` or `conv2d`.
        sign: The sign that is its only reader, if there is one.
        lowering: The graph.
    """
    if "correction" in node.tensors:
        raise ConversionError(
            f"Cannot write node '{node.name}' ({node.op}) as C: it has a 'correction' of its "
            "padding. Write the graph before `passes.zero_padding`."
        )
    c_out, *taps, channels = lowering.graph.tensors[node.tensors["kernel"]].shape
    groups = node.attributes["groups"]
    fields = {
        "at": window(node, lowering, (taps[0], taps[1])),
        "groups": groups,
        "channels": channels,
        "filters": c_out // groups,
    }
    threshold, direction = None, np.ones(c_out)
    if sign is not None:
        least, direction = directed(lowering.graph, sign, c_out)
        threshold = lowering.array(sign, "threshold", _compared(node, lowering, least))
    describe = _binary if node.op == "bconv2d" else _real
    function, struct, more, needs = describe(node, lowering, direction)
    yield Call(
        function,
        struct,
        {**fields, **more, "threshold": threshold},
        node.inputs,
        node.name if sign is None else sign.name,
        (node,) if sign is None else (node, sign),
        needs,
        scratch=_scratch(node, lowering, math.prod(taps) * channels),
    )


def _compared(node: Node, lowering: Lowering, least: Array) -> Array:
    """Returns the thresholds of the sums, as integers if the sums are integers."""
    if node.op == "conv2d":
        return above_float32(least)
    type_ = lowering.types[node.inputs[0]]
    return above_integer(least, 2**type_.bits - 1 if type_.kind == "levels" else 1)


def _scratch(node: Node, lowering: Lowering, products: int) -> int:
    """Returns the number of cells for the inputs in the window, and the mask of taps outside."""
    if node.op == "conv2d":
        return products
    return (max(1, planes(lowering.types[node.inputs[0]])) + 1) * words(products)


def _binary(
    node: Node, lowering: Lowering, direction: Array
) -> tuple[str, str, dict[str, Any], tuple[str, ...]]:
    type_ = lowering.types[node.inputs[0]]
    kernel = _directed(node, lowering, direction).astype(np.int8)
    fields = {
        "planes": planes(type_),
        "pad": 1 if type_.kind == "levels" else node.attributes["pad_value"],
        "kernel": lowering.array(node, "kernel", as_words(kernel)),
    }
    return "bconv2d", "binary_conv", fields, ()


def _real(
    node: Node, lowering: Lowering, direction: Array
) -> tuple[str, str, dict[str, Any], tuple[str, ...]]:
    kernel = lowering.graph.tensors[node.tensors["kernel"]]
    function, scale = "conv2d", None
    weights: Array
    if isinstance(kernel, Int8Kernel):
        product, weights = "product_int8", np.asarray(kernel.levels)
        scale = lowering.array(node, "scale", kernel.scale.astype(np.float64) * direction)
        if "input_bits" in node.attributes:
            function, product = "conv2d_int8", "product_levels"
    elif signs(kernel):
        weights = as_words(_directed(node, lowering, direction).astype(np.int8))
        product = "product_signs"
    else:
        product, weights = "product_real", _directed(node, lowering, direction)
    fields = {
        "product": product,
        "kernel": lowering.array(node, "kernel", weights),
        "scale": scale,
    }
    return function, "conv", fields, () if product == "product_levels" else (product,)


def _directed(node: Node, lowering: Lowering, direction: Array) -> Array:
    """Returns the kernel with the filters of direction -1 negated."""
    kernel = numbers(lowering.graph.tensors[node.tensors["kernel"]])
    return np.asarray(kernel * direction.reshape(-1, 1, 1, 1))
