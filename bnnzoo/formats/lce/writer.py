"""Writes a network for Larq Compute Engine."""

from __future__ import annotations

import dataclasses

from bnnzoo.formats import Network, Written
from bnnzoo.formats.lce.emitter import Emitter
from bnnzoo.formats.lce.emitting import EMIT
from bnnzoo.formats.lce.preparing import prepare
from bnnzoo.formats.lce.serializing import serialize
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.formats.strict_json import encode

__all__ = ["INFO_KEY", "write"]

# Name of the metadata entry with the facts about a network; other readers ignore it.
INFO_KEY = "bnnzoo_info"


def write(network: Network) -> Written:
    """Returns the `.tflite` file of a network.

    Raises:
        ConversionError: A node has no operator in TensorFlow Lite or Larq Compute Engine.
        MissingDependencyError: No package that ships the schema is installed.
    """
    emitter = Emitter(prepare(network.graph))
    for node in emitter.graph.nodes:
        if node.name not in emitter.absorbed:
            EMIT[node.op](emitter, node)
    data = serialize(emitter.file({INFO_KEY: _facts(network.info)}))
    del emitter.bytes["structure"]
    sizes = dict(sorted(emitter.bytes.items()))
    sizes["structure"] = len(data) - sum(sizes.values())
    return Written({"": data}, sizes, tuple(emitter.notes))


def _facts(info: NetworkInfo) -> bytes:
    """Returns the facts without those about the layers of the Keras model."""
    kept = dataclasses.replace(info, architecture=None, keras_config=None)
    return encode(kept.to_dict()).encode()
