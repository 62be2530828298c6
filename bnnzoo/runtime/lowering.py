"""Lowers a graph to an ordered list of engine calls.

A call is a head and an epilogue: elementwise operations on the channels of a pixel while they are
in registers, so that values read only by the next operation are not stored. Only this module of the
runtime decides what is fused. The order of the calls is valid at every step: an operation joins a
call only if its other inputs are computed before the call, or if the call can be moved after them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bnnzoo.errors import GraphError
from bnnzoo.graph.ir import Graph, Node, Type
from bnnzoo.graph.ops import infer_types
from bnnzoo.graph.passes.drop_unused import drop_unused, with_inputs
from bnnzoo.graph.passes.phases import phases
from bnnzoo.graph.passes.zero_padding import zero_padding

__all__ = ["BLOCK", "OWN", "TAPS", "Call", "calls", "legalize", "map_shape"]

# Channels per word of bits: `kBlock` of the kernels.
BLOCK = 64
# Part of the names of the planner's own values, which no name in a graph contains.
OWN = "\0"
# Each group of a convolution is a separate operation, except in a depthwise convolution.
_MAX_GROUPS = 4096

# Operations of an epilogue that read the running value without changing it.
TAPS = ("sign", "quantize")
_BINARY = ("add", "subtract", "multiply")
_STEPS = ("affine", "batch_norm", "clip", "prelu", *_BINARY, *TAPS)
_POOLS = ("max_pool2d", "avg_pool2d", "global_avg_pool2d", "global_max_pool2d")
_HEADS = ("bconv2d", "conv2d", *_POOLS)

Types = Mapping[str, Type]


@dataclass(frozen=True)
class Call:
    """The computation of one operation of the engine.

    Attributes:
        node: The head; for an elementwise call, the first node of the epilogue.
        op: The head's operation, or `elementwise`: an epilogue of a value in memory.
        inputs: Inputs of the head; for an elementwise call, the value that the epilogue starts
            from.
        value: The head's value; None for an elementwise call.
        epilogue: Operations on the running value, which is the first input of each. `TAPS` do not
            change it; further inputs of the others are read pixel by pixel.
        inner: For a `pooled_conv2d`, the epilogue of the convolution.
        pool: For a `pooled_conv2d`, the pooling after it, whose epilogue is `epilogue`.
    """

    node: Node
    op: str
    inputs: tuple[str, ...]
    value: str | None
    epilogue: tuple[Node, ...] = ()
    inner: tuple[Node, ...] = ()
    pool: Node | None = None


def map_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Returns the rows, columns and channels in memory of a value of any rank."""
    rows = 1
    for size in shape[:-2]:
        rows *= size
    return rows, shape[-2] if len(shape) > 1 else 1, shape[-1]


class _Group:
    """A head, or the first operation of an elementwise call, with the operations that joined it.

    Attributes:
        running: The last real value; None if nothing can join.
        takes_bits: Whether bits and levels can be computed from its values.
    """

    def __init__(self, node: Node, types: Types) -> None:
        self.head: Node | None = node
        self.epilogue: list[Node] = []
        self.running = node.name if node.op in _HEADS else None
        self.takes_bits = node.op in _HEADS
        if node.op in _HEADS:
            _check_groups(node, types)
            self.takes_bits = not _divides_blocks(node, types)
        elif _is_blockwise(node := _ordered(node, types), types):
            self.head, self.epilogue = None, [node]
            self.takes_bits = node.op not in TAPS
            self.running = node.name if self.takes_bits else None

    @property
    def nodes(self) -> list[Node]:
        """All nodes, in order."""
        return self.epilogue if self.head is None else [self.head, *self.epilogue]

    def extend(self, node: Node) -> None:
        """Computes `node` from the running value, which its own value replaces."""
        self.epilogue.append(node)
        self.running = node.name

    def tap(self, node: Node) -> None:
        """Computes bits or levels directly after the value that they are computed from."""
        names = [part.name for part in self.nodes]
        behind = names.index(node.inputs[0]) + (self.head is None)
        self.epilogue.insert(behind, node)

    def reads(self, names: set[str]) -> bool:
        """Returns whether any node of the group reads one of the values."""
        return any(name in names for node in self.nodes for name in node.inputs)

    def calls(self, types: dict[str, Type]) -> Iterator[Call]:
        """Yields the call, after one that gives each group of channels its own words if needed."""
        node, epilogue = self.head, tuple(self.epilogue)
        if node is None:
            yield Call(epilogue[0], "elementwise", epilogue[0].inputs[:1], None, epilogue)
            return
        inputs = node.inputs
        if node.op == "bconv2d" and _shares_words(node, types):
            inputs = (_regrouped(node, types),)
            yield Call(node, "regroup", node.inputs, inputs[0])
        yield Call(node, node.op, inputs, node.name, epilogue)


