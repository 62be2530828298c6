"""`bnnzoo-packed`: a `.safetensors` file with a whole network; see docs/format.md.

The metadata of the file contains the graph, the facts about the network, and digests of every array
and of the metadata itself, so that any changed bit is detected.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.errors import ArgumentError, GraphError, ModelFormatError
from bnnzoo.formats import safetensors_file
from bnnzoo.formats.graph_document import (
    check_stored,
    from_document,
    least_version,
    to_document,
)
from bnnzoo.formats.network_info import NetworkInfo, names_fit
from bnnzoo.formats.reading import from_file
from bnnzoo.formats.storage import Stored, array_names, encoding_of, restore, store
from bnnzoo.formats.strict_json import decode, encode, shown
from bnnzoo.graph.ir import Graph, Type
from bnnzoo.graph.passes.eight_bits import eight_bits

__all__ = [
    "FORMATS",
    "WEIGHTS_DTYPES",
    "PackedFile",
    "from_bytes",
    "open_file",
    "read",
    "to_bytes",
]

# By version. A file has the first one that can express it, so that old versions can read it.
FORMATS = {1: "bnnzoo-packed/1", 2: "bnnzoo-packed/2"}
WEIGHTS_DTYPES = ("float32", "float16", "int8")
_KEYS = ("format", "graph", "info", "sha256", "digest")
_DAMAGED = "The file is damaged; download or convert it again."
# Offset and bytes that identify another type of file -> what it is, and what to do.
_OTHERS = {
    (4, b"TFL3"): "a TensorFlow Lite file. Convert it: bnnzoo convert NAME.tflite NAME.safetensors",
    (
        0,
        b"\x89HDF",
    ): "an HDF5 file of Keras, not a packed one. Convert a whole model: bnnzoo "
    "convert NAME.h5 NAME.safetensors, or load weights with bnnzoo.load(NAME, weights=FILE).",
    (0, b"PK\x03\x04"): "a zip archive, as .keras files are. Convert a model: bnnzoo convert "
    "NAME.keras NAME.safetensors",
    (0, b"<?xml"): "XML, as networks of OpenVINO are. Convert a network: bnnzoo convert NAME.xml "
    "NAME.safetensors",
}

Array = NDArray[Any]


@dataclass(frozen=True)
class PackedFile:
    """A file that was read and checked.

    Attributes:
        format: One of `FORMATS`.
        graph: The network; its tensors are float32, int8 kernels or packed bits.
        info: Metadata of the network.
        stored: How each tensor of the graph is stored.
        array_bytes: Size of each array in the file.
        array_sha256: Digest of each array in the file.
        header_bytes: Bytes before the first array: graph, facts, digests.
        digest: Digest of the metadata, and thereby of the whole file.
    """

    format: str
    graph: Graph
    info: NetworkInfo
    stored: Mapping[str, Stored]
    array_bytes: Mapping[str, int]
    array_sha256: Mapping[str, str]
    header_bytes: int
    digest: str


def to_bytes(graph: Graph, info: NetworkInfo, *, weights_dtype: str = "float32") -> bytes:
    """Returns the bytes of a file; the same network gives the same bytes.

    Args:
        graph: The graph after the passes `STORED`.
        info: Metadata of the network.
        weights_dtype: Type of kernels of real numbers: `float32`, `float16` or `int8`. With `int8`,
            inputs of convolutions are quantized as well if that is faster. A kernel that the type
            cannot represent stays float32, and an 8-bit kernel stays as it is.

    Raises:
        ArgumentError: `weights_dtype` is not one of these.
        GraphError: The graph is invalid, or has a parameter that is not finite.
    """
    if weights_dtype not in WEIGHTS_DTYPES:
        raise ArgumentError(
            f"weights_dtype must be one of {', '.join(WEIGHTS_DTYPES)}, got {weights_dtype!r}. "
            "Choose one of them."
        )
    types = check_stored(graph)
    if weights_dtype == "int8":
        graph = eight_bits(graph)
    kernels = {
        node.tensors[role] for node in graph.nodes for role in node.tensors if role == "kernel"
    }
    stored: dict[str, Stored] = {}
    arrays: dict[str, Array] = {}
    for name, tensor in graph.tensors.items():
        encoding = encoding_of(tensor, kernel=name in kernels, weights_dtype=weights_dtype)
        stored[name] = Stored(encoding, tuple(tensor.shape))
        arrays |= store(name, tensor, encoding)
    version = _version_of(graph, stored, info, types)
    metadata = {
        "format": FORMATS[version],
        "graph": encode(to_document(graph, stored, version)),
        "info": encode(info.to_dict()),
        "sha256": encode({name: _sha256(array) for name, array in arrays.items()}),
    }
    metadata["digest"] = _digest(metadata)
    data = safetensors_file.serialize(metadata, arrays)
    try:
        from_bytes(data)
    except ModelFormatError as error:
        raise GraphError(f"The network cannot be written: {error}") from error
    return data


def read(path: str | os.PathLike[str]) -> tuple[Graph, NetworkInfo]:
    """Returns the network of a file, and its metadata.

    Raises:
        ModelFormatError: The file does not exist, is damaged, or breaks the specification.
    """
    file = open_file(path)
    return file.graph, file.info


def open_file(path: str | os.PathLike[str]) -> PackedFile:
    """Returns the contents of a file; raises the same errors as `read`."""
    return from_file(path, from_bytes)


def from_bytes(data: bytes) -> PackedFile:
    """Parses the bytes of a file; raises the same errors as `read`."""
    _check_kind(data)
    contents = safetensors_file.parse(data)
    version, sha256 = _check_metadata(contents.metadata)
    _check_arrays(sha256, contents.arrays)
    graph, stored = from_document(decode(contents.metadata["graph"], "graph"), version)
    least = least_version(graph, stored)
    if least > version:
        raise ModelFormatError(
            f"its format must be {FORMATS[least]!r} for this graph, got {FORMATS[version]!r}. "
            "Convert the network again."
        )
    _check_names(stored, contents.arrays)
    tensors = {name: restore(name, entry, contents.arrays) for name, entry in stored.items()}
    graph = Graph(graph.inputs, graph.nodes, graph.outputs, tensors)
    try:
        types = check_stored(graph)
    except GraphError as error:
        raise ModelFormatError(str(error)) from error
    info = NetworkInfo.from_dict(decode(contents.metadata["info"], "info"))
    _check_names_of_outputs(info, [types[name] for name in graph.outputs], version)
    return PackedFile(
        FORMATS[version],
        graph,
        info,
        stored,
        {name: array.nbytes for name, array in contents.arrays.items()},
        sha256,
        contents.header_bytes,
        contents.metadata["digest"],
    )


def _version_of(
    graph: Graph, stored: Mapping[str, Stored], info: NetworkInfo, types: Mapping[str, Type]
) -> int:
    """Returns the first version that can express a graph and the names of its classes."""
    classes = types[graph.outputs[0]].shape[-1]
    one_probability = len(graph.outputs) == 1 and len(info.labels or ()) == 2 > classes
    return 2 if one_probability else least_version(graph, stored)


def _check_kind(data: bytes) -> None:
    """Rejects other types of files with a message of their own."""
    for (place, signature), advice in _OTHERS.items():
        if data[place : place + len(signature)] == signature:
            raise ModelFormatError(f"it is {advice}")
    # A version and the name of a tool; a packed file has zeros there, in the length of its header.
    if data[0:1] < b"\x10" and data[2:3] == b"\x12" and data[4:8].isalnum():
        raise ModelFormatError(
            "it is an ONNX file. Convert it: bnnzoo convert NAME.onnx NAME.safetensors"
        )


def _check_metadata(metadata: Mapping[str, str]) -> tuple[int, dict[str, str]]:
    """Checks the format and the digest; returns the version and the digests of the arrays."""
    found = metadata.get("format")
    version = next((version for version, name in FORMATS.items() if name == found), None)
    if version is None:
        if found is not None and found.startswith("bnnzoo-packed/"):
            raise ModelFormatError(
                f"its format must be {' or '.join(map(repr, FORMATS.values()))}, got "
                f"{shown(found)}. Update bnnzoo to read it."
            )
        raise ModelFormatError(
            "it is a safetensors file but not a bnnzoo-packed file. `bnnzoo convert` writes those."
        )
    missing = [key for key in _KEYS if key not in metadata]
    if missing:
        raise ModelFormatError(
            f"its metadata must have the key {missing[0]!r}, got none. {_DAMAGED}"
        )
    if metadata["digest"] != _digest(metadata):
        raise ModelFormatError(f"its metadata does not match its digest. {_DAMAGED}")
    sha256 = decode(metadata["sha256"], "sha256")
    if not isinstance(sha256, dict):
        raise ModelFormatError(f"sha256 must be an object, got {shown(sha256)}.")
    return version, sha256


def _digest(metadata: Mapping[str, str]) -> str:
    """Returns the digest of all other metadata: keys in order, each with its text."""
    state = hashlib.sha256()
    for key in sorted(metadata, key=str.encode):
        if key != "digest":
            state.update(f"{key}\0{metadata[key]}\0".encode())
    return state.hexdigest()


def _sha256(array: Array) -> str:
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return hashlib.sha256(np.ascontiguousarray(little).data).hexdigest()


def _check_arrays(sha256: Mapping[str, str], arrays: Mapping[str, Array]) -> None:
    for name, array in arrays.items():
        if name not in sha256:
            raise ModelFormatError(f"tensor {shown(name)} must have a sha256, got none.")
        if sha256[name] != _sha256(array):
            raise ModelFormatError(f"tensor {shown(name)} does not match its sha256. {_DAMAGED}")
    for name in sha256:
        if name not in arrays:
            raise ModelFormatError(f"tensor {shown(name)} has a sha256 but is not in the file.")


def _check_names(stored: Mapping[str, Stored], arrays: Mapping[str, Array]) -> None:
    """Checks that the graph and the file have the same tensors."""
    expected: set[str] = set()
    for name, entry in stored.items():
        for array in array_names(name, entry.encoding):
            if array not in arrays:
                raise ModelFormatError(f"tensor {shown(array)} of the graph is not in the file.")
            if array in expected:
                raise ModelFormatError(f"tensor {shown(array)} is used for two tensors.")
            expected.add(array)
    for array in arrays:
        if array not in expected:
            raise ModelFormatError(f"tensor {shown(array)} is not part of the graph.")


def _check_names_of_outputs(info: NetworkInfo, outputs: Sequence[Type], version: int) -> None:
    """Checks that each output has a name and each class a label."""
    if info.output_names is not None and len(info.output_names) != len(outputs):
        raise ModelFormatError(
            f"info must have {len(outputs)} output_names, got {len(info.output_names)}."
        )
    if info.labels is None or len(outputs) > 1:
        return
    classes = outputs[0].shape[-1]
    count = len(info.labels)
    if not (count == classes if version == 1 else names_fit(count, classes)):
        labels = "1 label" if classes == 1 else f"{classes} labels"
        raise ModelFormatError(f"info must have {labels}, got {count}.")
