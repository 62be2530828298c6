"""Parses an `.xml` and a `.bin` file to plain data.

Document types are refused, so the XML cannot define entities. The offset, size, shape and type of a
constant are checked against the `.bin` file before its array is created.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from bnnzoo.errors import ModelFormatError
from bnnzoo.formats.qonnx.onnx_file import MAX_AXES, MAX_NODES, MAX_OPERANDS
from bnnzoo.formats.strict_json import readable, shown
from bnnzoo.graph.builder import Names

__all__ = ["IrFile", "Layer", "parse"]

_VERSIONS = ("10", "11")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
# Limits the bytes of all constants per byte of the `.bin` file: layers may share bytes.
_CONSTANT_BYTES_PER_BYTE = 16
_SPARE_BYTES = 2**20
_DTYPES = {
    "boolean": "u1", "f16": "<f2", "f32": "<f4", "f64": "<f8", "i16": "<i2", "i32": "<i4",
    "i64": "<i8", "i8": "i1", "u16": "<u2", "u32": "<u4", "u64": "<u8", "u8": "u1",
}  # fmt: skip
_BITS = "u1"  # bits of kernels, eight per byte, lowest bit first
_FLOATS = ("f16", "f32", "f64")


@dataclass(frozen=True)
class Layer:
    """A layer.

    Attributes:
        name: Name of the layer.
        kind: Its type, such as `Convolution`.
        opset: The opset of its type.
        settings: Its attributes, as strings.
        inputs: Names of its input tensors.
        outputs: Names of its output tensors.
        shapes: Shapes of the outputs. None for a dynamic dimension.
    """

    name: str
    kind: str
    opset: int
    settings: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shapes: tuple[tuple[int | None, ...], ...]

    def wrong(self, rule: str) -> ModelFormatError:
        """Returns an error that names this layer."""
        return ModelFormatError(f"layer {shown(self.name)} ({shown(self.kind)}): {rule}.")

    def integers(self, name: str) -> tuple[int, ...]:
        """Returns a setting that is a list of integers. Empty if it is missing."""
        text = self.settings.get(name, "")
        numbers = [_integer(part) for part in text.split(",")] if text.strip() else []
        if len(numbers) > MAX_AXES or None in numbers:
            raise self.wrong(f"{name} must be at most {MAX_AXES} integers, got {shown(text)}")
        return tuple(n for n in numbers if n is not None)

    def integer(self, name: str, default: int | None = None) -> int:
        """Returns a setting that is an integer."""
        number = _integer(self.settings[name]) if name in self.settings else default
        if number is None:
            raise self.wrong(f"{name} must be an integer, got {shown(self.settings.get(name))}")
        return number

    def number(self, name: str) -> float:
        """Returns a setting that is a real number."""
        try:
            return float(self.settings[name])
        except (KeyError, ValueError) as error:
            text = shown(self.settings.get(name))
            raise self.wrong(f"{name} must be a number, got {text}") from error

    def flag(self, name: str, default: bool) -> bool:
        """Returns a setting that is true or false."""
        text = self.settings.get(name, str(default)).lower()
        if text not in ("true", "false", "1", "0"):
            raise self.wrong(f"{name} must be true or false, got {shown(text)}")
        return text in ("true", "1")

    def word(self, name: str, *words: str) -> str:
        """Returns a setting that is one of `words`. The first is the default."""
        text = self.settings.get(name, words[0])
        if text.lower() not in words:
            raise self.wrong(f"{name} must be {' or '.join(words)}, got {shown(text)}")
        return text.lower()


@dataclass(frozen=True)
class IrFile:
    """A network.

    Attributes:
        name: Name of the network.
        layers: The layers except parameters, constants and results, in topological order.
        inputs: Name -> shape with the batch axis. None for a dynamic dimension.
        outputs: Names of the output tensors.
        constants: Name -> array. Real numbers are float32, bits uint8.
        layouts: Name -> letters of the axes, such as `NHWC`, if the file has them.
    """

    name: str
    layers: tuple[Layer, ...]
    inputs: Mapping[str, tuple[int | None, ...]]
    outputs: tuple[str, ...]
    constants: Mapping[str, NDArray[Any]]
    layouts: Mapping[str, str]


def parse(xml: bytes, weights: bytes) -> IrFile:
    """Parses the bytes of the two files.

    Raises:
        ModelFormatError: The files are not a network of OpenVINO, are damaged, or are unsupported.
    """
    elements = _Elements()
    elements.read(xml)
    version = elements.net.get("version")
    if version not in _VERSIONS:
        raise ModelFormatError(
            f"its IR version must be {' or '.join(_VERSIONS)}, got {shown(version)}. "
            "Convert the network again with OpenVINO 2020.1 or newer."
        )
    layers = _ordered(elements)
    kinds: dict[str, list[Layer]] = {"Parameter": [], "Const": [], "Result": []}
    computing: list[Layer] = []
    for layer in layers:
        kinds.get(layer.kind, computing).append(layer)
        if layer.kind in ("Parameter", "Const") and len(layer.outputs) != 1:
            raise layer.wrong(f"it must have 1 output, got {len(layer.outputs)}")
        if layer.kind == "Result" and len(layer.inputs) != 1:
            raise layer.wrong(f"it must have 1 input, got {len(layer.inputs)}")
    return IrFile(
        elements.net.get("name", ""),
        tuple(computing),
        {layer.outputs[0]: _input_shape(layer) for layer in kinds["Parameter"]},
        tuple(layer.inputs[0] for layer in kinds["Result"]),
        _constants(kinds["Const"], weights),
        {
            layer.outputs[0]: "".join(filter(str.isalpha, layer.settings["layout"]))
            for layer in kinds["Parameter"]
            if "layout" in layer.settings
        },
    )


def _integer(text: str) -> int | None:
    return int(text) if _INTEGER.fullmatch(text := text.strip()) else None


# Elements ----------------------------------------------------------------------------------------


@dataclass
class _Draft:
    """The elements of a layer."""

    attributes: Mapping[str, str]
    settings: Mapping[str, str] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    shapes: list[list[int | None]] = field(default_factory=list)


class _Elements:
    """Collects the XML elements that describe the network and skips all others."""

    def __init__(self) -> None:
        self.net: Mapping[str, str] = {}
        self.layers: list[_Draft] = []
        self.edges: list[Mapping[str, str]] = []
        self._path: list[str] = []
        self._text: list[str] = []

    def read(self, xml: bytes) -> None:
        parser = expat.ParserCreate("utf-8")
        parser.StartDoctypeDeclHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        try:
            parser.Parse(xml, True)
        except (expat.ExpatError, ValueError) as error:
            raise ModelFormatError(
                f"it is not XML, or it is damaged: {error}. Export or download it again."
            ) from error

    def _refuse(self, *_: Any) -> None:
        raise ModelFormatError(
            "it has a document type, which networks do not need. Do not trust this file."
        )

    def _start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._path.append(tag)
        self._text.clear()
        match self._path:
            case ["net"]:
                self.net = attributes
            case ["net", "layers", "layer"]:
                self.layers.append(_Draft(attributes))
                _check_count("layers", len(self.layers), MAX_NODES)
            case ["net", "layers", "layer", "data"]:
                self.layers[-1].settings = attributes
            case ["net", "layers", "layer", "input", "port"]:
                self.layers[-1].inputs.append(attributes.get("id", ""))
                _check_count("inputs of a layer", len(self.layers[-1].inputs), MAX_OPERANDS)
            case ["net", "layers", "layer", "output", "port"]:
                self.layers[-1].outputs.append(attributes.get("id", ""))
                self.layers[-1].shapes.append([])
                _check_count("outputs of a layer", len(self.layers[-1].outputs), MAX_OPERANDS)
            case ["net", "edges", "edge"]:
                self.edges.append(attributes)

    def _end(self, _: str) -> None:
        if self._path == ["net", "layers", "layer", "output", "port", "dim"]:
            length = _integer("".join(self._text))
            shape = self.layers[-1].shapes[-1]
            shape.append(length if length is not None and length >= 0 else None)
            _check_count("axes of an output", len(shape), MAX_AXES)
        self._path.pop()
        self._text.clear()


def _check_count(what: str, count: int, most: int) -> None:
    if count > most:
        raise ModelFormatError(f"it must have at most {most:,} {what}, got more.")


# Layers ------------------------------------------------------------------------------------------


def _ordered(elements: _Elements) -> list[Layer]:
    """Returns the layers in topological order."""
    drafts: dict[str, _Draft] = {}
    for draft in elements.layers:
        key = draft.attributes.get("id", "")
        if key in drafts:
            raise ModelFormatError(f"it must have one layer with the id {shown(key)}, got two.")
        drafts[key] = draft
    tensors = _tensors(drafts)
    read: dict[tuple[str, str], tuple[str, str]] = {}
    for edge in elements.edges:
        source, target = (
            (edge.get(f"{end}-layer", ""), edge.get(f"{end}-port", "")) for end in ("from", "to")
        )
        if source not in tensors:
            raise ModelFormatError(f"its edges must start at outputs of layers, got {shown(edge)}.")
        if target in read:
            raise ModelFormatError(f"each input must have one edge, got two: {shown(edge)}.")
        read[target] = source
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for key, draft in drafts.items():
        sorter.add(key, *(read[key, port][0] for port in draft.inputs if (key, port) in read))
    try:
        order = tuple(sorter.static_order())
    except CycleError as error:
        raise ModelFormatError("its layers must not form a cycle.") from error
    return [_layer(key, drafts[key], tensors, read) for key in order]


def _tensors(drafts: Mapping[str, _Draft]) -> dict[tuple[str, str], str]:
    """Returns a name for every output: the layer's, with a number appended if it is taken."""
    names = Names()
    return {
        (key, port): names.free(readable(draft.attributes.get("name", "")) or "layer")
        for key, draft in drafts.items()
        for port in draft.outputs
    }


