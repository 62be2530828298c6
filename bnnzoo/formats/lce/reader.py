"""Reads networks that were written for Larq Compute Engine."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

from bnnzoo.errors import GraphError, ModelFormatError
from bnnzoo.formats.graph_document import MAX_PORTS, check_stored
from bnnzoo.formats.lce.folding import FOLD, fold
from bnnzoo.formats.lce.folding_shapes import FOLD_SHAPES
from bnnzoo.formats.lce.model_file import ABSENT, ModelFile, OperatorEntry
from bnnzoo.formats.lce.parsing import parse
from bnnzoo.formats.lce.reading import Condition, Constant, Operation, Reading, Value
from bnnzoo.formats.lce.reading_operators import READ
from bnnzoo.formats.lce.reading_ranges import RESULT
from bnnzoo.formats.lce.writer import INFO_KEY
from bnnzoo.formats.network_info import NetworkInfo, names_fit
from bnnzoo.formats.reading import from_file
from bnnzoo.formats.strict_json import decode, readable, shown
from bnnzoo.graph.ir import Graph
from bnnzoo.graph.passes.binary_kernels import binary_kernels
from bnnzoo.graph.passes.distinct_outputs import distinct_outputs

__all__ = ["from_bytes", "read"]

_NAMELESS = "tflite"


def read(path: str | os.PathLike[str]) -> tuple[Graph, NetworkInfo]:
    """Returns the network of a file, named after the file if it has no name; see `from_bytes`."""
    graph, info = from_file(path, from_bytes)
    if info.name == _NAMELESS:
        info = dataclasses.replace(info, name=readable(Path(path).stem) or _NAMELESS)
    return graph, info


def from_bytes(data: bytes) -> tuple[Graph, NetworkInfo]:
    """Returns the network of a `.tflite` file, and its metadata.

    Raises:
        ModelFormatError: The file is damaged, or has something that is not supported.
        MissingDependencyError: No package that ships the schema is installed.
    """
    file = parse(data)
    graph = _graph(file, len(data))
    try:
        check_stored(graph)
        graph = binary_kernels(graph)
        types = check_stored(graph)
    except GraphError as error:
        raise ModelFormatError(str(error)) from error
    info = _info(file)
    classes = types[graph.outputs[0]].shape[-1]
    names = info.labels if len(graph.outputs) == 1 else None
    if names is not None and not names_fit(len(names), classes):
        raise ModelFormatError(f"info must have {classes} labels, got {len(names)}.")
    return graph, info


def _graph(file: ModelFile, file_bytes: int) -> Graph:
    _check_kinds(file)
    reading = Reading(file, file_bytes)
    reading.feed()
    for index, entry in _single_results(file):
        operation = Operation(reading, entry, index)
        present = (i for i in entry.inputs if i != ABSENT)
        if all(isinstance(reading.values.get(i), Constant) for i in present):
            operation.finish(fold(operation))
        else:
            operation.finish(_read(operation))
    return distinct_outputs(reading.builder.graph(*_outputs(reading)))


def _read(operation: Operation) -> Value | Constant | Condition:
    if operation.kind not in READ:
        raise operation.wrong("it must be computed from constants alone")
    return READ[operation.kind](operation)


def _check_kinds(file: ModelFile) -> None:
    unknown = sorted(
        {entry.kind for entry in file.operators} - READ.keys() - FOLD.keys() - FOLD_SHAPES.keys()
    )
    if unknown:
        raise ModelFormatError(
            f"it has unsupported operators: {shown(', '.join(unknown))}. The page on Larq Compute "
            "Engine lists the supported ones; convert the Keras model itself, if you have it."
        )


def _single_results(file: ModelFile) -> Iterator[tuple[int, OperatorEntry]]:
    """Yields operators with their index; one with several results once per result."""
    for index, entry in enumerate(file.operators):
        if entry.kind != "SPLIT":
            yield index, entry
            continue
        for place, output in enumerate(entry.outputs):
            options = {**entry.options, RESULT: place}
            yield index, dataclasses.replace(entry, outputs=(output,), options=options)


def _outputs(reading: Reading) -> tuple[str, ...]:
    if not 0 < len(reading.file.outputs) <= MAX_PORTS:
        raise ModelFormatError(
            f"it must have 1 to {MAX_PORTS} outputs, got {len(reading.file.outputs)}."
        )
    names = []
    for index in reading.file.outputs:
        value = reading.values.get(index)
        if not isinstance(value, Value) or value.type.kind != "real":
            raise ModelFormatError(
                f"output {index} must be float32 or quantized numbers that depend on the input."
            )
        names.append(value.name)
    return tuple(names)


def _info(file: ModelFile) -> NetworkInfo:
    if INFO_KEY not in file.metadata:
        return NetworkInfo(_NAMELESS)
    try:
        text = file.metadata[INFO_KEY].decode()
    except UnicodeDecodeError as error:
        raise ModelFormatError(f"metadata '{INFO_KEY}' is not UTF-8.") from error
    return NetworkInfo.from_dict(decode(text, f"metadata '{INFO_KEY}'"))
