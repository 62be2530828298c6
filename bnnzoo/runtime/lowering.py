"""From a graph to calls: what the engine computes at once, in order.

A call is a head and a chain: elementwise operations that run over the channels of a pixel while
they are in registers. The epilogues of the graph become chains as far as the engine can follow;
where it cannot, the chain is cut and what is left is a call of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bnnzoo.errors import GraphError
from bnnzoo.graph.ir import Graph, Node, Type
from bnnzoo.graph.ops import infer_types
from bnnzoo.graph.passes.drop_unused import drop_unused
from bnnzoo.graph.passes.phases import phases
from bnnzoo.graph.passes.zero_padding import zero_padding

__all__ = ["BLOCK", "OWN", "Call", "calls", "legalize", "map_shape"]

# Channels per word of bits: `kBlock` of the kernels.
BLOCK = 64
# In names of the planner's own values, so that none is a name of the graph.
OWN = "\0"
# Each group of a convolution is an operation of its own, unless it is a depthwise one.
_MOST_GROUPS = 4096

_UNARY = ("affine", "batch_norm", "clip", "prelu")
_TAPS = ("sign", "quantize")
_BINARY = ("add", "subtract", "multiply")
# Heads that have a chain.
_POOLS = ("max_pool2d", "avg_pool2d", "global_avg_pool2d", "global_max_pool2d")
_HEADS = ("bconv2d", "conv2d", *_POOLS)

Types = Mapping[str, Type]


@dataclass(frozen=True)
class Call:
    """What one operation of the engine computes.

    Attributes:
        node: The head; of an elementwise call the first node of the chain.
        op: The head's operation, or `elementwise`: the chain of a value in memory.
        inputs: What the head reads. Of an elementwise call, the value that the chain starts from.
        value: The head's own value; None of an elementwise call.
        chain: Operations on the running value, which the first input of each is. `sign` and
            `quantize` leave it as it is; of others, further inputs are read pixel by pixel.
        inner: Of a `pooled_conv2d`, the chain of the convolution.
        pool: Of a `pooled_conv2d`, the pooling after it, whose chain is `chain`.
    """

    node: Node
    op: str
    inputs: tuple[str, ...]
    value: str | None
    chain: tuple[Node, ...] = ()
    inner: tuple[Node, ...] = ()
    pool: Node | None = None


def map_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Returns the rows, columns and channels as which a value of any rank lies in memory."""
    rows = 1
    for size in shape[:-2]:
        rows *= size
    return rows, shape[-2] if len(shape) > 1 else 1, shape[-1]


def calls(graph: Graph, types: dict[str, Type]) -> list[Call]:
    """Returns the calls of a graph that `legalize` returned; adds types of values of its own.

    Slices and reshapes stand right behind what they are views of: nothing else in between can
    write over their source.
    """
    behind: list[list[Call]] = [[]]
    place = dict.fromkeys(graph.inputs, 0)
    for call in (call for node in graph.nodes for call in _node_calls(node, types)):
        if call.op in ("slice", "reshape"):
            place[call.node.name] = place[call.inputs[0]]
            behind[place[call.node.name]].append(call)
            continue
        for name in (call.value, *(part.name for part in call.chain)):
            if name is not None:
                place[name] = len(behind)
        behind.append([call])
    return [call for group in behind for call in group]


def _node_calls(node: Node, types: dict[str, Type]) -> Iterator[Call]:
    chain = node.epilogue
    running = node.name
    if node.op in _HEADS:
        inputs = node.inputs
        _check_groups(node, types)
        if node.op == "bconv2d" and _shares_words(node, types):
            inputs = (_regrouped(node, types),)
            yield Call(node.head, "regroup", node.inputs, inputs[0])
        used = _chained(node, chain, types)
        yield Call(node.head, node.op, inputs, node.name, chain[:used])
        running = _running(running, chain[:used])
        chain = chain[used:]
    elif not _starts_chain(node, types):
        yield Call(node.head, node.op, node.inputs, node.name)
    else:
        chain = (_ordered(node, types), *chain)
        running = chain[0].inputs[0]
    while chain:
        if not _starts_chain(chain[0], types):
            yield Call(chain[0], chain[0].op, chain[0].inputs, chain[0].name)
            running, chain = chain[0].name, chain[1:]
            continue
        used = 1 + _chained(None, chain[1:], types)
        yield Call(chain[0], "elementwise", (running,), None, chain[:used])
        running = _running(running, chain[:used])
        chain = chain[used:]