def _layer(
    key: str,
    draft: _Draft,
    tensors: Mapping[tuple[str, str], str],
    read: Mapping[tuple[str, str], tuple[str, str]],
) -> Layer:
    attributes = draft.attributes
    version = re.fullmatch(r"opset([0-9]{1,2})", attributes.get("version", ""))
    layer = Layer(
        attributes.get("name", ""), attributes.get("type", ""), int(version[1]) if version else 0,
        draft.settings, (), tuple(tensors[key, port] for port in draft.outputs),
        tuple(map(tuple, draft.shapes)),
    )  # fmt: skip
    if not version:
        raise layer.wrong(f"its version must be an opset, got {shown(attributes.get('version'))}")
    inputs = []
    for place, port in enumerate(draft.inputs):
        if (key, port) not in read:
            raise layer.wrong(f"its input {place} must have an edge")
        inputs.append(tensors[read[key, port]])
    return Layer(layer.name, layer.kind, layer.opset, layer.settings, tuple(inputs),
                 layer.outputs, layer.shapes)  # fmt: skip


def _input_shape(layer: Layer) -> tuple[int | None, ...]:
    kind = layer.settings.get("element_type")
    if kind not in _FLOATS:
        raise layer.wrong(
            f"it must be floating point, got {shown(kind)}. Convert the network with float32 inputs"
        )
    parts = layer.settings.get("shape", "").split(",")
    if len(parts) > MAX_AXES:
        raise layer.wrong(f"it must have at most {MAX_AXES} axes, got {len(parts)}")
    lengths = map(_integer, parts)
    return tuple(n if n is not None and n > 0 else None for n in lengths)


