"""Quantized values of a model's kernels, whose latent weights are real-valued."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from bnnzoo.nn.layers.quantized_layer import QuantizedLayer

__all__ = ["BinaryKernel", "binary_kernel", "binary_weights", "quantized_scope"]


@dataclasses.dataclass(frozen=True)
class BinaryKernel:
    """A binary kernel, `scale * values + offset`.

    Attributes:
        values: int8 array of the kernel's shape, every element -1 or +1.
        scale: float32 array `(last axis,)`, one factor per index of the last axis (the output
            filter of dense and convolution kernels), or `None` if every factor is 1.
        offset: float32 array of the same shape, or `None` if every offset is 0. AdaBin's kernels
            (`CenteredSign`) have one.
    """

    values: np.ndarray
    scale: np.ndarray | None
    offset: np.ndarray | None = None


def binary_weights(model: keras.Model) -> dict[str, BinaryKernel]:
    """Returns signs, scale and offset of every binary kernel by path of the variable.

    The model is not changed. Layers of nested models and of wrappers are included.

    Kernels with more than one bit (`SteTern`, `DoReFa`) are left out; use `quantized_scope` for
    these. A kernel marked by `NoOp(bits=1)` is included once its optimizer has made it binary. With
    LoRA, the sum of the kernel and its update is quantized.

    Raises:
        ValueError: Two kernels have the same path.
    """
    kernels: dict[str, BinaryKernel] = {}
    for layer, variable, quantizer in _quantized_variables(model):
        if getattr(quantizer, "bits", None) != 1:
            continue
        kernel = binary_kernel(layer.latent_kernel(variable), quantizer)
        if kernel is None:
            continue
        if variable.path in kernels:
            raise ValueError(
                f"Paths of kernels must be unique, got {variable.path!r} twice. "
                "Give the layers of nested models different names."
            )
        kernels[variable.path] = kernel
    return kernels


def binary_kernel(latent: Any, quantizer: Callable[[Any], Any]) -> BinaryKernel | None:
    """Returns the quantized kernel; None if a filter has more than two values."""
    value = quantizer(ops.convert_to_tensor(latent))
    return _split(np.asarray(ops.convert_to_numpy(value)).astype(np.float32))


@contextlib.contextmanager
def quantized_scope(model: keras.Model) -> Iterator[keras.Model]:
    """Replaces the kernels by their quantized values inside a `with` block.

    Inside, `get_weights`, `save` and `save_weights` use the quantized values. The latent weights
    are restored bit for bit at the end, also after an exception. Only this model changes.

        with quantized_scope(model):
            model.save("binary.keras")

    Layers still apply their quantizers inside. This has no effect for quantizers whose values are
    fixed points (the signs and `SteTern`, up to the rounding of scales), but changes `DoReFa`
    weights with more than one bit: do not evaluate these inside the scope.
    """
    found = _quantized_variables(model)
    values = [quantizer(layer.latent_kernel(variable)) for layer, variable, quantizer in found]
    # These values already include the LoRA updates.
    updates = [layer.lora_kernel_b for layer, *_ in found if getattr(layer, "lora_enabled", False)]
    values += [ops.zeros(update.shape, update.dtype) for update in updates]
    changed = [*(variable for _, variable, _ in found), *updates]
    latent = [np.array(ops.convert_to_numpy(variable)) for variable in changed]
    try:
        for variable, value in zip(changed, values, strict=True):
            variable.assign(value)
        yield model
    finally:
        for variable, value in zip(changed, latent, strict=True):
            variable.assign(value)


def _quantized_variables(
    model: keras.Model,
) -> list[tuple[QuantizedLayer, Any, Callable[[Any], Any]]]:
    """Returns every kernel with a quantizer, once, in layer order."""
    return [
        (layer, variable, quantizer)
        for layer in model._flatten_layers()
        if isinstance(layer, QuantizedLayer)
        for variable, quantizer in layer.quantizers
        if quantizer is not None
    ]


def _split(kernel: np.ndarray) -> BinaryKernel | None:
    """Returns `kernel` as signs, scales and offsets, or None if a filter has more than two values.

    With the values low < high, the scale is (high - low) / 2 and the offset (high + low) / 2. A
    filter of a single value v is |v| times its sign.
    """
    filters = kernel.reshape(-1, kernel.shape[-1])
    high, low = filters.max(axis=0), filters.min(axis=0)
    if not ((filters == high) | (filters == low)).all():
        return None
    middle, single = (high.astype(np.float64) + low) / 2, high == low
    scale = np.where(single, np.abs(high), high - middle).astype(np.float32)
    offset = np.where(single, 0, middle).astype(np.float32)
    positive = np.where(single, kernel >= 0, kernel == high)
    return BinaryKernel(
        np.where(positive, 1, -1).astype(np.int8),
        None if np.all(scale == 1) else scale,
        offset if offset.any() else None,
    )