def _shares_words(node: Node, types: Types) -> bool:
    groups: int = node.attributes["groups"]
    return groups > 1 and types[node.inputs[0]].shape[-1] // groups % BLOCK != 0


def _regrouped(node: Node, types: dict[str, Type]) -> str:
    """Names a value with the bits of the node's input, every group in words of its own."""
    name, source = f"{node.name}{OWN}regrouped", types[node.inputs[0]]
    groups = node.attributes["groups"]
    words = -(-source.shape[-1] // groups // BLOCK)
    shape = (*source.shape[:-1], groups * words * BLOCK)
    types[name] = dataclasses.replace(source, shape=shape)
    return name


def _running(value: str, chain: Sequence[Node]) -> str:
    for part in chain:
        value = value if part.op in _TAPS else part.name
    return value


def _chained(head: Node | None, chain: Sequence[Node], types: Types) -> int:
    """Returns how many nodes of a chain the engine can run behind a head."""
    for count, part in enumerate(chain):
        if part.op in _TAPS:
            if head is not None and _divides_blocks(head, types):
                return count
        elif not _starts_chain(part, types) or types[part.name] != types[part.inputs[0]]:
            return count
    return len(chain)


def _separate_groups(head: Node, types: Types) -> int:
    """Returns how many convolutions a head is; a depthwise one of real numbers is one."""
    groups: int = head.attributes.get("groups", 1)
    channels = types[head.inputs[0]].shape[-1], types[head.name].shape[-1]
    real = head.op == "conv2d" and "input_bits" not in head.attributes
    return 1 if real and channels == (groups, groups) else groups


def _check_groups(head: Node, types: Types) -> None:
    groups = _separate_groups(head, types)
    if groups > _MOST_GROUPS:
        raise GraphError(
            f"Node '{head.name}' ({head.op}): the runtime takes at most {_MOST_GROUPS} groups, "
            f"got {groups}."
        )


def _divides_blocks(head: Node, types: Types) -> bool:
    """Returns whether the groups of a convolution share words of bits."""
    groups = _separate_groups(head, types)
    return groups > 1 and types[head.name].shape[-1] // groups % BLOCK != 0


def _starts_chain(node: Node, types: Types) -> bool:
    """Returns whether an operation can be computed block by block of channels."""
    if node.op in _BINARY:
        node = _ordered(node, types)
        return all(_fits(types[name].shape, types[node.name].shape) for name in node.inputs)
    return node.op in _UNARY + _TAPS


def _ordered(node: Node, types: Types) -> Node:
    """Puts an input of the result's shape first, where the order does not matter."""
    if node.op not in ("add", "multiply"):
        return node
    full = [types[name].shape == types[node.name].shape for name in node.inputs]
    if full[0] or not any(full):
        return node
    first = full.index(True)
    rest = (*node.inputs[:first], *node.inputs[first + 1 :])
    return dataclasses.replace(node, inputs=(node.inputs[first], *rest))


def _fits(operand: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Returns whether steps of 0 or 1 row and pixel read an operand beside a result."""
    if operand == shape:
        return True
    above = list(zip(operand[:-2], shape[:-2], strict=True))
    if operand[-1] != shape[-1] or any(
        a not in (1, b) for a, b in zip(operand, shape, strict=True)
    ):
        return False
    return all(a == b for a, b in above) or all(a == 1 for a, _ in above)


def legalize(graph: Graph) -> Graph:
    """Returns the same network with real outputs, and with bits that have a border of one value."""
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
    """Computes bits twice whose borders must be -1 for some convolutions and +1 for others."""
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
            node = dataclasses.replace(node, inputs=(f"{node.inputs[0]}{OWN}negative_border",))
        epilogue = tuple(copy for part in node.epilogue for copy in _copies(part, twice))
        nodes += _copies(dataclasses.replace(node, epilogue=epilogue), twice)
    return dataclasses.replace(graph, nodes=tuple(nodes))


def _has_border(node: Node, types: Types) -> bool:
    bits = node.op == "bconv2d" and types[node.inputs[0]].kind == "bits"
    return bits and any(node.attributes["padding"])


def _copies(node: Node, twice: set[str]) -> list[Node]:
    if node.name not in twice:
        return [node]
    copy = dataclasses.replace(node, name=f"{node.name}{OWN}negative_border", epilogue=())
    return [node, copy]
