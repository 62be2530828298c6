"""Parses an ONNX file to plain data.

The package `onnx` parses the message, which needs memory only for its contents. Counts, shapes and
types are checked against the stored bytes before an array is created. No other files are read, and
subgraphs, functions and strings are refused where they are used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.errors import MissingDependencyError, ModelFormatError
from bnnzoo.formats.qonnx.drawing import QONNX_DOMAIN
from bnnzoo.formats.strict_json import shown

__all__ = ["OPSETS", "NodeEntry", "OnnxFile", "parse"]

Array = NDArray[Any]

OPSETS = range(9, 22)
MAX_NODES = 10_000
MAX_OPERANDS = 1024
MAX_AXES = 8
MAX_FACTS = 64
# Domains of ONNX's own operators and of QONNX's, including those in older exports.
_ONNX_DOMAINS = ("", "ai.onnx")
_QONNX_DOMAINS = (QONNX_DOMAIN, "onnx.brevitas", "finn.custom_op.general", "finn")
_QONNX_OPERATORS = ("BipolarQuant", "MultiThreshold", "Quant", "IntQuant")
# Types of tensors by their names in ONNX.
_DTYPES = {
    "FLOAT": np.float32, "DOUBLE": np.float64, "FLOAT16": np.float16, "INT8": np.int8,
    "UINT8": np.uint8, "INT16": np.int16, "UINT16": np.uint16, "INT32": np.int32,
    "UINT32": np.uint32, "INT64": np.int64, "UINT64": np.uint64, "BOOL": np.bool_,
}  # fmt: skip
_FLOATS = ("FLOAT", "DOUBLE", "FLOAT16")


@dataclass(frozen=True)
class NodeEntry:
    """An operator.

    Attributes:
        op: Its name, with the domain as a prefix unless that is ONNX's or QONNX's.
        inputs: Names of the input tensors. "" for an omitted one.
        outputs: Names of the output tensors. "" for an omitted one.
        attributes: Numbers, strings, arrays, and tuples of numbers. None for other types.
        label: Its name in messages. If it is "", they use its index and `op`.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    label: str = ""


@dataclass(frozen=True)
class OnnxFile:
    """A network.

    Attributes:
        opset: Version of ONNX's operators.
        inputs: Name -> shape with the batch axis. None for a dynamic dimension.
        outputs: Names of the output tensors.
        constants: Name -> array. Real numbers are float32.
        nodes: The operators, in the order of the file.
        layouts: Name -> letters of the axes, such as `NHWC`, if the file has them.
        producer: The tool that wrote the file.
        facts: The file's metadata.
    """

    opset: int
    inputs: Mapping[str, tuple[int | None, ...]]
    outputs: tuple[str, ...]
    constants: Mapping[str, Array]
    nodes: tuple[NodeEntry, ...]
    layouts: Mapping[str, str]
    producer: str
    facts: Mapping[str, str]


def parse(data: bytes) -> OnnxFile:
    """Parses the bytes of a file.

    Raises:
        ModelFormatError: The bytes are not an ONNX file, are damaged, or are unsupported.
        MissingDependencyError: The package `onnx` is not installed.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ModuleNotFoundError as error:
        raise MissingDependencyError("onnx", "qonnx", "to read ONNX files") from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ModelFormatError(
            "it is not an ONNX file, or it is damaged. Export or download it again."
        ) from error
    if not model.HasField("graph") or not model.graph.output:
        raise ModelFormatError("it has no graph with outputs. Export or download it again.")
    return _file(model)


def _file(model: Any) -> OnnxFile:
    graph = model.graph
    _check_count("nodes", graph.node, MAX_NODES)
    if graph.sparse_initializer:
        raise ModelFormatError("its constants must be dense, got sparse ones. Export it again.")
    constants = {_text(tensor.name): array_of(tensor) for tensor in graph.initializer}
    return OnnxFile(
        _opset(model),
        # Old files list constants among the inputs.
        {name: _shape(i) for i in graph.input if (name := _text(i.name)) not in constants},
        tuple(_text(output.name) for output in graph.output),
        constants,
        tuple(_node(node, place) for place, node in enumerate(graph.node)),
        _layouts(graph),
        _text(model.producer_name),
        {_text(entry.key): _text(entry.value) for entry in model.metadata_props[:MAX_FACTS]},
    )


def _text(value: str | bytes) -> str:
    """Returns a string of the message, which `onnx` returns as bytes if it is not UTF-8."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _check_count(what: str, items: Any, most: int) -> None:
    if len(items) > most:
        raise ModelFormatError(f"it must have at most {most:,} {what}, got {len(items):,}.")


