"""Calls of C functions, and the state while a graph is lowered to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.formats.c_source.constants import Constants
from bnnzoo.graph.ir import Graph, Node, Type

__all__ = ["Call", "Lower", "Lowering", "cells", "elementwise", "planes", "words"]


@dataclass(frozen=True)
class Call:
    """One call of a C function.

    Attributes:
        function: Name of the function and of its template.
        struct: Type of its settings.
        settings: Fields of the settings, as `text.initializer` takes them.
        reads: Names of the values read, at most two.
        writes: Name of the value written.
        nodes: The nodes it computes, for the comment.
        needs: Further templates.
        over: Values that it may overwrite.
        scratch: Cells of scratch memory, passed instead of a second input.
        begin_x: Offset in the first input, in cells.
        begin_y: Offset in the value written, in cells.
    """

    function: str
    struct: str
    settings: Mapping[str, Any]
    reads: tuple[str, ...]
    writes: str
    nodes: tuple[Node, ...]
    needs: tuple[str, ...] = ()
    over: tuple[str, ...] = ()
    scratch: int = 0
    begin_x: int = 0
    begin_y: int = 0


@dataclass
class Lowering:
    """A graph that is being lowered to calls.

    Attributes:
        graph: The graph, after the passes.
        types: Types of its values.
        constants: Arrays of the source; nodes add theirs.
        views: Reshape -> its source, if it needs no call.
    """

    graph: Graph
    types: Mapping[str, Type]
    constants: Constants = field(default_factory=Constants)
    views: dict[str, str] = field(default_factory=dict)

    def array(self, node: Node, role: str, values: NDArray[Any] | None = None) -> str | None:
        """Returns the C name of an array of a node: of `values`, or by default of the tensor."""
        if values is None:
            tensor = self.graph.tensor(node, role)
            if tensor is None:
                return None
            values = np.asarray(tensor, np.float64)
        return self.constants.add(values, role, node.name)

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape of a value."""
        return self.types[name].shape


# Yields the calls that compute a node.
Lower = Callable[[Node, Lowering], Iterator[Call]]


def words(channels: int) -> int:
    """Returns the number of 32-bit words for the channels of a pixel."""
    return -(-channels // 32)


def planes(type_: Type) -> int:
    """Returns the number of bit planes of levels, 0 for signs."""
    return type_.bits if type_.kind == "levels" else 0


def cells(type_: Type) -> int:
    """Returns the size of a value in cells."""
    if type_.kind == "real":
        return math.prod(type_.shape)
    return math.prod(type_.shape[:-1]) * max(1, planes(type_)) * words(type_.shape[-1])


def elementwise(node: Node, lowering: Lowering, function: str, struct: str, **fields: Any) -> Call:
    """Returns an elementwise call, which may overwrite its input if both are real numbers."""
    (x,) = node.inputs
    kinds = {lowering.types[name].kind for name in (x, node.name)}
    return Call(
        function,
        struct,
        {"count": math.prod(lowering.shape(x)), **fields},
        (x,),
        node.name,
        (node,),
        over=(x,) if kinds == {"real"} else (),
    )