def calls(graph: Graph, types: dict[str, Type]) -> list[Call]:
    """Returns the calls of a graph from `legalize`; adds the types of its own values.

    Slices and reshapes directly follow what they are views of, so that nothing in between can
    overwrite their source.
    """
    behind: list[list[Call]] = [[]]
    place = dict.fromkeys(graph.inputs, 0)
    for call in (call for group in _grouped(graph, types) for call in group.calls(types)):
        if call.op in ("slice", "reshape"):
            place[call.node.name] = place[call.inputs[0]]
            behind[place[call.node.name]].append(call)
            continue
        for name in (call.value, *(part.name for part in call.epilogue)):
            if name is not None:
                place[name] = len(behind)
        behind.append([call])
    return [call for group in behind for call in group]


def _grouped(graph: Graph, types: Types) -> list[_Group]:
    """Returns the nodes of a graph in groups, in an order in which they can be computed."""
    schedule: list[_Group] = []
    group_of: dict[str, _Group] = {}
    for node in graph.nodes:
        group = _join(node, schedule, group_of, types) if node.op in _STEPS else None
        if group is None:
            group = _Group(node, types)
            schedule.append(group)
        group_of[node.name] = group
    return schedule


def _join(
    node: Node, schedule: list[_Group], group_of: Mapping[str, _Group], types: Types
) -> _Group | None:
    """Adds the node to the latest group that can take it; returns None if no group can."""
    sources = node.inputs if node.op in ("add", "multiply") else node.inputs[:1]
    groups = [(schedule.index(group_of[v]), v) for v in sources if v in group_of]
    for position, value in sorted(groups, reverse=True):
        group = schedule[position]
        if node.op in TAPS:
            if group.takes_bits:
                group.tap(node)
                return group
            continue
        others = [name for name in node.inputs if name != value]
        if (
            group.running == value
            and len(others) == len(node.inputs) - 1
            and all(_fits(types[name].shape, types[value].shape) for name in others)
            and _make_ready(group, position, others, schedule, group_of)
        ):
            group.extend(with_inputs(node, (value, *others)))
            return group
    return None


def _make_ready(
    group: _Group,
    position: int,
    others: list[str],
    schedule: list[_Group],
    group_of: Mapping[str, _Group],
) -> bool:
    """Moves the group after all of the others; returns False if something in between reads it."""
    needed = [group_of[name] for name in others if name in group_of]
    if group in needed:
        return False
    behind = schedule[position + 1 :]
    if not any(other in behind for other in needed):
        return True
    names = {node.name for node in group.nodes}
    if any(later.reads(names) for later in behind):
        return False
    del schedule[position]
    schedule.append(group)
    return True


def _shares_words(node: Node, types: Types) -> bool:
    groups: int = node.attributes["groups"]
    return groups > 1 and types[node.inputs[0]].shape[-1] // groups % BLOCK != 0


