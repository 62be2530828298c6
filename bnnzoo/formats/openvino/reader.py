"""Reads networks of OpenVINO."""

from __future__ import annotations

import os
from pathlib import Path

from bnnzoo.errors import ModelFormatError
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.formats.openvino.ir_file import IrFile, parse
from bnnzoo.formats.openvino.reading_layers import FOLD_LAYERS, READ_LAYERS
from bnnzoo.formats.openvino.translating import translated
from bnnzoo.formats.qonnx.reader import finished, read_operators
from bnnzoo.formats.qonnx.reading import Reading, Value
from bnnzoo.formats.reading import from_file
from bnnzoo.formats.strict_json import readable
from bnnzoo.graph.ir import Graph

__all__ = ["from_bytes", "read"]


def read(path: str | os.PathLike[str]) -> tuple[Graph, NetworkInfo]:
    """Returns the network of an `.xml` file, with the weights in the `.bin` file next to it.

    See `from_bytes`.
    """
    path = Path(path) if not isinstance(path, Path) else path
    return from_file(path, lambda xml: from_bytes(xml, _weights(path), name=path.stem))


def _weights(path: Path) -> bytes:
    file = Path(os.fspath(path)).with_suffix(".bin")
    try:
        return file.read_bytes()
    except OSError as error:
        raise ModelFormatError(
            f"its weights must be in {file.name} in the same folder, which cannot be read: "
            f"{error.strerror}."
        ) from error


def from_bytes(xml: bytes, weights: bytes, *, name: str = "openvino") -> tuple[Graph, NetworkInfo]:
    """Returns a network. Its images are channels last.

    Args:
        xml: Contents of the `.xml` file.
        weights: Contents of the `.bin` file.
        name: Used if the network has no name.

    Raises:
        ModelFormatError: A file is damaged, or contains an unsupported layer or setting.
    """
    file = parse(xml, weights)
    reading = read_operators(
        translated(file), len(xml) + len(weights), read=READ_LAYERS, folds=FOLD_LAYERS
    )
    _check_shapes(file, reading)
    graph, _ = finished(reading)
    return graph, NetworkInfo(readable(file.name) or readable(name) or "openvino")


def _check_shapes(file: IrFile, reading: Reading) -> None:
    """Compares the computed shapes of layer outputs with those stored in the file."""
    for layer in file.layers:
        found = reading.values.get(layer.outputs[0])
        if not isinstance(found, Value):
            continue
        stored = layer.shapes[0]
        if len(stored) != len(found.shape) or any(
            n not in (None, m) for n, m in zip(stored[1:], found.shape[1:], strict=True)
        ):
            raise layer.wrong(
                f"its output must have the computed shape {found.shape}, got {stored}"
            )
