"""Elementwise operations join the node whose value they start from, as its epilogue.

The value is still in registers then: nothing is stored that only the next operation reads. The
schedule stays valid at every step: a group takes a node only if the node's other inputs are
computed before the group, or if the group can move behind them.
"""

from __future__ import annotations

import dataclasses

from bnnzoo.graph.ir import Graph, Node, Type
from bnnzoo.graph.ops import infer_types

__all__ = ["group_epilogues"]

_REAL = ("affine", "clip", "prelu", "add", "subtract", "multiply")
_TAPS = ("sign", "quantize")  # read the running value and leave it as it is
_STEPS = _REAL + _TAPS
_HEADS = ("bconv2d", "conv2d", "max_pool2d", "avg_pool2d", *_REAL)


class _Group:
    """A head with the nodes that joined it."""

    def __init__(self, head: Node) -> None:
        self.nodes = [head]
        self.running = head.name  # the last real value
        self.open = head.op in _HEADS

    def extend(self, node: Node) -> None:
        """Computes `node` from the running value, which its own value replaces."""
        self.nodes.append(node)
        self.running = node.name

    def tap(self, node: Node) -> None:
        """Computes bits or levels right after the value that they are made of."""
        names = [part.name for part in self.nodes]
        self.nodes.insert(names.index(node.inputs[0]) + 1, node)

    def reads(self, names: set[str]) -> bool:
        """Returns whether any node of the group reads one of the values."""
        return any(name in names for node in self.nodes for name in node.inputs)

    def names(self) -> set[str]:
        """Returns the names of its values."""
        return {node.name for node in self.nodes}

    def fused(self) -> Node:
        """Returns the head with the others as its epilogue."""
        head, *rest = self.nodes
        return dataclasses.replace(head, epilogue=tuple(rest)) if rest else head


def group_epilogues(graph: Graph) -> Graph:
    """Returns the graph with its elementwise operations in epilogues where that is possible."""
    types = infer_types(graph)
    schedule: list[_Group] = []
    group_of: dict[str, _Group] = {}
    for node in graph.nodes:
        group = _join(node, schedule, group_of, types) if node.op in _STEPS else None
        if group is None:
            group = _Group(node)
            schedule.append(group)
        group_of[node.name] = group
    return dataclasses.replace(graph, nodes=tuple(group.fused() for group in schedule))


def _join(
    node: Node, schedule: list[_Group], group_of: dict[str, _Group], types: dict[str, Type]
) -> _Group | None:
    """Adds the node to a group that can take it, the latest first; None where there is none."""
    sources = node.inputs if node.op in ("add", "multiply") else node.inputs[:1]
    groups = [(schedule.index(group_of[v]), v) for v in sources if v in group_of]
    for position, value in sorted(groups, reverse=True):
        group = schedule[position]
        if not group.open:
            continue
        if node.op in _TAPS:
            group.tap(node)
            return group
        others = [name for name in node.inputs if name != value]
        if (
            group.running != value
            or len(others) != len(node.inputs) - 1
            or not all(_fits(types[name], types[value]) for name in others)
        ):
            continue
        if _make_ready(group, position, others, schedule, group_of):
            group.extend(dataclasses.replace(node, inputs=(value, *others)))
            return group
    return None


def _fits(operand: Type, value: Type) -> bool:
    """Returns whether an operand has one number per channel, for all pixels or for each."""
    pairs = zip(operand.shape[:-1], value.shape[:-1], strict=True)
    return operand.shape[-1] == value.shape[-1] and all(a in (1, b) for a, b in pairs)


def _make_ready(
    group: _Group,
    position: int,
    others: list[str],
    schedule: list[_Group],
    group_of: dict[str, _Group],
) -> bool:
    """Brings the group behind all of the others; False where something in between reads it."""
    needed = [group_of[name] for name in others if name in group_of]
    if group in needed:
        return False
    behind = schedule[position + 1 :]
    if not any(other in behind for other in needed):
        return True
    names = group.names()
    if any(later.reads(names) for later in behind):
        return False
    del schedule[position]
    schedule.append(group)
    return True
