"""Writes operations without a specialized kernel, as plain loops over any number of axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bnnzoo.graph.resizing import between
from bnnzoo.runtime.lowering import Call

if TYPE_CHECKING:
    from bnnzoo.runtime.writer import Writer

__all__ = ["STRIDED"]

Strides = list[int]


def _strides(writer: Writer, name: str) -> tuple[int, Strides]:
    """Returns the offset of a real value, and the strides of all its axes."""
    place, shape = writer.place(name), writer.types[name].shape
    strides = [1, place.pixel][: len(shape)]
    rows = place.row
    for size in reversed(shape[:-2]):
        strides.append(rows)
        rows *= size
    return place.offset, strides[::-1]


def _broadcast(writer: Writer, name: str, shape: Sequence[int]) -> tuple[int, Strides]:
    offset, strides = _strides(writer, name)
    sizes = writer.types[name].shape
    return offset, [0 if a != b else s for a, b, s in zip(sizes, shape, strides, strict=True)]


def _loop(
    writer: Writer, function: str, shape: Sequence[int], *operands: tuple[int, Strides]
) -> None:
    write = writer.program.strided_unary if len(operands) == 2 else writer.program.strided_binary
    write(function, list(shape), [o for o, _ in operands], [s for _, s in operands])


def _unary(writer: Writer, call: Call) -> None:
    name = call.node.name
    shape = writer.types[name].shape
    _loop(writer, call.op, shape, _strides(writer, name), _strides(writer, call.inputs[0]))


def _combine(writer: Writer, call: Call) -> None:
    """Combines operands that repeat channels, or rows of more than three axes."""
    name, (first, second, *rest) = call.node.name, call.inputs
    shape, result = writer.types[name].shape, _strides(writer, call.node.name)
    _loop(
        writer, call.op, shape, result,
        _broadcast(writer, first, shape), _broadcast(writer, second, shape),
    )  # fmt: skip
    for other in rest:
        _loop(writer, call.op, shape, result, result, _broadcast(writer, other, shape))


def _softmax(writer: Writer, call: Call) -> None:
    name = call.node.name
    writer.program.softmax(writer.view(call.inputs[0]), writer.view(name), writer.extent(name))


def _permute(writer: Writer, call: Call) -> None:
    offset, strides = _strides(writer, call.inputs[0])
    moved = offset, [strides[axis] for axis in call.node.attributes["axes"]]
    name = call.node.name
    _loop(writer, "copy", writer.types[name].shape, _strides(writer, name), moved)


def _slice(writer: Writer, call: Call) -> None:
    name, attributes = call.node.name, call.node.attributes
    offset, strides = _strides(writer, call.inputs[0])
    begun = offset + attributes["begin"] * strides[attributes["axis"]], strides
    _loop(writer, "copy", writer.types[name].shape, _strides(writer, name), begun)


def _concat(writer: Writer, call: Call) -> None:
    """Copies the inputs that could not be computed in place."""
    name, axis = call.node.name, call.node.attributes["axis"]
    offset, strides = _strides(writer, name)
    copied = writer.layout.copied.get(name, range(len(call.inputs)))
    joined = False
    for position, source in enumerate(call.inputs):
        shape = writer.types[source].shape
        if position in copied:
            _loop(writer, "copy", shape, (offset, strides), _strides(writer, source))
            if joined:
                writer.program.join_last()
            joined = True
        offset += shape[axis] * strides[axis]


def _pad(writer: Writer, call: Call) -> None:
    name, source = call.node.name, call.inputs[0]
    offset, strides = _strides(writer, name)
    shape = writer.types[name].shape
    writer.program.fill(call.node.attributes["value"], list(shape), offset, strides)
    top, _, left, _ = call.node.attributes["padding"]
    inside = offset + top * strides[0] + left * strides[1], strides
    _loop(writer, "copy", writer.types[source].shape, inside, _strides(writer, source))


def _resize(writer: Writer, call: Call) -> None:
    name, source = call.node.name, call.inputs[0]
    blends = [
        between(call.op, before, after)
        for before, after in zip(
            writer.types[source].shape[:2], call.node.attributes["pixels"], strict=True
        )
    ]
    writer.program.resize2d(
        writer.view(source), writer.extent(source), *blends[0], *blends[1],
        writer.view(name), writer.extent(name),
    )  # fmt: skip


def _dequantize(writer: Writer, call: Call) -> None:
    name, source = call.node.name, call.inputs[0]
    planes = writer.layout.places[source].storage.planes
    levels = writer.types[source].kind == "levels"
    writer.program.dequantize(
        writer.view(source), planes, levels, writer.view(name), writer.extent(name)
    )


def _reshape(writer: Writer, call: Call) -> None:
    """Copies a value that could not be a view."""
    name, source = call.node.name, call.inputs[0]
    maps = writer.view(source), writer.extent(source), writer.view(name), writer.extent(name)
    if writer.types[name].kind == "real":
        writer.program.reshape(*maps)
    else:
        writer.program.reshape_bits(*maps, writer.layout.places[source].storage.planes)


def _regroup(writer: Writer, call: Call) -> None:
    """Gives each group of a binary convolution its own words."""
    source, name = call.inputs[0], str(call.value)
    groups = call.node.attributes["groups"]
    channels = writer.types[source].shape[-1] // groups
    words = writer.types[name].shape[-1] // groups
    for group, _ in writer.groups(call.node):
        writer.program.slice_bits(
            writer.view(source), writer.extent(source), group * channels,
            writer.view(name, group * words), writer.extent(name, channels),
            writer.layout.places[source].storage.planes,
        )  # fmt: skip


STRIDED = {
    "add": _combine,
    "subtract": _combine,
    "multiply": _combine,
    "sigmoid": _unary,
    "tanh": _unary,
    "softmax": _softmax,
    "permute": _permute,
    "slice": _slice,
    "concat": _concat,
    "pad": _pad,
    "nearest_resize2d": _resize,
    "bilinear_resize2d": _resize,
    "dequantize": _dequantize,
    "reshape": _reshape,
    "regroup": _regroup,
}
