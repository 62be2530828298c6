"""Separable image resampling in NumPy: TensorFlow 1's bicubic, Pillow's, an antialiased bilinear.

All are two passes of weighted sums. The pixels and weights depend only on the sizes,
and are cached per pair of sizes. Where the extension module is built, it computes TensorFlow 1's:
NumPy takes ten times as long, most of it for new pages of memory.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["resize_bicubic_tf1", "resize_bilinear", "resize_pillow"]

Taps: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float32]]

# TensorFlow 1 rounds the distance to a neighbour to 1/1024 pixel and looks its weight up.
_TABLE_SIZE = 1024
_BICUBIC_A = -0.75
# Fractional bits of Pillow's weights.
_PILLOW_BITS = 22
# Values converted to float32 at a time: a whole image would take four times its bytes.
BLOCK_VALUES = 2**24


@functools.cache
def _bicubic_table() -> NDArray[np.float32]:
    """Weights `(1025, 2)`: Keys' kernel at x and at 1 + x, for x = 0, 1/1024 ... 1."""
    a = _BICUBIC_A
    x = np.arange(_TABLE_SIZE + 1) / _TABLE_SIZE
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    x = x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.stack([near, far], axis=1).astype(np.float32)


@functools.lru_cache(maxsize=64)
def _bicubic_taps(size_in: int, size_out: int) -> Taps:
    """Indices and weights `(4, size_out)` of the four input pixels of each output pixel.

    1. Output pixel i is at i * size_in / size_out, without half-pixel centres, in float32.
    2. Its neighbours are floor - 1, floor, floor + 1, floor + 2; pixels beyond the border are the
       border pixel.
    3. The fraction is rounded to the table, half to even as C's `lrintf` does.
    """
    location = np.arange(size_out, dtype="float32") * np.float32(size_in / size_out)
    low = np.floor(location).astype("int64")
    offset = np.rint((location - low.astype("float32")) * np.float32(_TABLE_SIZE)).astype("int64")
    indices = np.clip(low + np.arange(-1, 3)[:, None], 0, size_in - 1)
    near, far = _bicubic_table().T
    rest = _TABLE_SIZE - offset
    return indices, np.stack([far[offset], near[offset], near[rest], far[rest]])


