"""What a `.tflite` file holds, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ABSENT", "DTYPES", "LCE_OPERATORS", "ModelFile", "OperatorEntry", "TensorEntry"]

# The types that matter here, by the schema's names.
DTYPES = {"FLOAT32": np.dtype("<f4"), "INT32": np.dtype("<i4")}
ABSENT = -1  # the index of an input that is left out

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
class TensorEntry:
    """A value or a constant.

    Attributes:
        name: Of the tensor; need not be unique.
        dtype: The schema's name of its type: `FLOAT32`, `INT32`, or another one.
        shape: With the batch axis, where it is a value.
        values: What a constant holds, of `shape`; None for values and for types not in `DTYPES`.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    values: NDArray[Any] | None = None


@dataclass(frozen=True)
class OperatorEntry:
    """An operation.

    Attributes:
        kind: The schema's name, as `CONV_2D`, or that of a custom operator, as `LceBconv2d`.
        inputs: Indices of tensors; `ABSENT` where one is left out.
        outputs: Indices of tensors.
        options: Its settings by the schema's names.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, int | float] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelFile:
    """A file with one network.

    Attributes:
        tensors: All of them; operators point into this list.
        operators: In the order in which they run.
        inputs: Indices of the tensors that are fed.
        outputs: Indices of those that are returned.
        metadata: Name -> bytes.
    """

    tensors: tuple[TensorEntry, ...]
    operators: tuple[OperatorEntry, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    metadata: Mapping[str, bytes] = field(default_factory=dict)
