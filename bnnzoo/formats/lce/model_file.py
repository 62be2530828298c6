"""The contents of a `.tflite` file as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ABSENT",
    "DTYPES",
    "LCE_OPERATORS",
    "PADDING",
    "ModelFile",
    "OperatorEntry",
    "Quantization",
    "TensorEntry",
]

# The supported types, by the schema's names.
DTYPES: dict[str, np.dtype[Any]] = {
    "FLOAT32": np.dtype("<f4"),
    "FLOAT16": np.dtype("<f2"),
    "INT8": np.dtype("i1"),
    "UINT8": np.dtype("u1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
}
ABSENT = -1  # the index of an omitted input
PADDING = {"same": 0, "valid": 1}  # in the schema's numbers

# Larq Compute Engine's operators, and the fields of their options.
LCE_OPERATORS = {
    "LceQuantize": (),
    "LceDequantize": (),
    "LceBconv2d": (
        "channels_in", "dilation_height_factor", "dilation_width_factor",
        "fused_activation_function", "pad_values", "padding", "stride_height", "stride_width",
    ),
    "LceBMaxPool2d": (
        "filter_height", "filter_width", "padding", "stride_height", "stride_width",
    ),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Quantization:
    """The quantization of real numbers as integers q: scale * (q - zero_point).

    Attributes:
        scale: `(1,)`, or one number per index of the axis.
        zero_point: Likewise.
        axis: Axis of the tensor.
    """

    scale: NDArray[Any]
    zero_point: NDArray[Any]
    axis: int = 0


@dataclass(frozen=True, eq=False)
class TensorEntry:
    """A value or a constant.

    Attributes:
        name: Name of the tensor; need not be unique.
        dtype: Type by the schema's name, such as `FLOAT32` or `INT32`.
        shape: The shape; that of a value has the batch axis.
        values: Elements of a constant; None for values and for types not in `DTYPES`.
        quantization: Set if integers represent real numbers.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    values: NDArray[Any] | None = None
    quantization: Quantization | None = None

    @property
    def is_real(self) -> bool:
        """Whether it has real numbers, quantized or not."""
        return self.dtype in ("FLOAT32", "FLOAT16") or self.quantization is not None

    @property
    def is_words(self) -> bool:
        """Whether it has INT32 integers that are not quantized, or packed bits."""
        return self.dtype == "INT32" and self.quantization is None

    @property
    def is_integers(self) -> bool:
        """Whether it has integers that are not quantized, such as those of shapes."""
        return self.dtype in ("INT32", "INT64") and self.quantization is None

    def numbers(self) -> NDArray[np.float32]:
        """Returns the real numbers of a constant."""
        assert self.values is not None
        if self.quantization is None:
            return self.values.astype(np.float32, copy=False)
        shape = np.ones(max(1, self.values.ndim), int)
        shape[self.quantization.axis] = -1
        scale, zero_point = (
            np.asarray(q, np.float64).reshape(shape)
            for q in (self.quantization.scale, self.quantization.zero_point)
        )
        with np.errstate(over="ignore"):
            return np.asarray((self.values - zero_point) * scale, np.float32).reshape(self.shape)


@dataclass(frozen=True)
class OperatorEntry:
    """An operation.

    Attributes:
        kind: The schema's name, such as `CONV_2D`, or that of a custom operator, `LceBconv2d`.
        inputs: Indices of tensors; `ABSENT` for an omitted input.
        outputs: Indices of tensors.
        options: Options by the schema's names.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, int | float] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelFile:
    """A file with one network.

    Attributes:
        tensors: All tensors; operators refer to them by index.
        operators: The operators, in execution order.
        inputs: Indices of the input tensors.
        outputs: Indices of the output tensors.
        metadata: Name -> bytes.
    """

    tensors: tuple[TensorEntry, ...]
    operators: tuple[OperatorEntry, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    metadata: Mapping[str, bytes] = field(default_factory=dict)
