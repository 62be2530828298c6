"""The reference interpreter: runs a graph in plain NumPy, every operation in its unfused form.

It is slow and short, and meant to be obviously correct. Bits are arrays of -1 and +1, levels arrays
of integers, and all arithmetic is float64: sums of products of signs are exact, and so is the sign
of scale * x + bias for float32 parameters and inputs (the product has 48 bits).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from bnnzoo.errors import ArgumentError
from bnnzoo.graph.call_arguments import by_name
from bnnzoo.graph.ir import Graph, Node, Tensor, Type, numbers
from bnnzoo.graph.ops import infer_types
from bnnzoo.graph.packing import LEVELS, Int8Kernel, PackedSigns

__all__ = ["MIN_MAGNITUDE", "Call", "input_levels", "parameters", "run"]

Array = Any  # NumPy arrays; arithmetic of mixed dtypes has no static type

# An input that is quantized to 8 bits is zero if its largest magnitude is below this.
MIN_MAGNITUDE = 2.0**-100


@dataclass(frozen=True)
class Call:
    """What an operation is computed from.

    Attributes:
        attributes: Attributes of the node.
        inputs: Values `(n, ...)`.
        types: Types of the inputs.
        tensors: Parameters by role, as numbers.
    """

    attributes: Mapping[str, Any]
    inputs: list[Array]
    types: list[Type]
    tensors: dict[str, Array]

    @property
    def x(self) -> Array:
        """The first input."""
        return self.inputs[0]


def run(
    graph: Graph,
    x: ArrayLike | Mapping[str, ArrayLike],
    given: Mapping[str, ArrayLike] | None = None,
) -> dict[str, Array]:
    """Returns every value of a graph by name.

    Args:
        graph: A graph before or after any passes.
        x: The input, `(n, *graph.input_shape)`; several inputs as a list or by name.
        given: Values by name that replace those of nodes, so that later nodes are computed from
            them: bits as -1 and +1, levels as integers.

    Returns:
        Real values as float64, bits as int8 -1 and +1, levels as uint8; each `(n, ...)`.

    Raises:
        ArgumentError: `x` has the wrong shape or number of inputs.
        GraphError: The graph is invalid.
    """
    types = infer_types(graph)
    values: dict[str, Array] = {}
    for name, array in by_name(graph.inputs, (x,)).items():
        values[name] = np.asarray(array, np.float64)
        if values[name].shape[1:] != graph.inputs[name]:
            raise ArgumentError(
                f"{name} must be (n, *{graph.inputs[name]}), got {values[name].shape}. Reshape it."
            )
    given = given or {}
    for node in graph.nodes:
        if node.name in given:
            values[node.name] = np.asarray(given[node.name], _DTYPES[types[node.name].kind])
            continue
        call = Call(
            attributes=node.attributes,
            inputs=[values[name] for name in node.inputs],
            types=[types[name] for name in node.inputs],
            tensors=parameters(graph, node),
        )
        value = MEANINGS[node.op](call)
        values[node.name] = value.astype(_DTYPES[types[node.name].kind], copy=False)
    return values


_DTYPES = {"real": np.float64, "bits": np.int8, "levels": np.uint8}


def parameters(graph: Graph, node: Node) -> dict[str, Array]:
    """Returns the parameters of a node by role.

    An int8 kernel that is applied to an 8-bit input is kept as levels, `kernel`, and their scale,
    `kernel_scale`.
    """
    found = {role: _real(graph.tensors[name]) for role, name in node.tensors.items()}
    kernel = graph.tensor(node, "kernel")
    if "input_bits" in node.attributes and isinstance(kernel, Int8Kernel):
        found["kernel"] = kernel.levels.astype(np.float64)
        found["kernel_scale"] = kernel.scale.astype(np.float64)
    return found


def _real(tensor: Tensor) -> Array:
    """Returns a parameter as numbers; bits as docs/format.md says, independent of `packing`."""
    if isinstance(tensor, PackedSigns):
        K = int(np.prod(tensor.shape[1:]))
        bits = np.unpackbits(tensor.bits, axis=-1, count=K, bitorder="little")
        return np.where(bits == 1, -1.0, 1.0).reshape(tensor.shape)
    return numbers(tensor).astype(np.float64)


def _number(x: Array, type_: Type) -> Array:
    """Returns the real numbers that bits or levels represent."""
    return x / (2.0**type_.bits - 1.0) if type_.kind == "levels" else x.astype(np.float64)


def _pad(x: Array, padding: Sequence[int], value: float) -> Array:
    top, bottom, left, right = padding
    pads = [(0, 0), (top, bottom), (left, right), (0, 0)]
    return np.pad(x, pads, constant_values=value)


def _windows(
    x: Array, kernel: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> Array:
    """Returns the pixels in the window at each position: `(n, h_out, w_out, c, h, w)`."""
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    windows = sliding_window_view(x, extent, axis=(1, 2))
    return windows[:, :: strides[0], :: strides[1], :, :: dilation[0], :: dilation[1]]


def _convolve(x: Array, kernel: Array, call: Call) -> Array:
    """Convolves a padded image; kernel `(c_out, h, w, c_in / groups)`."""
    windows = _windows(
        x, kernel.shape[1:3], call.attributes["strides"], call.attributes["dilation"]
    )
    groups = call.attributes["groups"]
    outputs = [
        np.tensordot(part, filters, axes=([3, 4, 5], [3, 1, 2]))
        for part, filters in zip(
            np.split(windows, groups, axis=3), np.split(kernel, groups), strict=True
        )
    ]
    return np.concatenate(outputs, axis=-1)


def _bconv2d(call: Call) -> Array:
    border = call.attributes["pad_value"] if call.types[0].kind == "bits" else 0
    x = _pad(call.x.astype(np.float64), call.attributes["padding"], border)
    sums = _convolve(x, call.tensors["kernel"], call)
    if "correction" in call.tensors:
        rows = call.tensors["row_class"].astype(int)[:, None]
        sums = (
            sums
            + call.tensors["correction"][rows, call.tensors["column_class"].astype(int)[None, :]]
        )
    return _number(sums, call.types[0])


def _conv2d(call: Call) -> Array:
    if "input_bits" not in call.attributes:
        x = _pad(call.x, call.attributes["padding"], 0.0)
        return _convolve(x, call.tensors["kernel"], call)
    levels, unit = input_levels(call.x)
    sums = _convolve(_pad(levels, call.attributes["padding"], 0.0), call.tensors["kernel"], call)
    return unit * (call.tensors["kernel_scale"] * sums)


def input_levels(x: Array) -> tuple[Array, Array]:
    """Returns maps `(n, h, w, c)` as levels -127 to 127, and the value of one level `(n, 1, 1, 1)`.

    With m the largest magnitude of a map, level = round(x * (127 / m)), half to even, and one level
    is m / 127. The levels are defined in float32: x, the quotient and the product are rounded to
    it, so that every implementation has the same levels.
    """
    with np.errstate(over="ignore"):
        x = np.asarray(x, np.float32)
    largest = np.abs(x).max(axis=(1, 2, 3), keepdims=True)  # NaN if there is a NaN
    some = np.isfinite(largest) & (largest >= MIN_MAGNITUDE)
    zero, one = np.float32(0), np.float32(1)
    scale = np.where(some, np.float32(LEVELS) / np.where(some, largest, one), zero)
    levels = np.rint(np.where(some, x, zero) * scale)
    worth = np.where(some, largest, zero).astype(np.float64) / LEVELS
    unit = np.where(np.isfinite(largest), worth, np.nan)
    return levels.astype(np.float64), unit


def _conv2d_transpose(call: Call) -> Array:
    """Adds each tap's product to its output pixel, then crops the image."""
    kernel = call.tensors["kernel"].astype(np.float64)
    (s_h, s_w), (d_h, d_w) = call.attributes["strides"], call.attributes["dilation"]
    (top, left), (height, width) = call.attributes["crop"], call.attributes["pixels"]
    (n, h, w, _), (c_out, taps_h, taps_w, _) = call.x.shape, kernel.shape
    reach = ((h - 1) * s_h + (taps_h - 1) * d_h + 1, (w - 1) * s_w + (taps_w - 1) * d_w + 1)
    sums = np.zeros((n, max(reach[0], top + height), max(reach[1], left + width), c_out))
    for u, v in np.ndindex(taps_h, taps_w):
        rows = slice(u * d_h, u * d_h + (h - 1) * s_h + 1, s_h)
        columns = slice(v * d_w, v * d_w + (w - 1) * s_w + 1, s_w)
        sums[:, rows, columns] += call.x.astype(np.float64) @ kernel[:, u, v].T
    return _number(sums[:, top : top + height, left : left + width], call.types[0])


