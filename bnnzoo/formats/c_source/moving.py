"""Calls for data movement, and for sums and products of values of different shapes.

All walk over an array with a step per axis, which is 0 along a repeated axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from bnnzoo.formats.c_source.calls import Call, Lower, Lowering, elementwise, planes
from bnnzoo.graph.ir import Node
from bnnzoo.graph.resizing import between

__all__ = ["MOVING"]

Ints = Sequence[int]


def _steps(shape: Ints) -> list[int]:
    """Returns the stride along each axis, in cells."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _walk(shape: Ints, x: Ints, y: Ints, z: Ints | None = None) -> dict[str, Any]:
    """Returns the fields of a walk, with as few axes as possible."""
    rows: list[tuple[int, ...]] = []
    for row in zip(shape, x, z or [0] * len(shape), y, strict=True):
        if row[0] == 1:
            continue
        if rows and all(a == row[0] * b for a, b in zip(rows[-1][1:], row[1:], strict=True)):
            row = (rows.pop()[0] * row[0], *row[1:])
        rows.append(row)
    size, step_x, step_z, step_y = zip(*rows or [(1, 0, 0, 0)], strict=True)
    return {
        "axes": len(size), "size": size, "step_x": step_x, "step_z": step_z, "step_y": step_y,
    }  # fmt: skip


def _copy(
    node: Node, x: str, shape: Ints, step_x: Ints, step_y: Ints, begin_x: int = 0, begin_y: int = 0
) -> Call:
    fields = _walk(shape, step_x, step_y)
    return Call("copy", "walk", fields, (x,), node.name, (node,), begin_x=begin_x, begin_y=begin_y)


def _concat(node: Node, lowering: Lowering) -> Iterator[Call]:
    axis, steps = node.attributes["axis"], _steps(lowering.shape(node.name))
    begin = 0
    for x in node.inputs:
        shape = lowering.shape(x)
        yield _copy(node, x, shape, _steps(shape), steps, begin_y=begin * steps[axis])
        begin += shape[axis]


def _slice(node: Node, lowering: Lowering) -> Iterator[Call]:
    (x,) = node.inputs
    shape, steps = lowering.shape(node.name), _steps(lowering.shape(x))
    begin = node.attributes["begin"] * steps[node.attributes["axis"]]
    yield _copy(node, x, shape, steps, _steps(shape), begin_x=begin)


def _permute(node: Node, lowering: Lowering) -> Iterator[Call]:
    (x,) = node.inputs
    shape, steps = lowering.shape(node.name), _steps(lowering.shape(x))
    yield _copy(node, x, shape, [steps[axis] for axis in node.attributes["axes"]], _steps(shape))


def _pad(node: Node, lowering: Lowering) -> Iterator[Call]:
    (x,) = node.inputs
    shape, steps = lowering.shape(x), _steps(lowering.shape(node.name))
    top, _, left, _ = node.attributes["padding"]
    fields = {
        "count": math.prod(lowering.shape(node.name)),
        "value": float(node.attributes["value"]),
    }
    yield Call("fill", "filling", fields, (), node.name, (node,))
    begin = top * steps[0] + left * steps[1]
    yield _copy(node, x, shape, _steps(shape), steps, begin_y=begin)


def _resize(node: Node, lowering: Lowering) -> Iterator[Call]:
    (x,) = node.inputs
    height, width, channels = lowering.shape(x)
    fields: dict[str, Any] = {
        "result": node.attributes["pixels"],
        "width": width,
        "channels": channels,
    }
    for axis, before, names in (
        (0, height, ("rows", "next_rows", "down")),
        (1, width, ("columns", "next_columns", "right")),
    ):
        places = between(node.op, before, node.attributes["pixels"][axis])
        for name, values in zip(names, places, strict=True):
            fields[name] = lowering.array(node, name, values)
    yield Call("resize2d", "resizing", fields, (x,), node.name, (node,))


def _reshape(node: Node, lowering: Lowering) -> Iterator[Call]:
    """Makes a view if the order of numbers, or of words of bits, does not change."""
    (x,) = node.inputs
    type_, before, after = lowering.types[x], lowering.shape(x)[-1], lowering.shape(node.name)[-1]
    whole = before % 32 == after % 32 == 0 and planes(type_) <= 1
    if type_.kind == "real" or before == after or whole:
        lowering.views[node.name] = x
        return
    yield elementwise(
        node, lowering, "reshape_bits", "reshaping",
        channels_x=before, channels_y=after, planes=max(1, planes(type_)),
    )  # fmt: skip


def _combine(node: Node, lowering: Lowering, function: str) -> Iterator[Call]:
    """Combines the first two inputs, then the result with each further one."""
    shape = lowering.shape(node.name)
    first, *others = node.inputs
    over = tuple(name for name in node.inputs[:2] if lowering.shape(name) == shape)
    for other in others:
        x, z = ([0 if n == 1 else step for n, step in zip(s, _steps(s), strict=True)]
                for s in (lowering.shape(first), lowering.shape(other)))  # fmt: skip
        fields = {"over": _walk(shape, x, _steps(shape), z), "function": function}
        yield Call(
            "combine", "combination", fields, (first, other), node.name, (node,), (function,), over
        )
        first, over = node.name, ()


MOVING: dict[str, Lower] = {
    "concat": _concat,
    "slice": _slice,
    "permute": _permute,
    "pad": _pad,
    "nearest_resize2d": _resize,
    "bilinear_resize2d": _resize,
    "reshape": _reshape,
    "add": partial(_combine, function="sum"),
    "subtract": partial(_combine, function="difference"),
    "multiply": partial(_combine, function="product"),
}
