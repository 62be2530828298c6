"""Builds the engine that runs a graph.

    graph -> legalize -> calls -> places of values -> arena -> program

Every step has its module: `lowering` (with `pooling` and `eight_bits`), `layout` (with `borders`
and `liveness`), `memory`, `writer` (with `parameters`, `windows` and `strided`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bnnzoo.errors import GraphError
from bnnzoo.graph.ir import Graph, Type
from bnnzoo.graph.ops import infer_types
from bnnzoo.runtime.eight_bits import with_levels
from bnnzoo.runtime.extension import engine
from bnnzoo.runtime.layout import place_values
from bnnzoo.runtime.lowering import calls, legalize
from bnnzoo.runtime.memory import Memory
from bnnzoo.runtime.pooling import pool_in_strips
from bnnzoo.runtime.writer import Writer

__all__ = ["Plan", "plan"]


@dataclass(frozen=True)
class Plan:
    """A planned network, ready to run.

    Attributes:
        engine: The native engine with its program.
        owners: Name and operation of the node that each operation of the engine belongs to.
        output_shapes: Shapes of the outputs without the batch axis.
        arena_bytes: Memory for the values of one image.
        macs: Multiply-accumulates for one image, by name of the convolution.
        binary: Names of the convolutions that multiply signs by a binary kernel.
    """

    engine: Any
    owners: tuple[tuple[str, str], ...]
    output_shapes: tuple[tuple[int, ...], ...]
    arena_bytes: int
    macs: dict[str, int]
    binary: frozenset[str]


def plan(graph: Graph, isa: str, threads: int) -> Plan:
    """Plans and builds a graph for an instruction set.

    Raises:
        GraphError: The graph is invalid, needs too much memory, or has sizes that the engine does
            not support.
    """
    graph = legalize(graph)
    types = infer_types(graph)
    outputs = tuple(types[name].shape for name in graph.outputs)
    order = pool_in_strips(calls(graph, types), types, graph.outputs)
    order = with_levels(order, types, engine().level_bytes(isa))
    layout = place_values(graph, types, order)
    memory = Memory(layout, engine().expansion(isa))
    try:
        writer = Writer(graph, types, layout, memory, isa)
        for call in order:
            writer.write(call)
        built = engine().Engine(writer.program, threads)
    except ValueError as error:
        raise GraphError(f"The runtime cannot run this network: {error}") from error
    binary = frozenset(
        node.name
        for node in graph.nodes
        if node.op.startswith("bconv2d") and types[node.inputs[0]].kind == "bits"
    )
    return Plan(built, tuple(writer.owners), outputs, memory.size, _macs(graph, types), binary)


def _macs(graph: Graph, types: Mapping[str, Type]) -> dict[str, int]:
    """Returns the multiply-accumulates of every convolution, including taps on the border."""
    return {
        node.name: math.prod(types[node.name].shape)
        * math.prod(graph.tensors[node.tensors["kernel"]].shape[1:])
        for node in graph.nodes
        if "kernel" in node.tensors
    }
