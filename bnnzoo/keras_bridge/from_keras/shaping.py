"""Converts layers without weights: pooling, merging, reshaping."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from keras import layers

from bnnzoo import nn
from bnnzoo.architectures.adabin import PadChannels
from bnnzoo.architectures.groupnet import WeightedSum
from bnnzoo.architectures.meliusnet import AddToLastChannels, ShuffleChannels, SplitChannels
from bnnzoo.graph.windows import padding_of
from bnnzoo.keras_bridge.from_keras.activating import affine
from bnnzoo.keras_bridge.from_keras.convolving import channels_last
from bnnzoo.keras_bridge.from_keras.emitter import Emitter, numbers

__all__ = ["SHAPING", "concatenate", "global_pool", "pad"]

Result = str | list[str]


def _pool(op: str) -> Callable[[Emitter], str]:
    def write(emit: Emitter) -> str:
        channels_last(emit)
        bits = op == "max_pool2d" and emit.type(emit.x).kind == "bits"
        return _window_pool(emit, "bmax_pool2d" if bits else op)

    return write


def _window_pool(emit: Emitter, op: str) -> str:
    layer, shape = emit.layer, emit.shape(emit.x)
    flat = len(shape) == 2
    pool = (1, *layer.pool_size) if flat else tuple(layer.pool_size)
    strides = (1, *layer.strides) if flat else tuple(layer.strides)
    x = emit.reshape("image", emit.x, (1, *shape) if flat else shape)
    if isinstance(layer.padding, str):
        padding = padding_of(layer.padding, emit.shape(x)[:2], pool, strides)
    else:
        (top, bottom), (left, right) = layer.padding
        padding = top, bottom, left, right
    y = emit.add("pool", op, x, pool=pool, strides=strides, padding=padding)
    return emit.reshape("sequence", y, emit.shape(y)[1:]) if flat else y


def _global_pool(op: str) -> Callable[[Emitter], str]:
    def write(emit: Emitter) -> str:
        channels_last(emit)
        return global_pool(emit, op, emit.layer.keepdims)

    return write


def global_pool(emit: Emitter, op: str, keepdims: bool) -> str:
    """Writes one number per channel of an image or a sequence."""
    shape = emit.shape(emit.x)
    x = emit.reshape("image", emit.x, (1, *shape) if len(shape) == 2 else shape)
    y = emit.add("pool", op, x)
    kept = (*(1 for _ in shape[:-1]), shape[-1])
    return emit.reshape("kept", y, kept) if keepdims else y


def _aligned(emit: Emitter) -> list[str]:
    """Returns the inputs with leading axes of size 1, so that all have the same number of axes."""
    rank = max(len(emit.shape(value)) for value in emit.inputs)
    return [
        emit.reshape("aligned", value, (1,) * (rank - len(emit.shape(value))) + emit.shape(value))
        for value in emit.inputs
    ]


def _merge(op: str) -> Callable[[Emitter], str]:
    def write(emit: Emitter) -> str:
        values = _aligned(emit)
        return emit.add(op, op, values) if len(values) > 1 else values[0]

    return write


def average(emit: Emitter) -> str:
    """Writes the mean of several values."""
    values = _aligned(emit)
    if len(values) == 1:
        return values[0]
    return affine(emit, emit.add("sum", "add", values), "mean", 1 / len(values))


def concatenate(emit: Emitter) -> str:
    """Writes a concatenation along any axis except the batch."""
    axis, rank = emit.layer.axis, len(emit.shape(emit.x)) + 1
    axis = axis % rank
    if axis == 0:
        emit.refuse("axis must not be the batch axis, got 0", "Concatenate channels: axis=-1.")
    return emit.add("concat", "concat", emit.inputs, axis=axis - 1)


def flatten(emit: Emitter) -> str:
    """Writes all elements as one axis."""
    channels_last(emit)
    return emit.reshape("flat", emit.x, (math.prod(emit.shape(emit.x)),))


def reshape(emit: Emitter) -> str:
    """Writes the same elements in another shape."""
    return emit.reshape("reshaped", emit.x, _static(emit))


def _static(emit: Emitter) -> tuple[int, ...]:
    return tuple(int(size or 0) for size in emit.call.shapes[0])


def permute(emit: Emitter) -> str:
    """Writes another order of axes."""
    axes = tuple(int(axis) - 1 for axis in emit.layer.dims)
    return emit.add("permuted", "permute", emit.x, axes=axes)


def zero_padding(emit: Emitter) -> str:
    """Writes a border of zeros around an image or a sequence."""
    channels_last(emit)
    padding = emit.layer.padding
    return _bordered(emit, padding if len(emit.shape(emit.x)) == 3 else [padding], 0.0)


def _bordered(emit: Emitter, sides: Sequence[Sequence[int]], value: float) -> str:
    """Writes a border around an image or a sequence."""
    shape = emit.shape(emit.x)
    x = emit.reshape("image", emit.x, (1, *shape) if len(shape) == 2 else shape)
    padding = tuple(int(side) for axis in [(0, 0), *sides][-2:] for side in axis)
    y = emit.add("pad", "pad", x, padding=padding, value=value)
    return emit.reshape("sequence", y, emit.shape(y)[1:]) if len(shape) == 2 else y


def cropping(emit: Emitter) -> str:
    """Writes an image or a sequence without its first and last rows and columns."""
    channels_last(emit)
    value, sides = emit.x, emit.layer.cropping
    for axis, (begin, end) in enumerate(sides if len(emit.shape(value)) == 3 else [sides]):
        size = emit.shape(value)[axis] - begin - end
        value = emit.add("cropped", "slice", value, axis=axis, begin=int(begin), size=int(size))
    return value


def up_sampling(emit: Emitter) -> str:
    """Writes an image with repeated or interpolated pixels."""
    return _resized(emit, getattr(emit.layer, "interpolation", "nearest"))


def resizing(emit: Emitter) -> str:
    """Writes an image in another size."""
    for setting in ("antialias", "crop_to_aspect_ratio", "pad_to_aspect_ratio"):
        if getattr(emit.layer, setting, False):
            emit.refuse(f"{setting} must be False, got True", "Resize images before the network.")
    return _resized(emit, emit.layer.interpolation)


def _resized(emit: Emitter, interpolation: str) -> str:
    channels_last(emit)
    if interpolation not in ("nearest", "bilinear"):
        emit.refuse(
            f"interpolation must be 'nearest' or 'bilinear', got {interpolation!r}",
            "Choose one of them.",
        )
    shape, (*size, _) = emit.shape(emit.x), _static(emit)
    x = emit.reshape("image", emit.x, (1, *shape) if len(shape) == 2 else shape)
    y = emit.add("resized", f"{interpolation}_resize2d", x, pixels=(1, *size)[-2:])
    return emit.reshape("sequence", y, emit.shape(y)[1:]) if len(shape) == 2 else y


def pad(emit: Emitter) -> str:
    """Writes `keras.ops.pad` of an image or a sequence with one number."""
    rank, sides = len(emit.shape(emit.x)), emit.layer.pad_width
    sides = [tuple(map(int, axis)) for axis in (sides if len(sides) > 1 else sides * (rank + 1))]
    spatial = sides[1:-1]
    if emit.layer.mode != "constant" or any(sides[0] + sides[-1]) or len(spatial) not in (1, 2):
        emit.refuse(
            "it must pad rows and columns with one number, got mode "
            f"{emit.layer.mode!r} and pad_width {tuple(sides)}",
            "Use keras.layers.ZeroPadding2D, or pad_width=((0, 0), (top, bottom), (left, right), "
            "(0, 0)).",
        )
    return _bordered(emit, spatial, float(emit.call.settings.get("constant_values") or 0))


def split_channels(emit: Emitter) -> list[str]:
    """Writes equal groups of channels."""
    shape = emit.shape(emit.x)
    size = shape[-1] // emit.layer.groups
    return [
        emit.add(str(k), "slice", emit.x, axis=len(shape) - 1, begin=k * size, size=size)
        for k in range(emit.layer.groups)
    ]


def shuffle_channels(emit: Emitter) -> str:
    """Writes the channels of groups in turn; TensorFlow Lite has at most three axes of an image."""
    height, width, channels = emit.shape(emit.x)
    groups = emit.layer.groups
    x = emit.reshape("grouped", emit.x, (height * width, groups, channels // groups))
    x = emit.add("interleaved", "permute", x, axes=(0, 2, 1))
    return emit.reshape("shuffled", x, (height, width, channels))


def weighted_sum(emit: Emitter) -> str:
    """Writes the sum of values times numbers."""
    scales = numbers(emit.layer.scale)
    terms = [
        affine(emit, value, f"term{k}", scale)
        for k, (value, scale) in enumerate(zip(emit.inputs, scales, strict=True))
    ]
    return emit.add("sum", "add", terms) if len(terms) > 1 else terms[0]


def pad_channels(emit: Emitter) -> str:
    """Writes channels of zeros on both sides: the input times 0, once or more, and a part of it."""
    *leading, channels = emit.shape(emit.x)
    whole, rest = divmod(emit.layer.channels, channels)
    zeros = affine(emit, emit.x, "zeros", 0.0)
    side = [zeros] * whole
    if rest:
        side.append(emit.add("rest", "slice", zeros, axis=len(leading), begin=0, size=rest))
    return emit.add("concat", "concat", [*side, emit.x, *side], axis=len(leading))


def add_to_last_channels(emit: Emitter) -> str:
    """Writes the unchanged first channels, followed by the sums of the last channels."""
    wide, narrow = emit.inputs
    axis = len(emit.shape(wide)) - 1
    added = emit.shape(narrow)[-1]
    kept = emit.shape(wide)[-1] - added
    if kept == 0:
        return emit.add("sum", "add", (wide, narrow))
    head = emit.add("kept", "slice", wide, axis=axis, begin=0, size=kept)
    tail = emit.add("last", "slice", wide, axis=axis, begin=kept, size=added)
    return emit.add("concat", "concat", (head, emit.add("sum", "add", (tail, narrow))), axis=axis)


SHAPING: dict[Any, Callable[[Emitter], Result]] = {
    layers.MaxPooling1D: _pool("max_pool2d"),
    layers.MaxPooling2D: _pool("max_pool2d"),
    nn.MaxPooling2D: _pool("max_pool2d"),
    layers.AveragePooling1D: _pool("avg_pool2d"),
    layers.AveragePooling2D: _pool("avg_pool2d"),
    layers.GlobalMaxPooling1D: _global_pool("global_max_pool2d"),
    layers.GlobalMaxPooling2D: _global_pool("global_max_pool2d"),
    layers.GlobalAveragePooling1D: _global_pool("global_avg_pool2d"),
    layers.GlobalAveragePooling2D: _global_pool("global_avg_pool2d"),
    layers.Add: _merge("add"),
    layers.Subtract: _merge("subtract"),
    layers.Multiply: _merge("multiply"),
    layers.Average: average,
    layers.Concatenate: concatenate,
    layers.Flatten: flatten,
    layers.Reshape: reshape,
    layers.Permute: permute,
    layers.Cropping1D: cropping,
    layers.Cropping2D: cropping,
    layers.UpSampling1D: up_sampling,
    layers.UpSampling2D: up_sampling,
    layers.Resizing: resizing,
    layers.ZeroPadding1D: zero_padding,
    layers.ZeroPadding2D: zero_padding,
    PadChannels: pad_channels,
    ShuffleChannels: shuffle_channels,
    WeightedSum: weighted_sum,
    SplitChannels: split_channels,
    AddToLastChannels: add_to_last_channels,
}
