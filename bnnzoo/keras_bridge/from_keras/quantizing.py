"""Converts quantizers of activations and kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from keras import ops
from numpy.typing import NDArray

from bnnzoo import nn
from bnnzoo.keras_bridge.from_keras.emitter import Emitter, numbers
from bnnzoo.nn.latent_weights import binary_kernel

__all__ = ["ACTIVATION_QUANTIZERS", "KERNEL_QUANTIZERS", "Kernel", "quantize", "quantized_kernel"]

_SIGNS = (nn.SteSign, nn.ApproxSign, nn.SwishSign, nn.ErrorDecaySign)
# Exact types: a subclass may compute something else.
ACTIVATION_QUANTIZERS = (*_SIGNS, nn.AdaptiveSign, nn.DoReFa, nn.NoOp)
KERNEL_QUANTIZERS = (
    *_SIGNS,
    nn.MagnitudeAwareSign,
    nn.XnorWeightScale,
    nn.DoReFaSign,
    nn.CenteredSign,
    nn.LibraSign,
    nn.ReCU,
    nn.SteHeaviside,
    nn.DoReFa,
    nn.SteTern,
    nn.NoOp,
)
# The largest number of bits of levels in a graph.
_MAX_BITS = 8


@dataclass(frozen=True)
class Kernel:
    """A quantized kernel, `scale * values + offset`.

    Attributes:
        values: int8 -1 and +1, or float32, in Keras's order of axes.
        scale: One factor per index of the last axis; None if every factor is 1.
        offset: One number per index of the last axis; None if every offset is 0.
    """

    values: NDArray[Any]
    scale: NDArray[np.float32] | None
    offset: NDArray[np.float32] | None = None

    @property
    def binary(self) -> bool:
        """Whether the values are signs."""
        return self.values.dtype == np.int8

    def as_real(self) -> Kernel:
        """Returns the same kernel as real numbers, without scale and offset."""
        if self.scale is None and self.offset is None:
            return self
        scale = 1 if self.scale is None else self.scale
        offset = 0 if self.offset is None else self.offset
        return Kernel((self.values * scale + offset).astype(np.float32), None)


def quantize(emit: Emitter, x: str, quantizer: Any) -> str:
    """Writes a quantizer of activations and returns its value."""
    kind = type(quantizer)
    if quantizer is None or kind is nn.NoOp:
        return x
    if kind in _SIGNS:
        # The sign of a sign is itself.
        return x if emit.type(x).kind == "bits" else emit.sign(x)
    if kind is nn.AdaptiveSign:
        return _centered(emit, x, *map(float, (quantizer.scale, quantizer.center)))
    if kind is nn.DoReFa and quantizer.mode == "activations":
        return _levels(emit, x, quantizer.k_bit)
    _refuse(emit, quantizer, ACTIVATION_QUANTIZERS, "activations")


def _centered(emit: Emitter, x: str, scale: float, center: float) -> str:
    """Writes sign((x - center) / scale) without the division."""
    if scale == 0:
        emit.refuse("the scale of AdaptiveSign must not be 0", "Train it again.")
    channels, direction = emit.shape(x)[-1], -1.0 if scale < 0 else 1.0
    tensors = {"bias": ("input_center", np.full(channels, -direction * center, np.float32))}
    if scale < 0:
        tensors["scale"] = ("input_direction", np.full(channels, -1.0, np.float32))
    return emit.add("sign", "sign", emit.add("centered", "affine", x, tensors))


def _levels(emit: Emitter, x: str, bits: int) -> str:
    if bits > _MAX_BITS:
        emit.refuse(
            f"DoReFa activations must have at most {_MAX_BITS} bits, got {bits}",
            "Train with fewer bits.",
        )
    type_ = emit.type(x)
    if type_.kind == "levels" and type_.bits == bits:
        return x  # rounding to the same levels again changes nothing
    return emit.add("quantize", "quantize", x, bits=bits)


def quantized_kernel(emit: Emitter, latent: Any, quantizer: Any) -> Kernel:
    """Returns the values of a kernel, computed by its quantizer, which may be the user's own."""
    if quantizer is None or (type(quantizer) is nn.NoOp and quantizer.bits != 1):
        return Kernel(numbers(latent), None)
    if type(quantizer) is nn.SteTern:
        return Kernel(numbers(quantizer(ops.convert_to_tensor(latent))), None)
    if getattr(quantizer, "bits", None) != 1:
        _refuse(emit, quantizer, KERNEL_QUANTIZERS, "kernels")
    found = binary_kernel(latent, quantizer)
    if found is None and type(quantizer) is nn.NoOp:
        return Kernel(numbers(latent), None)  # marked as binary, but not binary yet
    again = binary_kernel(latent, quantizer)
    if found is None or again is None or not np.array_equal(found.values, again.values):
        emit.refuse(
            "quantizer of kernels must return two values per output channel, the same at every "
            f"call, got {quantizer!r}",
            "Choose a quantizer of bnnzoo.nn and train again.",
        )
    return Kernel(found.values, found.scale, found.offset)


def _refuse(emit: Emitter, quantizer: Any, known: tuple[type, ...], what: str) -> NoReturn:
    name = repr(quantizer) if isinstance(quantizer, nn.Quantizer) else f"function {quantizer!r}"
    names = ", ".join(kind.__name__ for kind in known)
    hint = "Choose one of them and train again."
    if what == "kernels":
        names += ", or a custom one with bits = 1"
        hint = "Kernels must have 1 bit. " + hint
    elif type(quantizer) not in nn.quantizers.ALIASES.values():
        hint = (
            "The values of a custom quantizer are unknown. If they are those of one of these, use "
            "that one instead: only gradients differ."
        )
    emit.refuse(f"quantizer of {what} must be one of {names}, got {name}", hint)