def _opset(model: Any) -> int:
    versions = [entry.version for entry in model.opset_import if entry.domain in _ONNX_DOMAINS]
    if len(versions) != 1 or versions[0] not in OPSETS:
        raise ModelFormatError(
            f"its opset must be {OPSETS[0]} to {OPSETS[-1]}, got {shown(versions)}. "
            f"Export it with opset {OPSETS[-1]}."
        )
    return int(versions[0])


def _shape(info: Any) -> tuple[int | None, ...]:
    if not info.type.HasField("tensor_type") or not info.type.tensor_type.HasField("shape"):
        raise ModelFormatError(f"its input {shown(info.name)} must be a tensor with a known shape.")
    kind = info.type.tensor_type.elem_type
    if _type_name(kind) not in _FLOATS:
        raise ModelFormatError(
            f"its input {shown(info.name)} must be floating point, got {_type_name(kind)}. "
            "Export the network with float32 inputs."
        )
    axes = info.type.tensor_type.shape.dim
    _check_count(f"axes of input {shown(info.name)}", axes, MAX_AXES)
    return tuple(axis.dim_value if axis.dim_value > 0 else None for axis in axes)


def _type_name(kind: int) -> str:
    from onnx import TensorProto

    names = TensorProto.DataType.DESCRIPTOR.values_by_number
    return str(names[kind].name) if kind in names else f"number {kind}"


def array_of(tensor: Any) -> Array:
    """Returns the values of a tensor after checking that the file stores all of them."""
    from onnx import TensorProto, numpy_helper

    what = f"tensor {shown(tensor.name)}"
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise ModelFormatError(
            f"{what} is stored in another file. Put all weights into one file: "
            "onnx.save(onnx.load(PATH), NEW_PATH)."
        )
    kind = _type_name(tensor.data_type)
    if kind not in _DTYPES or tensor.HasField("segment"):
        raise ModelFormatError(
            f"{what} must have numbers of at most 64 bits in one piece, got {kind}."
        )
    shape = tuple(tensor.dims)
    if len(shape) > MAX_AXES or any(n < 0 for n in shape):
        raise ModelFormatError(
            f"{what} must have at most {MAX_AXES} axes with sizes of at least 0, got "
            f"{shown(shape)}."
        )
    size = math.prod(shape)
    if _stored(tensor, np.dtype(_DTYPES[kind]).itemsize) != size:
        raise ModelFormatError(f"{what} must store {size:,} values for its shape {shape}.")
    try:
        with np.errstate(all="ignore"):
            array: Array = numpy_helper.to_array(tensor)
            return array.astype(np.float32) if kind in _FLOATS else array
    except (OverflowError, TypeError, ValueError) as error:
        raise ModelFormatError(f"{what} must store values of type {kind}.") from error


def _stored(tensor: Any, itemsize: int) -> int | None:
    """Returns the number of values that a tensor stores, or None if bytes are left over."""
    if tensor.HasField("raw_data"):
        count, rest = divmod(len(tensor.raw_data), itemsize)
        return None if rest else count
    fields = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data,
              tensor.uint64_data)  # fmt: skip
    return sum(map(len, fields))


def _node(node: Any, place: int) -> NodeEntry:
    what = f"operator {place} ({shown(node.op_type)})"
    _check_count(f"inputs at {what}", node.input, MAX_OPERANDS)
    _check_count(f"outputs at {what}", node.output, MAX_OPERANDS)
    op, domain = _text(node.op_type), _text(node.domain)
    if domain in _QONNX_DOMAINS and op in _QONNX_OPERATORS:
        op = "Quant" if op == "IntQuant" else op
    elif domain not in _ONNX_DOMAINS:
        op = f"{domain}.{op}"
    attributes = {_text(entry.name): _attribute(entry) for entry in node.attribute}
    return NodeEntry(op, tuple(map(_text, node.input)), tuple(map(_text, node.output)), attributes)


def _attribute(entry: Any) -> Any:
    from onnx import AttributeProto

    kinds = AttributeProto.AttributeType
    match entry.type:
        case kinds.FLOAT:
            return float(entry.f)
        case kinds.INT:
            return int(entry.i)
        case kinds.STRING:
            return entry.s.decode(errors="replace")
        case kinds.TENSOR:
            return array_of(entry.t)
        case kinds.FLOATS:
            return tuple(map(float, entry.floats))
        case kinds.INTS:
            return tuple(map(int, entry.ints))
        case _:  # graphs and others, which are refused where the attribute is used
            return None


def _layouts(graph: Any) -> dict[str, str]:
    """Returns the letters of the axes of tensors, which QONNX stores as an annotation."""
    found = {}
    for annotation in graph.quantization_annotation:
        for entry in annotation.quant_parameter_tensor_names:
            if entry.key == "tensor_layout":
                letters = "".join(letter for letter in _text(entry.value) if letter.isalpha())
                found[_text(annotation.tensor_name)] = letters
    return found
