"""`.tflite` files from plain data: of one operator, or wrong in one place."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from bnnzoo.formats.lce.model_file import ABSENT, ModelFile, OperatorEntry, TensorEntry
from bnnzoo.formats.lce.serializing import serialize

Result = tuple[str, tuple[int, ...]]
FLOAT, WORDS = "FLOAT32", "INT32"


def constant(values: Any, name: str = "constant") -> TensorEntry:
    array = np.asarray(values)
    kind = WORDS if array.dtype.kind in "iu" else FLOAT
    return TensorEntry(name, kind, array.shape, array.astype("<i4" if kind == WORDS else "<f4"))


class FileBuilder:
    """Adds tensors and operators one by one; methods return indices."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.tensors = [TensorEntry("images", FLOAT, shape)]
        self.operators: list[OperatorEntry] = []

    def constant(self, values: Any) -> int:
        self.tensors.append(constant(values, f"c{len(self.tensors)}"))
        return len(self.tensors) - 1

    def add(
        self,
        kind: str,
        inputs: Sequence[int],
        shape: tuple[int, ...],
        dtype: str = FLOAT,
        **options: Any,
    ) -> int:
        self.tensors.append(TensorEntry(f"{kind}{len(self.tensors)}", dtype, shape))
        target = len(self.tensors) - 1
        self.operators.append(OperatorEntry(kind, tuple(inputs), (target,), options))
        return target

    def file(self, *outputs: int, **changes: Any) -> ModelFile:
        file = ModelFile(tuple(self.tensors), tuple(self.operators), (0,), outputs)
        return dataclasses.replace(file, **changes)

    def bytes(self, *outputs: int, **changes: Any) -> bytes:
        return serialize(self.file(*outputs, **changes))


__all__ = ["ABSENT", "FLOAT", "WORDS", "FileBuilder", "constant"]
