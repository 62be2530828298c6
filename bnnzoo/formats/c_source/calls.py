"""Calls of C functions, and the state of lowering a graph to them."""

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
        function: Name of the function, which is that of its part of the templates.
        struct: Type of its settings.
        settings: Their fields, as `text.initializer` takes them.
        reads: Names of one or two values; none where only memory is filled.
        writes: Name of a value.
        nodes: What is computed, for the comment.
        needs: Further parts of the templates.
        over: Values that it may write over.
        scratch: Cells that it works in; they take the place of a second input.
        begin_x: Cells to leave out in front of the first input.
        begin_y: Cells to leave out in front of what is written.
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
    """A graph on its way to calls.

    Attributes:
        graph: After the passes.
        types: Of its values.
        constants: Arrays of the source; nodes add theirs.
        views: Reshape -> its source, where it needs no call.
    """

    graph: Graph
    types: Mapping[str, Type]
    constants: Constants = field(default_factory=Constants)
    views: dict[str, str] = field(default_factory=dict)

    def array(self, node: Node, role: str, values: NDArray[Any] | None = None) -> str | None:
        """Returns the name in C of an array of a node, which is that tensor if none is given."""
        if values is None:
            tensor = self.graph.tensor(node, role)
            if tensor is None:
                return None
            values = np.asarray(tensor, np.float64)
        return self.constants.add(values, role, node.name)

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape of a value."""
        return self.types[name].shape


# Yields the calls that a node becomes.
Lower = Callable[[Node, Lowering], Iterator[Call]]


def words(channels: int) -> int:
    """Returns how many words of 32 bits the channels of a pixel take."""
    return -(-channels // 32)


def planes(type_: Type) -> int:
    """Returns the planes of levels, 0 for signs."""
    return type_.bits if type_.kind == "levels" else 0


def cells(type_: Type) -> int:
    """Returns how many cells a value takes."""
    if type_.kind == "real":
        return math.prod(type_.shape)
    return math.prod(type_.shape[:-1]) * max(1, planes(type_)) * words(type_.shape[-1])


def elementwise(node: Node, lowering: Lowering, function: str, struct: str, **fields: Any) -> Call:
    """Returns a call over all numbers of a value, which it may write over if it makes numbers."""
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
