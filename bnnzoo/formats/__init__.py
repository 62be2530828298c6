"""File formats for networks: one module per format, one line per format in `FORMATS`.

The module of a format has `write(network: Network) -> Written`, and, if such files are read,
`read(path) -> tuple[Graph, NetworkInfo]`. The packed file is written by `convert` itself, which
compares it with the model whatever format is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.graph.ir import Graph

__all__ = ["FORMATS", "Format", "Network", "Written"]


@dataclass(frozen=True)
class Format:
    """One row of the table of formats.

    Attributes:
        name: As `--format` takes it.
        suffix: End of the file's name; "" for a format that is a folder.
        summary: Who reads it, in a few words.
        module: Where it is written and read.
        is_read: Whether `convert` takes such a file as its source.
    """

    name: str
    suffix: str
    summary: str
    module: str
    is_read: bool = False


@dataclass(frozen=True)
class Network:
    """What a format writes.

    Attributes:
        graph: As a front end or a file gives it, before any pass.
        info: The facts beside it.
        sample: An input for self-tests, float32 `(1, ...)`, preprocessed; several by name.
        pixel_mean: Per channel; pixels (0 to 255) become the one input as (pixel - mean) / std.
            None where the preprocessing is not known, or there are several inputs.
        pixel_std: See `pixel_mean`.
    """

    graph: Graph
    info: NetworkInfo
    sample: NDArray[np.float32] | Mapping[str, NDArray[np.float32]]
    pixel_mean: tuple[float, ...] | None = None
    pixel_std: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Written:
    """The output of a format, before it is written.

    Attributes:
        files: Content by name below the folder; a format of one file has the name "".
        bytes: What the bytes are for -> how many, for the report.
        notes: Sentences that the report repeats.
        ram_bytes: Memory for values that the format plans; None where a runtime decides.
    """

    files: Mapping[str, bytes]
    bytes: Mapping[str, int]
    notes: tuple[str, ...] = ()
    ram_bytes: int | None = None


FORMATS = (
    Format("packed", ".safetensors", "bnnzoo's runtime", "bnnzoo.formats.packed", is_read=True),
    Format("lce", ".tflite", "Larq Compute Engine", "bnnzoo.formats.lce", is_read=True),
    Format("c", "", "microcontrollers, as C99 source", "bnnzoo.formats.c_source"),
    Format("qonnx", ".onnx", "FINN, hls4ml and ONNX Runtime", "bnnzoo.formats.qonnx"),
)