def _regrouped(node: Node, types: dict[str, Type]) -> str:
    """Names the value with the bits of the node's input in which each group has its own words."""
    name, source = f"{node.name}{OWN}regrouped", types[node.inputs[0]]
    groups = node.attributes["groups"]
    words = -(-source.shape[-1] // groups // BLOCK)
    shape = (*source.shape[:-1], groups * words * BLOCK)
    types[name] = dataclasses.replace(source, shape=shape)
    return name


def _separate_groups(head: Node, types: Types) -> int:
    """Returns the number of convolutions for a head; 1 for a depthwise one of real numbers."""
    groups: int = head.attributes.get("groups", 1)
    channels = types[head.inputs[0]].shape[-1], types[head.name].shape[-1]
    real = head.op == "conv2d" and "input_bits" not in head.attributes
    return 1 if real and channels == (groups, groups) else groups


def _check_groups(head: Node, types: Types) -> None:
    groups = _separate_groups(head, types)
    if groups > _MAX_GROUPS:
        raise GraphError(
            f"Node '{head.name}' ({head.op}): the runtime supports at most {_MAX_GROUPS} groups, "
            f"got {groups}."
        )


def _divides_blocks(head: Node, types: Types) -> bool:
    """Returns whether the groups of a convolution share words of bits."""
    groups = _separate_groups(head, types)
    return groups > 1 and types[head.name].shape[-1] // groups % BLOCK != 0


def _is_blockwise(node: Node, types: Types) -> bool:
    """Returns whether an operation can be computed block by block of channels."""
    shape = types[node.name].shape
    return node.op in _STEPS and all(_fits(types[name].shape, shape) for name in node.inputs)


def _ordered(node: Node, types: Types) -> Node:
    """Puts an input of the result's shape first, if the order does not matter."""
    if node.op not in ("add", "multiply"):
        return node
    full = [types[name].shape == types[node.name].shape for name in node.inputs]
    if full[0] or not any(full):
        return node
    first = full.index(True)
    rest = (*node.inputs[:first], *node.inputs[first + 1 :])
    return dataclasses.replace(node, inputs=(node.inputs[first], *rest))


def _fits(operand: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Returns whether an operand can be read with steps of 0 or 1 rows and pixels."""
    if operand == shape:
        return True
    above = list(zip(operand[:-2], shape[:-2], strict=True))
    if operand[-1] != shape[-1] or any(
        a not in (1, b) for a, b in zip(operand, shape, strict=True)
    ):
        return False
    return all(a == b for a, b in above) or all(a == 1 for a, _ in above)


def legalize(graph: Graph) -> Graph:
    """Returns the network with real outputs, and with at most one border value per bits."""
    graph = zero_padding(phases(graph))
    types = infer_types(graph)
    outputs = tuple(
        name if types[name].kind == "real" else f"{name}{OWN}real" for name in graph.outputs
    )
    added = {
        new: Node(new, "dequantize", (old,))
        for old, new in zip(graph.outputs, outputs, strict=True)
        if old != new
    }
    graph = dataclasses.replace(graph, nodes=(*graph.nodes, *added.values()), outputs=outputs)
    return drop_unused(_with_one_border(graph, types))


def _with_one_border(graph: Graph, types: Types) -> Graph:
    """Computes bits twice if some convolutions need a border of -1 and others of +1."""
    borders: dict[str, set[int]] = {}
    for node in graph.nodes:
        if _has_border(node, types):
            borders.setdefault(node.inputs[0], set()).add(node.attributes["pad_value"])
    twice = {name for name, values in borders.items() if len(values) > 1}
    if not twice:
        return graph
    nodes = []
    for node in graph.nodes:
        negative = _has_border(node, types) and node.attributes["pad_value"] == -1
        if negative and node.inputs[0] in twice:
            node = with_inputs(node, (f"{node.inputs[0]}{OWN}negative_border",))
        nodes.append(node)
        if node.name in twice:
            nodes.append(dataclasses.replace(node, name=f"{node.name}{OWN}negative_border"))
    return dataclasses.replace(graph, nodes=tuple(nodes))


def _has_border(node: Node, types: Types) -> bool:
    bits = node.op == "bconv2d" and types[node.inputs[0]].kind == "bits"
    return bits and any(node.attributes["padding"])