def _nearest(call: Call) -> Array:
    """Takes the pixel that contains the centre of the new pixel, in exact integer arithmetic."""
    x = call.x
    for axis, size in enumerate(call.attributes["pixels"], 1):
        places = (2 * np.arange(size) + 1) * x.shape[axis] // (2 * size)
        x = np.take(x, places, axis)
    return x


def _bilinear(call: Call) -> Array:
    x = call.x
    for axis, size in enumerate(call.attributes["pixels"], 1):
        last = x.shape[axis] - 1
        place = np.clip((np.arange(size) + 0.5) * x.shape[axis] / size - 0.5, 0, last)
        low = np.floor(place).astype(int)
        weight = (place - low).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
        next_ = np.minimum(low + 1, last)
        x = (1 - weight) * np.take(x, low, axis) + weight * np.take(x, next_, axis)
    return x


def _sign(call: Call) -> Array:
    x = call.x
    if "threshold" not in call.tensors:
        return np.where(x < 0, -1, 1)
    threshold, direction = call.tensors["threshold"], call.tensors["direction"]
    return np.where(np.where(direction < 0, x > threshold, x < threshold), -1, 1)


def _quantize(call: Call) -> Array:
    return np.rint(np.clip(call.x, 0, 1) * (2 ** call.attributes["bits"] - 1))


