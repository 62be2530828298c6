"""File formats for networks: one module per format, one line per format in `FORMATS`.

The module of a format has `write(network: Network) -> Written` if it is written, and if it is read,
`read(path) -> tuple[Graph, NetworkInfo]`. The packed file is written by `convert` itself, which
compares it with the model for every format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.graph.ir import Graph

__all__ = ["FORMATS", "WRITTEN", "Format", "Network", "Written"]


@dataclass(frozen=True)
class Format:
    """One row of the table of formats.

    Attributes:
        name: Name for `--format`.
        suffix: Suffix of the file; "" for a format that is a folder.
        summary: What reads it, in a few words.
        module: The module that writes and reads it.
        is_read: Whether `convert` can read such a file.
        is_written: Whether `convert` can write one.
        beside: Suffix of a second file that belongs to each.
    """

    name: str
    suffix: str
    summary: str
    module: str
    is_read: bool = False
    is_written: bool = True
    beside: str = ""


@dataclass(frozen=True)
class Network:
    """A network to be written.

    Attributes:
        graph: The graph from a front end or a file, before any pass.
        info: Metadata.
        sample: A preprocessed input for self-tests, float32 `(1, ...)`; several inputs by name.
        pixel_mean: Per channel; pixels (0 to 255) become the input as (pixel - mean) / std. None
            if the preprocessing is unknown, or there are several inputs.
        pixel_std: See `pixel_mean`.
    """

    graph: Graph
    info: NetworkInfo
    sample: NDArray[np.float32] | Mapping[str, NDArray[np.float32]]
    pixel_mean: tuple[float, ...] | None = None
    pixel_std: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Written:
    """The output of a format, before it is written to disk.

    Attributes:
        files: Contents by file name in the folder; the name is "" for a format of one file.
        bytes: Number of bytes by purpose, for the report.
        notes: Sentences for the report.
        ram_bytes: Memory that the format plans for values; None if a runtime plans it.
    """

    files: Mapping[str, bytes]
    bytes: Mapping[str, int]
    notes: tuple[str, ...] = ()
    ram_bytes: int | None = None


FORMATS = (
    Format("packed", ".safetensors", "bnnzoo's runtime", "bnnzoo.formats.packed", is_read=True),
    Format("lce", ".tflite", "Larq Compute Engine", "bnnzoo.formats.lce", is_read=True),
    Format("c", "", "microcontrollers, as C99 source", "bnnzoo.formats.c_source"),
    Format("qonnx", ".onnx", "FINN, hls4ml and ONNX Runtime", "bnnzoo.formats.qonnx", is_read=True),
    Format(
        "openvino", ".xml", "OpenVINO: an .xml file with its .bin", "bnnzoo.formats.openvino",
        is_read=True, is_written=False, beside=".bin",
    ),
)  # fmt: skip
WRITTEN = tuple(known for known in FORMATS if known.is_written)
