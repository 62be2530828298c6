"""The graph that a packed file of a Keras model holds, without the file."""

from __future__ import annotations

from typing import Any

from bnnzoo.formats import packed
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.graph import passes
from bnnzoo.graph.ir import Graph
from bnnzoo.keras_bridge.float32_copy import computing_in_float32
from bnnzoo.keras_bridge.from_keras import from_keras

__all__ = ["packed_graph"]


def packed_graph(model: Any) -> Graph:
    """Returns the graph of a model as `bnnzoo.convert` would write it, and read it back.

    Raises:
        ConversionError: A layer cannot be converted.
    """
    graph, _ = passes.apply(from_keras(computing_in_float32(model)), passes.STORED)
    return packed.from_bytes(packed.to_bytes(graph, NetworkInfo(model.name))).graph
