"""Live ranges of values, which decide what can share memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bnnzoo.graph.ir import Graph, Type
from bnnzoo.runtime.lowering import TAPS, Call

__all__ = ["Read", "Value", "extent", "liveness"]


@dataclass(frozen=True)
class Read:
    """A read of a value.

    Attributes:
        time: Time of the read; each node of each call has a time, in order.
        end: Time of the last node of the same call.
        pixelwise: Whether only the channels of the pixel that the call writes next are read.
    """

    time: float
    end: float
    pixelwise: bool


@dataclass(eq=False)
class Value:
    """A value in memory.

    Attributes:
        name: Its name in the graph.
        time: Time of the write.
        call: Index of the call that writes it; -1 for an input.
        reads: Its reads. Outputs are read after all calls.
        first: Time of the first write of its sources.
        sources: The written values that it consists of: itself, or those that it is a view of.
    """

    name: str
    time: float
    call: int
    reads: list[Read] = field(default_factory=list)
    first: float = 0.0
    sources: frozenset[Value] = frozenset()

    def __post_init__(self) -> None:
        self.first, self.sources = self.time, frozenset([self])


def extent(call: Call, types: Mapping[str, Type]) -> tuple[int, ...]:
    """Returns the shape over which a call computes its epilogue."""
    if call.value is not None:
        return types[call.value].shape
    first = call.epilogue[0]
    return types[first.inputs[0] if first.op in TAPS else first.name].shape


def liveness(graph: Graph, types: Mapping[str, Type], calls: Sequence[Call]) -> dict[str, Value]:
    """Returns the values that must be in memory, by name."""
    needed = {*graph.inputs, *graph.outputs}
    needed.update(name for call in calls for name in call.inputs)
    needed.update(name for call in calls for part in call.epilogue for name in part.inputs[1:])
    values = {name: Value(name, -1.0, -1) for name in graph.inputs}
    time = 0.0
    for index, call in enumerate(calls):
        end = time + len(call.epilogue)
        shape = extent(call, types)
        for name in call.inputs:
            same = call.op == "elementwise" and types[name].shape == shape
            values[name].reads.append(Read(time, end, same))
        if call.value in needed and call.value is not None:
            values[call.value] = Value(call.value, time, index)
        for at, part in enumerate(call.epilogue, start=1):
            for name in part.inputs[1:]:
                values[name].reads.append(Read(time + at, end, types[name].shape == shape))
            if part.name in needed:
                values[part.name] = Value(part.name, time + at, index)
        time = end + 1
    for name in graph.outputs:
        values[name].reads.append(Read(math.inf, math.inf, False))
    return values
