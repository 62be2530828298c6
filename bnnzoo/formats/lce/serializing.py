"""From plain data to the bytes of a `.tflite` file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bnnzoo.formats.lce.model_file import (
    LCE_OPERATORS,
    ModelFile,
    OperatorEntry,
    TensorEntry,
)
from bnnzoo.formats.lce.schema import OPTIONS, schema

__all__ = ["serialize"]

_VERSION = 3
_DESCRIPTION = b"bnnzoo"
_ALIGNMENT = 16  # of constants, so that kernels can load whole vectors
_MAX_DEPRECATED_CODE = 127  # the largest code for readers from before 2020
_CUSTOM = "CUSTOM"


def serialize(file: ModelFile) -> bytes:
    """Returns the bytes of a file; the same contents give the same bytes.

    Raises:
        MissingDependencyError: No package that ships the schema is installed.
    """
    schema()  # a package that ships it also requires flatbuffers
    import flatbuffers

    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(_Assembly(file).model().Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


class _Assembly:
    """The objects of the schema for one file."""

    def __init__(self, file: ModelFile) -> None:
        self.file = file
        self.schema = schema()
        self.buffers = [self.schema.BufferT()]  # the first one is for tensors without data
        self.codes: list[str] = []

    def model(self) -> Any:
        graph = self.schema.SubGraphT()
        graph.name = b"main"
        graph.tensors = [self.tensor(entry) for entry in self.file.tensors]
        graph.operators = [self.operator(entry) for entry in self.file.operators]
        graph.inputs, graph.outputs = _indices(self.file.inputs), _indices(self.file.outputs)
        model = self.schema.ModelT()
        model.version = _VERSION
        model.description = _DESCRIPTION
        model.subgraphs = [graph]
        model.metadata = [self.metadata(*item) for item in self.file.metadata.items()]
        model.operatorCodes = [self.code(kind) for kind in self.codes]
        model.buffers = self.buffers
        return model

    def buffer(self, data: bytes) -> int:
        entry = _aligned(self.schema)()
        entry.data = np.frombuffer(data, np.uint8)
        self.buffers.append(entry)
        return len(self.buffers) - 1

    def tensor(self, entry: TensorEntry) -> Any:
        tensor = self.schema.TensorT()
        tensor.name = entry.name.encode()
        tensor.type = getattr(self.schema.TensorType, entry.dtype)
        tensor.shape = _indices(entry.shape)
        tensor.hasRank = True
        tensor.buffer = 0 if entry.values is None else self.buffer(entry.values.tobytes())
        if entry.quantization is not None:
            tensor.quantization = self.schema.QuantizationParametersT()
            tensor.quantization.scale = np.asarray(entry.quantization.scale, np.float32)
            tensor.quantization.zeroPoint = np.asarray(entry.quantization.zero_point, np.int64)
            tensor.quantization.quantizedDimension = entry.quantization.axis
        return tensor

    def operator(self, entry: OperatorEntry) -> Any:
        if entry.kind not in self.codes:
            self.codes.append(entry.kind)
        operator = self.schema.OperatorT()
        operator.opcodeIndex = self.codes.index(entry.kind)
        operator.inputs, operator.outputs = _indices(entry.inputs), _indices(entry.outputs)
        if entry.kind in LCE_OPERATORS:
            operator.customOptions = _flexbuffer(entry)
        elif OPTIONS[entry.kind][0]:
            table = OPTIONS[entry.kind][0]
            operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, table)
            operator.builtinOptions = getattr(self.schema, f"{table}T")()
            for name, value in entry.options.items():
                setattr(operator.builtinOptions, name, value)
        return operator

    def code(self, kind: str) -> Any:
        code = self.schema.OperatorCodeT()
        builtin = getattr(self.schema.BuiltinOperator, _CUSTOM if kind in LCE_OPERATORS else kind)
        code.builtinCode = builtin
        code.deprecatedBuiltinCode = min(builtin, _MAX_DEPRECATED_CODE)
        code.customCode = kind.encode() if kind in LCE_OPERATORS else None
        return code

    def metadata(self, name: str, data: bytes) -> Any:
        metadata = self.schema.MetadataT()
        metadata.name, metadata.buffer = name.encode(), self.buffer(data)
        return metadata


def _aligned(generated: Any) -> type[Any]:
    class Aligned(generated.BufferT):  # type: ignore[misc]
        """A buffer whose data begins at a multiple of 16 bytes, as the schema requires."""

        def Pack(self, builder: Any) -> Any:  # noqa: N802 (the schema's name)
            builder.Prep(_ALIGNMENT, len(self.data))
            return super().Pack(builder)

    return Aligned


def _indices(values: Sequence[int]) -> Any:
    return np.asarray(values, np.int32)


def _flexbuffer(entry: OperatorEntry) -> Any:
    """Returns the options of a custom operator: a map with its keys in order."""
    from flatbuffers import flexbuffers

    if not entry.options:
        return None
    return np.frombuffer(flexbuffers.Dumps(dict(entry.options)), np.uint8)
