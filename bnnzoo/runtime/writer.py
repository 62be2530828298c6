"""Writes the calls of a network into a program of the engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bnnzoo.graph.ir import Graph, Node, Type
from bnnzoo.graph.passes.fold_affine import parameter
from bnnzoo.runtime import parameters
from bnnzoo.runtime.eight_bits import EIGHT_BITS
from bnnzoo.runtime.extension import engine
from bnnzoo.runtime.layout import Layout
from bnnzoo.runtime.liveness import extent
from bnnzoo.runtime.lowering import BLOCK, TAPS, Call, map_shape
from bnnzoo.runtime.memory import Memory, View
from bnnzoo.runtime.strided import STRIDED
from bnnzoo.runtime.windows import native, pool_window, runs_of, taps_of

__all__ = ["Writer"]


class Writer:
    """A program under construction.

    Attributes:
        program: The program of the engine.
        owners: Name and operation of the node that each operation of the program belongs to.
    """

    def __init__(
        self, graph: Graph, types: Mapping[str, Type], layout: Layout, memory: Memory, isa: str
    ) -> None:
        self.graph = graph
        self.types = types
        self.layout = layout
        self.memory = memory
        self.owners: list[tuple[str, str]] = []
        self.program = engine().Program(isa, memory.size)
        for offset, storage in memory.filled:
            words = parameters.border_words(storage.groups)
            self.program.fill_bits(offset, memory.pixels(storage), words)
        for name in graph.inputs:
            self.program.add_input(self.view(name), self.extent(name))
        for name in graph.outputs:
            self.program.add_output(self.view(name), self.extent(name))

    def write(self, call: Call) -> None:
        """Writes one call, unless its value is a view."""
        copied = self.layout.copied.get(call.node.name)
        if call.value in self.layout.views and not copied:
            return
        if call.value is not None and not call.epilogue and call.value not in self.layout.places:
            return  # never read
        _HANDLERS[call.op](self, call)
        owner = call.node.name, call.node.op
        self.owners += [owner] * (len(self.program) - len(self.owners))

    # --- locations of values

    def place(self, name: str, first: int = 0) -> View:
        """Returns the location of a value, from one of its channels on."""
        return self.memory.view(self.layout.places[name], first)

    def view(self, name: str, first: int = 0) -> Any:
        """Returns the engine's view of a value, from one of its channels on."""
        return native(self.place(name, first))

    def extent(self, name: str, channels: int | None = None) -> Any:
        """Returns the engine's size of a value, or of some channels of it."""
        rows, columns, all_channels = map_shape(self.types[name].shape)
        return engine().Extent(rows, columns, channels or all_channels)

    def operand(self, name: str, shape: Sequence[int], first: int = 0) -> Any:
        """Returns a view of an operand that repeats rows and pixels to a result's shape."""
        place = self.place(name, first)
        rows, columns, _ = map_shape(self.types[name].shape)
        to_rows, to_columns, _ = map_shape(shape)
        row = place.row if rows == to_rows else 0
        pixel = place.pixel if columns == to_columns else 0
        return engine().View(place.offset, row, pixel)

    def groups(self, node: Node) -> Iterator[tuple[int, slice]]:
        """Yields each group of a convolution and its output channels.

        Operations written for different groups may run at the same time.
        """
        groups, channels = node.attributes["groups"], self.types[node.name].shape[-1]
        for group in range(groups):
            yield group, slice(group * channels // groups, (group + 1) * channels // groups)
            if group:
                self.program.join_last()

    # --- epilogues

    def inner_epilogue(self, call: Call) -> Any:
        """Returns the engine's epilogue of the convolution of a `pooled_conv2d`."""
        epilogue = engine().Epilogue()
        for part in call.inner:
            self._step(epilogue, part, (), slice(None), 0)
        return epilogue

    def epilogue(
        self, call: Call, rows: slice = slice(None), skip_first: bool = False, unit: float = 1.0
    ) -> Any:
        """Returns the engine's epilogue of a call, for some of the channels.

        With `skip_first`, the head has already computed the first node of the epilogue. The head's
        result is first multiplied by `unit`.
        """
        epilogue, shape, first = engine().Epilogue(), extent(call, self.types), rows.start or 0
        if unit != 1.0:
            epilogue.affine(np.full(shape[-1], unit, np.float32)[rows], None)
        if call.value in self.layout.places and not skip_first:
            epilogue.store(self.view(call.value, first))
        for part in call.epilogue:
            if not (skip_first and part is call.epilogue[0]):
                self._step(epilogue, part, shape, rows, first)
            if part.op not in TAPS and part.name in self.layout.places:
                epilogue.store(self.view(part.name, first))
        return epilogue

    def _step(
        self, epilogue: Any, part: Node, shape: Sequence[int], rows: slice, first: int
    ) -> None:
        def vector(values: Any) -> Any:
            return None if values is None else parameters.float32(values[rows])

        match part.op:
            case "affine" | "batch_norm":
                scale, bias = parameters.affine(self.graph, part)
                epilogue.affine(vector(scale), vector(bias))
            case "clip":
                epilogue.clip(part.attributes["low"], part.attributes["high"])
            case "prelu":
                epilogue.prelu(vector(parameter(self.graph, part, "alpha")))
            case "sign":
                if part.name in self.layout.places:
                    threshold, direction = parameters.thresholds(self.graph, part)
                    view = self.view(part.name, first)
                    epilogue.sign(view, vector(threshold), vector(direction))
            case "quantize":
                if part.name in self.layout.places:
                    epilogue.quantize(self.view(part.name, first), part.attributes["bits"])
            case _:
                for name in part.inputs[1:]:
                    epilogue.combine(part.op, self.operand(name, shape, first))


def _elementwise(writer: Writer, call: Call) -> None:
    shape = extent(call, writer.types)
    view = writer.operand(call.inputs[0], shape)
    writer.program.elementwise(view, engine().Extent(*map_shape(shape)), writer.epilogue(call))


def _bconv2d(writer: Writer, call: Call) -> None:
    node, source = call.node, call.inputs[0]
    kernel = writer.graph.tensors[node.tensors["kernel"]]
    words = -(-kernel.shape[3] // BLOCK)
    sums = _sums(writer, call)
    classes = [writer.graph.tensor(node, role) for role in ("row_class", "column_class")]
    if classes[0] is not None:
        classes = [np.ascontiguousarray(c, np.int32) for c in classes]
    for group, rows in writer.groups(node):
        view = writer.place(source, group * words * BLOCK)
        taps, view = taps_of(node, kernel.shape, view)
        word = writer.memory.pixel(writer.layout.places[source].storage, BLOCK)
        offsets = taps.reshape(-1, 1) + np.arange(words) * word
        writer.program.bconv2d(
            native(view), writer.layout.places[source].storage.planes, kernel.shape[3],
            np.ascontiguousarray(offsets.reshape(-1), np.int32),
            parameters.kernel_words(kernel, rows),
            parameters.float32(sums.scale[rows]), parameters.float32(sums.bias[..., rows]),
            *classes, writer.extent(node.name, rows.stop - rows.start),
            writer.epilogue(call, rows, sums.folded, sums.unit),
        )  # fmt: skip


@dataclass(frozen=True)
class _Sums:
    """Converts the counts of a binary convolution to its value, or to that of its affine.

    count is the number of products that are -1, so that their sum is K - 2 count; K includes the
    taps on the border. With levels, s_p = +1 or -1 is plane p, level = sum over p of
    2^p (s_p + 1) / 2, and with N = 2^planes - 1

        sum level w / N = (sum over p of 2^p (K - 2 count_p) + N sum w) / (2 N)
                        = (N (K + sum w) - 2 sum over p of 2^p count_p) / (2 N)

    Level 0 on the border is s_p = -1 in every plane, which contributes 0.

    Attributes:
        scale: Factor of a count, float64.
        bias: Added to the product: per channel, or (row classes, column classes, c).
        unit: Remaining factor, 1 / (2 N), so that integers stay exact until then.
        folded: Whether the first node of the epilogue is folded into the others.
    """

    scale: Any
    bias: Any
    unit: float
    folded: bool


def _sums(writer: Writer, call: Call) -> _Sums:
    node, graph = call.node, writer.graph
    kernel = graph.tensors[node.tensors["kernel"]]
    levels = writer.types[call.inputs[0]]
    scale, bias, unit = np.full(kernel.shape[0], -2.0), math.prod(kernel.shape[1:]), 1.0
    if levels.kind == "levels":
        greatest = 2**levels.bits - 1
        bias, unit = greatest * (bias + parameters.weight_sums(kernel)), 0.5 / greatest
    correction = graph.tensor(node, "correction")
    bias = bias + (0.0 if correction is None else np.asarray(correction, np.float64) / unit)
    bias = np.broadcast_to(bias, np.broadcast_shapes(np.shape(bias), scale.shape))
    first = call.epilogue[0] if call.epilogue else None
    needed = node.name in writer.layout.places
    if first is None or first.op not in ("affine", "batch_norm") or needed:
        return _Sums(scale, bias, unit, False)
    by, added = parameters.affine(graph, first)
    factor = unit if by is None else unit * by
    return _Sums(factor * scale, factor * bias + (0.0 if added is None else added), 1.0, True)


def _conv2d(writer: Writer, call: Call) -> None:
    node, source = call.node, call.inputs[0]
    kernel = parameters.real_kernel(writer.graph.tensors[node.tensors["kernel"]])
    c_out, _, _, c_in = kernel.shape
    if node.attributes["groups"] == c_out > 1 and c_in == 1:
        taps, view = taps_of(node, kernel.shape, writer.place(source))
        writer.program.depthwise_conv2d(
            native(view), np.ascontiguousarray(taps.reshape(-1), np.int64),
            np.ascontiguousarray(kernel.reshape(c_out, -1).T),
            writer.extent(node.name), writer.epilogue(call),
        )  # fmt: skip
        return
    for group, rows in writer.groups(node):
        place = writer.place(source, group * c_in)
        writer.program.conv2d(
            *runs_of(node, kernel.shape, place), np.ascontiguousarray(kernel[rows]),
            writer.extent(node.name, rows.stop - rows.start), writer.epilogue(call, rows),
        )  # fmt: skip


def _pooled_conv2d(writer: Writer, call: Call) -> None:
    node, pool = call.node, call.pool
    assert pool is not None
    kernel = parameters.real_kernel(writer.graph.tensors[node.tensors["kernel"]])
    writer.program.pooled_conv2d(
        *runs_of(node, kernel.shape, writer.place(call.inputs[0])), kernel,
        writer.extent(node.name), writer.inner_epilogue(call),
        pool_window(pool, writer.types[node.name].shape), pool.op == "max_pool2d",
        writer.extent(pool.name), writer.epilogue(call),
    )  # fmt: skip


def _pool(writer: Writer, call: Call) -> None:
    source = call.inputs[0]
    window = pool_window(call.node, writer.types[source].shape)
    extent = writer.extent(call.node.name)
    writer.program.pool2d(
        writer.view(source), window, "max" in call.op, extent, writer.epilogue(call)
    )


def _bmax_pool2d(writer: Writer, call: Call) -> None:
    """A bit of 1 is -1, so that a maximum is the AND of bits, and a minimum the OR."""
    source, name = call.inputs[0], call.node.name
    words = parameters.border_words((1, writer.types[name].shape[-1]))
    direction = parameter(writer.graph, call.node, "direction")
    if direction is not None:
        bits = np.packbits(direction >= 0, bitorder="little")
        words = np.frombuffer(bits.tobytes().ljust(8 * len(words), b"\0"), "<u8").astype(np.uint64)
    writer.program.bmax_pool2d(
        writer.view(source), pool_window(call.node, writer.types[source].shape), words,
        writer.extent(name), writer.view(name),
    )  # fmt: skip


Handler = Callable[[Writer, Call], None]
_HANDLERS: dict[str, Handler] = {
    "elementwise": _elementwise,
    "bconv2d": _bconv2d,
    "conv2d": _conv2d,
    "pooled_conv2d": _pooled_conv2d,
    "max_pool2d": _pool,
    "avg_pool2d": _pool,
    "global_max_pool2d": _pool,
    "global_avg_pool2d": _pool,
    "bmax_pool2d": _bmax_pool2d,
    **EIGHT_BITS,
    **STRIDED,
}