# Constants ---------------------------------------------------------------------------------------


def _constants(layers: list[Layer], weights: bytes) -> dict[str, NDArray[Any]]:
    left = _CONSTANT_BYTES_PER_BYTE * len(weights) + _SPARE_BYTES
    constants = {}
    for layer in layers:
        kind = layer.settings.get("element_type", "")
        if kind not in (_BITS, *_DTYPES):
            raise layer.wrong(f"its element type must be numeric, got {shown(kind)}")
        shape, begin, size = (
            layer.integers("shape"), layer.integer("offset"), layer.integer("size"),
        )  # fmt: skip
        count = math.prod(shape)
        itemsize = 1 if kind == _BITS else np.dtype(_DTYPES[kind]).itemsize
        stored = -(-count // 8) if kind == _BITS else itemsize * count
        if min(shape, default=0) < 0 or size != stored:
            raise layer.wrong(
                f"shape {shape} with type {kind} must have {stored:,} bytes, got {size:,}"
            )
        if begin < 0 or begin + size > len(weights):
            raise layer.wrong(
                f"its bytes {begin} to {begin + size} must be in the .bin file, which has "
                f"{len(weights):,}. Use the .bin file of this network"
            )
        left -= max(4 if kind in _FLOATS else 1, itemsize) * count
        if left < 0:
            raise ModelFormatError("its constants need far more memory than the size of the file.")
        constants[layer.outputs[0]] = _array(kind, memoryview(weights)[begin : begin + size], shape)
    return constants


def _array(kind: str, data: memoryview, shape: tuple[int, ...]) -> NDArray[Any]:
    array: NDArray[Any]
    if kind == _BITS:
        array = np.frombuffer(data, np.uint8)
        return np.unpackbits(array, count=math.prod(shape), bitorder="little").reshape(shape)
    array = np.frombuffer(data, _DTYPES[kind]).reshape(shape)
    if kind == "boolean":
        return np.asarray(array != 0)
    with np.errstate(all="ignore"):  # values that are not finite are refused where they are used
        return array.astype(np.float32) if kind in _FLOATS else array
