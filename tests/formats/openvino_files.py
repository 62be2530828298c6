"""Builds small OpenVINO networks layer by layer."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import numpy as np

__all__ = ["Ir"]

_KINDS = {"float32": "f32", "float16": "f16", "int64": "i64", "int32": "i32", "uint8": "u8"}


class Ir:
    """A network with one input.

    Args:
        shape: Of the input.
        settings: Other attributes of the input.
    """

    def __init__(self, shape: str = "1,3,6,5", **settings: str) -> None:
        self.net = ElementTree.Element("net", name="net", version="11")
        self.layers = ElementTree.SubElement(self.net, "layers")
        self.edges = ElementTree.SubElement(self.net, "edges")
        self.weights = b""
        self.input = self.layer(
            "Parameter", dims=shape, shape=shape, element_type="f32", **settings
        )

    def layer(self, kind: str, *inputs: str, dims: str = "1,?,?,?", **data: Any) -> str:
        """Adds a layer with one output, and returns its id."""
        id = str(len(self.layers))
        layer = ElementTree.SubElement(
            self.layers, "layer", id=id, name=f"{kind}_{id}", type=kind, version="opset1"
        )
        ElementTree.SubElement(layer, "data", {name: str(value) for name, value in data.items()})
        ports = ElementTree.SubElement(layer, "input") if inputs else None
        for place, source in enumerate(inputs):
            assert ports is not None
            ElementTree.SubElement(ports, "port", id=str(place))
            ElementTree.SubElement(
                self.edges, "edge",
                {"from-layer": source, "from-port": "9", "to-layer": id, "to-port": str(place)},
            )  # fmt: skip
        if kind != "Result":
            port = ElementTree.SubElement(ElementTree.SubElement(layer, "output"), "port", id="9")
            for length in dims.split(","):
                ElementTree.SubElement(port, "dim").text = length if length != "?" else "-1"
        return id

    def const(self, array: Any, kind: str | None = None, **data: Any) -> str:
        """Adds a constant. Values of type `u1` are packed eight per byte."""
        array = np.asarray(array)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        stored = np.packbits(array.reshape(-1), bitorder="little") if kind == "u1" else array
        settings = {
            "element_type": kind or _KINDS[array.dtype.name],
            "shape": ",".join(map(str, array.shape)),
            "offset": len(self.weights),
            "size": stored.nbytes,
            **data,
        }
        self.weights += stored.tobytes()
        return self.layer("Const", **settings)

    def files(self, output: str) -> tuple[bytes, bytes]:
        """Returns the `.xml` and the `.bin` file of the network that computes a value."""
        self.layer("Result", output)
        return ElementTree.tostring(self.net), self.weights
