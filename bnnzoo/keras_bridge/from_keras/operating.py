"""Converts operations of keras.ops: `x / 255 - 0.5`, `x + y`, `x[..., :3]`.

Keras records them in functional models like layers. Numbers among their arguments are not values of
the graph: `emit.call.others` has them by position.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import keras
from keras.src.ops import nn, numpy

from bnnzoo.keras_bridge.from_keras.activating import activate, affine, clip, leaky
from bnnzoo.keras_bridge.from_keras.emitter import Emitter
from bnnzoo.keras_bridge.from_keras.shaping import concatenate, global_pool, pad

__all__ = ["OPERATING"]

# From a number, and whether it is the first operand, to scale and bias; None if impossible.
Affine = Callable[[float, bool], tuple[float | None, float | None] | None]


def _arithmetic(op: str | None, with_number: Affine) -> Callable[[Emitter], str]:
    def write(emit: Emitter) -> str:
        if len(emit.inputs) == 2:
            left, right = emit.inputs
            if op is None or len(emit.shape(left)) != len(emit.shape(right)):
                emit.refuse(
                    "it must be of a value and a number, or a sum, difference or product of values "
                    "with the same number of axes, got "
                    f"{emit.shape(left)} and {emit.shape(right)}",
                    "Reshape one of them, or use a layer.",
                )
            return emit.add(op, op, emit.inputs)
        ((place, number),) = emit.call.others.items()
        found = with_number(float(number), place == 0) if isinstance(number, Real) else None
        if found is None or not all(math.isfinite(part or 0) for part in found):
            emit.refuse(
                f"it must be of a value and a finite number, not divided by it, got {number!r:.40}",
                "Use keras.layers.Normalization for a number per channel.",
            )
        return affine(emit, emit.x, "affine", *found)

    return write


def _divided(number: float, in_front: bool) -> tuple[float, None] | None:
    return None if in_front or number == 0 else (1 / number, None)


def _activated(name: str) -> Callable[[Emitter], str]:
    return lambda emit: activate(emit, emit.x, getattr(keras.activations, name))


def _softmax(emit: Emitter) -> str:
    if emit.layer.axis not in (-1, len(emit.shape(emit.x))):
        emit.refuse(f"axis must be the last one, got {emit.layer.axis}", "Permute the axes first.")
    return activate(emit, emit.x, keras.activations.softmax)


def _clip(emit: Emitter) -> str:
    low, high = emit.layer.x_min, emit.layer.x_max
    if not (isinstance(low, Real) and isinstance(high, Real)):
        emit.refuse(f"limits must be numbers, got {low!r:.40} and {high!r:.40}", "Pass numbers.")
    return clip(emit, emit.x, float(low), float(high))


def _bounded(low: bool) -> Callable[[Emitter], str]:
    """Writes the maximum or the minimum of a value and a number."""

    def write(emit: Emitter) -> str:
        bounds = [x for x in emit.call.others.values() if isinstance(x, Real)]
        if len(bounds) != 1 or math.isnan(bounds[0]):
            emit.refuse("it must be of a value and a number", "Use keras.layers.ReLU, or a number.")
        bound = float(bounds[0])
        return clip(emit, emit.x, *((bound, math.inf) if low else (-math.inf, bound)))

    return write


def _over_pixels(op: str) -> Callable[[Emitter], str]:
    """Writes the mean or the maximum of a map or a sequence."""

    def write(emit: Emitter) -> str:
        rank, axis = len(emit.shape(emit.x)), emit.layer.axis
        if getattr(emit.layer, "initial", None) is not None:
            emit.refuse(
                f"initial must be None, got {emit.layer.initial!r:.40}", "Use keras.ops.maximum."
            )
        axes = {a % (rank + 1) for a in ([axis] if isinstance(axis, int) else axis or [])}
        if rank not in (2, 3) or axes != set(range(1, rank)):
            emit.refuse(
                f"axis must be all axes between batch and channels, got {axis}",
                "Use keras.layers.GlobalAveragePooling2D or GlobalMaxPooling2D.",
            )
        return global_pool(emit, op, emit.layer.keepdims)

    return write


def _reshape(emit: Emitter) -> str:
    """Writes another shape of each image."""
    shape = tuple(size or 0 for size in emit.call.shapes[0])
    if math.prod(shape) != math.prod(emit.shape(emit.x)):
        emit.refuse(f"it must keep the batch axis, got {shape}", "Begin newshape with -1.")
    return emit.reshape("reshaped", emit.x, shape)


def _transpose(emit: Emitter) -> str:
    """Writes another order of axes."""
    axes = tuple(emit.layer.axes or ())
    if not axes or axes[0] != 0:
        emit.refuse(f"axes must begin with 0, the batch axis, got {axes}", "Pass all axes.")
    rank = len(axes)
    return emit.add("permuted", "permute", emit.x, axes=tuple(axis % rank - 1 for axis in axes[1:]))


def _get_item(emit: Emitter) -> str:
    """Writes a part of each image: ranges or single indices of axes."""
    key = emit.call.others[1]
    parts = list(key) if isinstance(key, (tuple, list)) else [key]
    rank = len(emit.shape(emit.x)) + 1
    if Ellipsis in parts:
        place = parts.index(Ellipsis)
        parts[place : place + 1] = [slice(None)] * (rank + 1 - len(parts))
    value = emit.x
    for axis, part in enumerate(parts):
        size = emit.shape(value)[axis - 1] if axis else 0
        begin, end, step = _range(part, size)
        if step != 1 or (axis == 0 and part != slice(None)) or (axis and not begin < end):
            emit.refuse(
                "it must be ranges without steps of axes other than the batch, got "
                f"{part!r:.40} for axis {axis}",
                "Slice with x[:, begin:end].",
            )
        if end - begin < size:
            value = emit.add("slice", "slice", value, axis=axis - 1, begin=begin, size=end - begin)
    return emit.reshape("reshaped", value, tuple(size or 0 for size in emit.call.shapes[0]))


def _range(part: Any, size: int) -> tuple[int, int, int]:
    """Returns begin, end and step of an entry of a key; step 0 if it is neither slice nor index."""
    if isinstance(part, slice):
        return part.indices(size)
    if isinstance(part, int):
        return part % max(size, 1), part % max(size, 1) + 1, 1
    return 0, 0, 0


OPERATING: dict[Any, Callable[[Emitter], str]] = {
    numpy.Add: _arithmetic("add", lambda number, _: (None, number)),
    numpy.Subtract: _arithmetic(
        "subtract", lambda number, in_front: (-1, number) if in_front else (None, -number)
    ),
    numpy.Multiply: _arithmetic("multiply", lambda number, _: (number, None)),
    numpy.TrueDivide: _arithmetic(None, _divided),
    numpy.Divide: _arithmetic(None, _divided),
    numpy.Negative: lambda emit: affine(emit, emit.x, "negative", -1.0),
    numpy.Clip: _clip,
    numpy.Concatenate: concatenate,
    numpy.GetItem: _get_item,
    numpy.Maximum: _bounded(low=True),
    numpy.Minimum: _bounded(low=False),
    numpy.Max: _over_pixels("global_max_pool2d"),
    numpy.Mean: _over_pixels("global_avg_pool2d"),
    numpy.Pad: pad,
    numpy.Reshape: _reshape,
    numpy.Tanh: _activated("tanh"),
    numpy.Transpose: _transpose,
    nn.HardSigmoid: _activated("hard_sigmoid"),
    nn.HardSilu: _activated("hard_silu"),
    nn.LeakyRelu: lambda emit: leaky(emit, emit.x, emit.layer.negative_slope),
    nn.Relu: _activated("relu"),
    nn.Relu6: _activated("relu6"),
    nn.Sigmoid: _activated("sigmoid"),
    nn.Silu: _activated("silu"),
    nn.Softmax: _softmax,
}
