"""Writes QONNX files."""

from __future__ import annotations

import json
from collections.abc import Mapping

from bnnzoo.formats import Network, Written
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.formats.qonnx.arranging import Arrangement
from bnnzoo.formats.qonnx.drawing import Drawing
from bnnzoo.formats.qonnx.model_proto import to_bytes
from bnnzoo.formats.qonnx.operations import draw
from bnnzoo.graph import passes
from bnnzoo.graph.ir import Graph
from bnnzoo.graph.passes.drop_unused import drop_identities, drop_unused
from bnnzoo.graph.passes.flatten_channels_first import flatten_channels_first
from bnnzoo.graph.passes.fold_padding import fold_padding
from bnnzoo.graph.passes.steady_signs import steady_signs

__all__ = ["drawn", "write"]

_PASSES = (
    # ONNX multiplies and adds in float32; the runtime compares integer counts.
    steady_signs,
    drop_identities,
    fold_padding,
    drop_unused,
    # After these passes, there is one reshape between an image and a dense layer.
    flatten_channels_first,
)


def write(network: Network) -> Written:
    """Returns the ONNX file of a network, for one image at a time.

    Raises:
        ConversionError: A node quantizes its input to 8 bits, or the file would be larger than ONNX
            allows.
        MissingDependencyError: The package `onnx` is not installed.
    """
    page = drawn(network.graph)
    graph, info = page.graph, network.info
    data = to_bytes(page.drawing, tuple(graph.inputs), graph.outputs, info.name, _facts(network))
    sizes = _sizes(page.drawing)
    sizes["graph"] = len(data) - sum(sizes.values())
    return Written({"": data}, sizes, tuple(_note(page, name) for name in graph.inputs))


def _note(page: Arrangement, name: str) -> str:
    shape = page.drawing.tensors[name].shape
    order = ": channels first" if len(shape) == 4 else ""
    return f"The input '{name}' is {shape}{order}, float32, preprocessed."


def drawn(graph: Graph) -> Arrangement:
    """Prepares a graph and returns its ONNX graph."""
    return draw(passes.apply(graph, _PASSES)[0])


def _sizes(drawing: Drawing) -> dict[str, int]:
    """Returns the size of the constants by kind."""
    sizes = {"binary kernels": 0, "float kernels": 0, "scales and biases": 0}
    kernels = {n.inputs[1] for n in drawing.nodes if n.op in ("Conv", "ConvTranspose", "MatMul")}
    kernels |= {n.inputs[0] for n in drawing.nodes if n.domain and n.output in kernels}
    for name, array in drawing.constants.items():
        binary = drawing.tensors[name].datatype == "BIPOLAR"
        part = "binary" if binary else "float"
        sizes[f"{part} kernels" if name in kernels else "scales and biases"] += array.nbytes
    return sizes


def _facts(network: Network) -> Mapping[str, str]:
    """Returns the facts about a network as strings; other values as JSON."""
    info: NetworkInfo = network.info
    facts = {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in info.to_dict().items()
        if key not in ("keras_config", "architecture")
    }
    for key, values in (("pixel_mean", network.pixel_mean), ("pixel_std", network.pixel_std)):
        if values is not None:
            facts[key] = json.dumps(list(values))
    return facts
