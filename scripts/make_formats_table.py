"""Writes the table of docs/deployment.md: which architecture goes where, and how large it is.

    python scripts/make_formats_table.py

Each cell is the network at its usual image size, with random weights, as `convert` would write it.
It takes a minute. tests/formats/test_table.py makes each cell again.
"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path

import numpy as np

from bnnzoo import registry
from bnnzoo.errors import ConversionError
from bnnzoo.formats import WRITTEN, Network
from bnnzoo.formats.c_source.lowering import prepare
from bnnzoo.formats.c_source.source import Source
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.formats.packed import to_bytes
from bnnzoo.graph.passes import STORED, apply
from bnnzoo.keras_bridge.from_keras import from_keras

PAGE = Path(__file__).parents[1] / "docs" / "deployment.md"
BEGIN, END = "<!-- formats -->\n", "<!-- end of formats -->\n"
NEVER = "no"


def cell(name: str, format_name: str) -> str:
    """Returns what the table says of an architecture in a format."""
    network = _network(name)
    if format_name == "packed":
        graph = apply(network.graph, STORED)[0]
        return _megabytes(len(to_bytes(graph, network.info)))
    if format_name == "c":
        source = Source(network, prepare(network.graph))
        constants = source.lowered[1].constants
        flash = sum(constants.bytes(bits=bits) for bits in (True, False))
        return f"{_megabytes(flash)} + {_megabytes(source.arena_bytes)}"
    module = next(f.module for f in WRITTEN if f.name == format_name)
    try:
        written = importlib.import_module(module).write(network)
    except ConversionError:
        return NEVER
    return _megabytes(sum(map(len, written.files.values())))


@functools.lru_cache(maxsize=1)
def _network(name: str) -> Network:
    graph = from_keras(registry.builder(name)())
    return Network(graph, NetworkInfo(name), np.zeros((1, *graph.input_shape), np.float32))


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.2f}"


def table() -> str:
    """Returns the table."""
    names = [f.name for f in WRITTEN]
    lines = [
        "| Network | " + " | ".join(f"`{name}`" for name in names) + " |",
        "|---|" + "--:|" * len(names),
    ]
    for name in registry.list_models():
        lines.append(f"| `{name}` | " + " | ".join(cell(name, known) for known in names) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Writes the table into the page."""
    before, rest = PAGE.read_text().split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}")


if __name__ == "__main__":
    main()