def _weighted_rows(
    image: NDArray[np.generic], indices: NDArray[np.int64], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Sums `weights[k, i] * image[indices[k, i]]` over k, along the first axis."""
    shape = (-1,) + (1,) * (image.ndim - 1)
    total: NDArray[np.float32] = image[indices[0]].astype(np.float32, copy=False)
    total *= weights[0].reshape(shape)
    for index, weight in zip(indices[1:], weights[1:], strict=True):
        rows = image[index].astype(np.float32, copy=False)
        rows *= weight.reshape(shape)
        total += rows
    return total


def resize_bicubic_tf1(image: NDArray[np.generic], height: int, width: int) -> NDArray[np.float32]:
    """Resizes as `tf.compat.v1.image.resize_bicubic` does with its default arguments.

    Args:
        image: `(h, w, c)`, any number type.
        height: Rows of the result.
        width: Columns of the result.

    Returns:
        float32 `(height, width, c)`; bicubic weights overshoot, so values may leave [0, 255].
    """
    down, right = _bicubic_taps(image.shape[0], height), _bicubic_taps(image.shape[1], width)
    native = _extension()
    if native is not None and image.dtype == np.uint8:
        resized: NDArray[np.float32] = native.resample(np.ascontiguousarray(image), *down, *right)
        return resized
    return _resample(image, down, right)


@functools.cache
def _extension() -> Any:
    """Returns the module with `_resample` in C++, equal to the bit; None if it is not built."""
    try:
        return importlib.import_module("bnnzoo.data._resampling")
    except ImportError:
        return None


def _resample(image: NDArray[np.generic], down: Taps, right: Taps) -> NDArray[np.float32]:
    rows = _weighted_rows(image, *down)
    # The second pass uses the first axis too: gathering rows is faster than gathering pixels.
    columns = np.ascontiguousarray(rows.transpose(1, 0, 2))
    return np.swapaxes(_weighted_rows(columns, *right), 0, 1)


@functools.lru_cache(maxsize=16)  # 224 x 6,000 takes 5 MiB
def _bilinear_matrix(size_in: int, size_out: int) -> NDArray[np.float32]:
    """Weights `(size_out, size_in)` of a triangle filter, wider if the image is reduced."""
    scale = max(size_in / size_out, 1.0)
    centres = (np.arange(size_out) + 0.5) * (size_in / size_out)
    distance = (np.arange(size_in) + 0.5 - centres[:, None]) / scale
    weights = np.maximum(1.0 - np.abs(distance), 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray(weights, dtype=np.float32)


def resize_bilinear(image: NDArray[np.generic], height: int, width: int) -> NDArray[np.float32]:
    """Resizes with half-pixel centres and antialiasing, as Pillow's BILINEAR.

    Args:
        image: `(h, w, c)`, any number type.
        height: Rows of the result.
        width: Columns of the result.

    Returns:
        float32 `(height, width, c)`, within the range of the input.
    """
    h, w, c = image.shape
    rows = np.empty((height, w * c), np.float32)
    flat = image.reshape(h, w * c)
    width_of_block = max(1, BLOCK_VALUES // h)
    for left in range(0, w * c, width_of_block):
        columns = slice(left, left + width_of_block)
        block = flat[:, columns].astype(np.float32)
        np.matmul(_bilinear_matrix(h, height), block, out=rows[:, columns])
    # Columns become rows, so that the second pass is a matrix product as well.
    turned = np.ascontiguousarray(rows.reshape(height, w, c).transpose(1, 0, 2))
    columns = _bilinear_matrix(w, width) @ turned.reshape(w, height * c)
    return np.swapaxes(columns.reshape(width, height, c), 0, 1)


@functools.lru_cache(maxsize=16)
def _pillow_matrix(size_in: int, size_out: int, bicubic: bool) -> NDArray[np.float64]:
    """Weights `(size_out, size_in)` of Pillow's filters, as integers in units of 2^-22."""
    scale = max(size_in / size_out, 1.0)
    centres = (np.arange(size_out) + 0.5) * (size_in / size_out)
    x = np.abs(np.arange(size_in) + 0.5 - centres[:, None]) / scale
    if bicubic:  # Keys' kernel with a = -1/2
        near = (1.5 * x - 2.5) * x * x + 1
        far = ((-0.5 * x + 2.5) * x - 4) * x + 2
        weights = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    else:
        weights = np.maximum(1.0 - x, 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    integers: NDArray[np.float64] = np.trunc(weights * 2**_PILLOW_BITS + np.copysign(0.5, weights))
    return integers


def resize_pillow(
    image: NDArray[np.generic],
    height: int,
    width: int,
    *,
    bicubic: bool = False,
    window: tuple[slice, slice] = (slice(None), slice(None)),
) -> NDArray[np.float32]:
    """Resizes to the same 8-bit values as Pillow's BILINEAR or BICUBIC.

    Columns come first, and the result of either pass is rounded and clipped to 8 bits. Sums of
    integer weights are exact in float64.

    Args:
        image: `(h, w, c)`, uint8.
        height: Rows of the whole result.
        width: Columns of the whole result.
        bicubic: Use the bicubic filter instead of the bilinear one.
        window: Rows and columns of the result that are computed.

    Returns:
        float32 `(height, width, c)`, integers in [0, 255]; of the window only.
    """
    h, w, c = image.shape
    columns = _pillow_matrix(w, width, bicubic)[window[1]]
    turned = _eight_bits(columns @ image.transpose(1, 0, 2).reshape(w, h * c).astype(np.float64))
    lines = turned.reshape(len(columns), h, c).transpose(1, 0, 2)
    rows = _pillow_matrix(h, height, bicubic)[window[0]]
    resized = _eight_bits(rows @ lines.reshape(h, len(columns) * c))
    return resized.reshape(len(rows), len(columns), c).astype(np.float32)


def _eight_bits(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns sums of pixels times integer weights, rounded half up and clipped to 8 bits."""
    pixels: NDArray[np.float64] = np.clip(np.floor(sums / 2**_PILLOW_BITS + 0.5), 0, 255)
    return pixels
