"""Convolutions of 8-bit inputs, which are quantized first.

Levels have their own memory, which is a row of real numbers for the layout; only the engine knows
its contents. It includes the border that the convolution needs, of level 0.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bnnzoo.graph.ir import Type
from bnnzoo.graph.packing import Int8Kernel
from bnnzoo.runtime import parameters
from bnnzoo.runtime.extension import engine
from bnnzoo.runtime.lowering import OWN, Call
from bnnzoo.runtime.memory import View
from bnnzoo.runtime.windows import pool_window, runs_of

if TYPE_CHECKING:
    from bnnzoo.runtime.writer import Writer

__all__ = ["EIGHT_BITS", "with_levels"]


def with_levels(calls: Sequence[Call], types: dict[str, Type], level_bytes: int) -> list[Call]:
    """Returns the calls with a call that computes levels before each convolution of 8-bit inputs.

    Adds the types of the levels. Convolutions that need the same levels share them.
    """
    found: list[Call] = []
    for call in calls:
        if call.op not in ("conv2d", "pooled_conv2d") or "input_bits" not in call.node.attributes:
            found.append(call)
            continue
        (source,), padding = call.inputs, call.node.attributes["padding"]
        name = f"{source}{OWN}levels{padding}"
        if name not in types:
            types[name] = Type("real", (_floats(types[source], padding, level_bytes),))
            found.append(Call(call.node, "levels", (source,), name))
        op = call.op.replace("conv2d", "int8_conv2d")
        found.append(dataclasses.replace(call, op=op, inputs=(name,)))
    return found


def _padded(type_: Type, padding: Sequence[int]) -> tuple[int, int, int]:
    height, width, channels = type_.shape
    top, bottom, left, right = padding
    return height + top + bottom, width + left + right, channels


def _floats(type_: Type, padding: Sequence[int], level_bytes: int) -> int:
    """Returns the size of the memory of levels.

    It begins with the largest magnitudes of parts of the map, and ends with room for the last
    levels to be read four bytes at a time.
    """
    levels = math.prod(_padded(type_, padding))
    parts: int = engine().MAGNITUDE_PARTS
    return parts + -(-levels * level_bytes // 4) + 1


def _memory(writer: Writer, name: str) -> Any:
    return engine().Levels(writer.place(name).offset, writer.types[name].shape[0])


def _levels(writer: Writer, call: Call) -> None:
    source, name = call.inputs[0], str(call.value)
    writer.program.levels(
        writer.view(source), writer.extent(source), _memory(writer, name),
        *call.node.attributes["padding"],
    )  # fmt: skip


def _operands(writer: Writer, call: Call, group: int, rows: slice) -> tuple[Any, ...]:
    """Returns levels, taps and weights of a group."""
    node = call.node
    kernel = writer.graph.tensors[node.tensors["kernel"]]
    assert isinstance(kernel, Int8Kernel)
    source = writer.types[node.inputs[0]]
    _, columns, channels = _padded(source, node.attributes["padding"])
    top, _, left, _ = node.attributes["padding"]
    row = columns * channels
    first = top * row + left * channels + group * kernel.shape[3]
    view, offsets, run = runs_of(node, kernel.shape, View(first, row, channels))
    levels = np.ascontiguousarray(kernel.levels[rows])
    scale = parameters.float32(kernel.scale[rows])
    return _memory(writer, call.inputs[0]), view, offsets, run, levels, scale


def _int8_conv2d(writer: Writer, call: Call) -> None:
    node = call.node
    for group, rows in writer.groups(node):
        writer.program.int8_conv2d(
            *_operands(writer, call, group, rows),
            writer.extent(node.name, rows.stop - rows.start), writer.epilogue(call, rows),
        )  # fmt: skip


def _pooled_int8_conv2d(writer: Writer, call: Call) -> None:
    node, pool = call.node, call.pool
    assert pool is not None
    writer.program.pooled_int8_conv2d(
        *_operands(writer, call, 0, slice(None)), writer.extent(node.name),
        writer.inner_epilogue(call), pool_window(pool, writer.types[node.name].shape),
        pool.op == "max_pool2d", writer.extent(pool.name), writer.epilogue(call),
    )  # fmt: skip


EIGHT_BITS = {
    "levels": _levels,
    "int8_conv2d": _int8_conv2d,
    "pooled_int8_conv2d": _pooled_int8_conv2d,
}
