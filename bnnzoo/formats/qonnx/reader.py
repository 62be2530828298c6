"""Reads ONNX and QONNX files."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bnnzoo.errors import GraphError, ModelFormatError
from bnnzoo.formats.graph_document import MAX_PORTS, check_stored
from bnnzoo.formats.network_info import NetworkInfo, names_fit
from bnnzoo.formats.qonnx.folding import FOLD, fold
from bnnzoo.formats.qonnx.model_proto import PRODUCER
from bnnzoo.formats.qonnx.onnx_file import OnnxFile, parse
from bnnzoo.formats.qonnx.reading import Found, Reading, Value, channels_first
from bnnzoo.formats.qonnx.reading_operation import Operation
from bnnzoo.formats.qonnx.reading_operators import READ
from bnnzoo.formats.reading import from_file
from bnnzoo.formats.strict_json import decode, readable, shown
from bnnzoo.graph.ir import Graph, Type
from bnnzoo.graph.passes.binary_kernels import binary_kernels
from bnnzoo.graph.passes.distinct_outputs import distinct_outputs
from bnnzoo.graph.passes.drop_unused import drop_identities, drop_unused
from bnnzoo.graph.passes.flatten_channels_first import flatten_channels_last
from bnnzoo.graph.passes.fold_batch_norm import fold_batch_norm

__all__ = ["finished", "from_bytes", "read", "read_operators"]

_Read = Mapping[str, Callable[[Operation], Found | tuple[Found, ...]]]
_Folds = Mapping[str, Callable[[Operation], Any]]

_NAMELESS = "onnx"
_COPIES = ("Identity", "Dropout")
_TEXTS = ("name", "tag", "preprocessing", "label_set", "licence", "weights_sha256")

_PASSES: tuple[Callable[[Graph], Graph], ...] = (
    distinct_outputs,
    drop_unused,
    # Permutes the kernel of a dense layer after a channels-first flattening of an image.
    flatten_channels_last,
    fold_batch_norm,
    drop_identities,
    binary_kernels,
    drop_unused,
)


def read(path: str | os.PathLike[str]) -> tuple[Graph, NetworkInfo]:
    """Returns the network of a file. Its default name is that of the file. See `from_bytes`."""
    graph, info = from_file(path, from_bytes)
    if info.name == _NAMELESS:
        info = dataclasses.replace(info, name=readable(Path(path).stem) or _NAMELESS)
    return graph, info


def from_bytes(data: bytes) -> tuple[Graph, NetworkInfo]:
    """Returns the network of an `.onnx` file and its metadata.

    Images are channels last.

    Raises:
        ModelFormatError: The file is damaged, or contains an unsupported operator or setting.
        MissingDependencyError: The package `onnx` is not installed.
    """
    file = parse(data)
    _check_kinds(file)
    graph, types = finished(read_operators(file, len(data)))
    info = _info(file)
    classes = types[graph.outputs[0]].shape[-1]
    names = info.labels if len(graph.outputs) == 1 else None
    if names is not None and not names_fit(len(names), classes):
        raise ModelFormatError(f"info must have {classes} labels, got {len(names)}.")
    return graph, info


def read_operators(
    file: OnnxFile, file_bytes: int, *, read: _Read = READ, folds: _Folds = FOLD
) -> Reading:
    """Returns a graph with all operators of a file.

    Args:
        file: The file. All its operators must be in one of the tables.
        file_bytes: Its size.
        read: Operator -> function that adds it to the graph.
        folds: Operator -> function that computes it from constants.

    Raises:
        ModelFormatError: An operator or a setting of an operator is unsupported.
    """
    reading = Reading(file, file_bytes)
    reading.feed()
    for index, entry in enumerate(file.nodes):
        operation = Operation(reading, entry, index)
        with np.errstate(all="ignore"):  # values that are not finite are refused
            found = _read(operation, read, folds)
        operation.finish(*(found if isinstance(found, tuple) else (found,)))
    return reading


def finished(reading: Reading) -> tuple[Graph, dict[str, Type]]:
    """Returns the graph with binary layers and folded batch norms, and the types of its values.

    Raises:
        ModelFormatError: The graph has no outputs, or cannot be stored.
    """
    graph = reading.builder.graph(*_outputs(reading))
    try:
        for run in _PASSES:
            graph = run(graph)
        return graph, check_stored(graph)
    except GraphError as error:
        raise ModelFormatError(str(error)) from error


def _read(operation: Operation, read: _Read, folds: _Folds) -> Found | tuple[Found, ...]:
    places = range(len(operation.entry.inputs))
    operands = [found for place in places if (found := operation.operand(place)) is not None]
    depends = not all(isinstance(found, np.ndarray) for found in operands)
    if depends or operation.kind in _COPIES:
        if operation.kind not in read:
            raise operation.wrong("all its inputs must be constants")
        return read[operation.kind](operation)
    if operation.kind not in folds:
        raise operation.wrong("one of its inputs must depend on the network's input")
    if operation.kind == "Add" and (known := operation.cancelled()) is not None:
        return known
    if operation.kind == "Sub":
        operation.subtracts()
    return fold(operation, folds[operation.kind])


def _check_kinds(file: OnnxFile) -> None:
    unknown = sorted({node.op for node in file.nodes} - READ.keys() - FOLD.keys())
    if unknown:
        raise ModelFormatError(
            f"it has unsupported operators: {shown(', '.join(unknown))}. docs/fpga.md lists the "
            "supported ones."
        )


def _outputs(reading: Reading) -> tuple[str, ...]:
    """Returns the values of the outputs. Images become channels last if those of an input did."""
    names = reading.file.outputs
    if not 0 < len(names) <= MAX_PORTS:
        raise ModelFormatError(f"it must have 1 to {MAX_PORTS} outputs, got {len(names)}.")
    found = []
    for name in names:
        value = reading.values.get(name)
        if not isinstance(value, Value):
            raise ModelFormatError(
                f"output {shown(name)} must depend on the network's input, and be numeric."
            )
        rank = len(value.axes)
        is_first = rank == 3 and (reading.channels_first or reading.file.producer == PRODUCER)
        wanted = channels_first(3) if is_first else tuple(range(rank))
        order = tuple(value.axes[wanted.index(axis)] for axis in range(rank))
        if order == tuple(range(rank)):
            found.append(value.name)
        else:
            free = reading.builder.names.free(f"{value.name}/output")
            found.append(reading.builder.add("permute", value.name, name=free, axes=order))
    return tuple(found)


def _info(file: OnnxFile) -> NetworkInfo:
    """Returns the metadata of a file written by bnnzoo. Other tools may use the same keys."""
    if file.producer != PRODUCER:
        return NetworkInfo(_NAMELESS)
    known = {field.name for field in dataclasses.fields(NetworkInfo)}
    facts: Mapping[str, Any] = {
        key: text if key in _TEXTS else decode(text, f"metadata '{key}'")
        for key, text in file.facts.items()
        if key in known
    }
    return NetworkInfo.from_dict(facts)
