"""The origin of a conversion from a packed file or another format, without Keras."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.conversion.report import LayerReport, layer_report
from bnnzoo.data import preprocessing as preprocessings
from bnnzoo.data.preprocessing import Preprocessing
from bnnzoo.data.sources import Data
from bnnzoo.evaluation import Report, evaluate
from bnnzoo.formats import FORMATS, packed
from bnnzoo.formats.packed import PackedFile
from bnnzoo.graph.interpreter import run
from bnnzoo.graph.ops import infer_types
from bnnzoo.snapshot import Snapshot

__all__ = ["FileOrigin"]


class FileOrigin:
    """The graph in a file, run by the reference interpreter.

    Args:
        path: A file whose suffix is that of a format that can be read.
        preprocessing: A `Preprocessing` or its id. Defaults to the file's own.

    Raises:
        ModelFormatError: The file does not exist, is broken, or has something unsupported.
    """

    name = "the file"

    def __init__(self, path: Snapshot, preprocessing: str | Preprocessing | None = None) -> None:
        kind = next(f for f in FORMATS if f.is_read and f.suffix == path.suffix)
        self.graph, self.info = importlib.import_module(kind.module).read(path)
        if preprocessing is not None:
            self.info = replace(self.info, preprocessing=preprocessings.known_id(preprocessing))
        self.bytes = len(path.read_bytes())
        if kind.beside:
            self.bytes += path.with_suffix(kind.beside).stat().st_size
        self._types = infer_types(self.graph)

    def values(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        """Returns all values for some inputs as float32, with levels as real numbers."""
        return {name: self._number(name, value) for name, value in run(self.graph, inputs).items()}

    def _number(self, name: str, value: NDArray[Any]) -> NDArray[np.float32]:
        levels = self._types[name].kind == "levels"
        steps = 2.0 ** self._types[name].bits - 1 if levels else 1.0
        return np.asarray(value / steps, np.float32)

    def evaluate(self, data: Data, **options: Any) -> Report:
        """Measures the network in the runtime, with the weights in the file."""
        content = packed.to_bytes(self.graph, self.info)
        path = Snapshot.holding(Path(f"{self.info.name}.safetensors"), content)
        return evaluate(path, data, **options)

    def layers(self, file: PackedFile) -> tuple[LayerReport, ...]:
        """Returns a report of every convolution, in order."""
        nodes = [node for node in file.graph.nodes if "kernel" in node.tensors]
        return tuple(
            layer_report(n.name, n.op, [n], file, "it is real-valued in the file", False)
            for n in nodes
        )