def _batch_norm(call: Call) -> Array:
    deviation = np.sqrt(call.tensors["variance"] + call.attributes["epsilon"])
    normed = (call.x - call.tensors["mean"]) / deviation
    return call.tensors.get("gamma", 1.0) * normed + call.tensors.get("beta", 0.0)


def _pool(call: Call, x: Array, outside: float, reduce: Callable[..., Array]) -> Array:
    x = _pad(x, call.attributes["padding"], outside)
    windows = _windows(x, call.attributes["pool"], call.attributes["strides"], (1, 1))
    return reduce(windows, axis=(-2, -1))


def _max_pool2d(call: Call) -> Array:
    return _pool(call, call.x, -np.inf, np.max)


def _avg_pool2d(call: Call) -> Array:
    sums = _pool(call, call.x, 0.0, np.sum)
    return sums / _pool(call, np.ones_like(call.x), 0.0, np.sum)


def _bmax_pool2d(call: Call) -> Array:
    direction = call.tensors.get("direction", np.ones(call.x.shape[-1]))
    return direction * _pool(call, direction * call.x, -np.inf, np.max)


def _softmax(call: Call) -> Array:
    exponents = np.exp(call.x - call.x.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def _slice(call: Call) -> Array:
    begin, size = call.attributes["begin"], call.attributes["size"]
    return np.take(call.x, range(begin, begin + size), axis=call.attributes["axis"] + 1)


def _permute(call: Call) -> Array:
    return call.x.transpose(0, *(axis + 1 for axis in call.attributes["axes"]))


MEANINGS: dict[str, Callable[[Call], Array]] = {
    "sign": _sign,
    "quantize": _quantize,
    "dequantize": lambda call: _number(call.x, call.types[0]),
    "bconv2d": _bconv2d,
    "conv2d": _conv2d,
    "conv2d_transpose": _conv2d_transpose,
    "bconv2d_transpose": _conv2d_transpose,
    "batch_norm": _batch_norm,
    "affine": lambda call: call.tensors.get("scale", 1.0) * call.x + call.tensors.get("bias", 0.0),
    "clip": lambda call: np.clip(call.x, call.attributes["low"], call.attributes["high"]),
    "prelu": lambda call: np.where(call.x >= 0, call.x, call.tensors["alpha"] * call.x),
    "sigmoid": lambda call: 0.5 + 0.5 * np.tanh(0.5 * call.x),
    "tanh": lambda call: np.tanh(call.x),
    "softmax": _softmax,
    "add": lambda call: sum(call.inputs[1:], call.x),
    "subtract": lambda call: call.x - call.inputs[1],
    "multiply": lambda call: np.prod(np.broadcast_arrays(*call.inputs), axis=0),
    "max_pool2d": _max_pool2d,
    "avg_pool2d": _avg_pool2d,
    "bmax_pool2d": _bmax_pool2d,
    "global_avg_pool2d": lambda call: call.x.mean(axis=(1, 2)),
    "global_max_pool2d": lambda call: call.x.max(axis=(1, 2)),
    "nearest_resize2d": _nearest,
    "bilinear_resize2d": _bilinear,
    "concat": lambda call: np.concatenate(call.inputs, axis=call.attributes["axis"] + 1),
    "slice": _slice,
    "pad": lambda call: _pad(call.x, call.attributes["padding"], call.attributes["value"]),
    "reshape": lambda call: call.x.reshape(len(call.x), *call.attributes["shape"]),
    "permute": _permute,
}
