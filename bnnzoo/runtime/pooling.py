"""Fuses the first convolution with the pooling after it.

The map between them is the largest of a network, larger than the cache. The engine computes a few
rows of it at a time, pools them, and discards them.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from bnnzoo.graph.ir import Type
from bnnzoo.runtime.lowering import Call

__all__ = ["pool_in_strips"]

# A smaller map fits in the cache.
_MIN_BYTES = 2**18
_WITHOUT_VIEWS = ("affine", "batch_norm", "clip", "prelu")


def pool_in_strips(
    calls: Sequence[Call], types: Mapping[str, Type], outputs: Collection[str]
) -> list[Call]:
    """Returns the calls with each convolution and its pooling as one `pooled_conv2d`."""
    reads = Counter(outputs)
    for call in calls:
        reads.update(call.inputs)
        reads.update(name for part in call.epilogue for name in part.inputs[1:])
    merged: list[Call] = []
    for call in calls:
        if merged and _pools(merged[-1], call, types, reads):
            conv = merged.pop()
            call = dataclasses.replace(
                call, node=conv.node, op="pooled_conv2d", inputs=conv.inputs,
                inner=conv.epilogue, pool=call.node,
            )  # fmt: skip
        merged.append(call)
    return merged


def _pools(conv: Call, call: Call, types: Mapping[str, Type], reads: Mapping[str, int]) -> bool:
    """Returns whether a pooling is the only reader of a large convolution's result."""
    if conv.op != "conv2d" or call.op not in ("max_pool2d", "avg_pool2d"):
        return False
    values = [conv.node.name, *(part.name for part in conv.epilogue)]
    return (
        conv.node.attributes["groups"] == 1
        and all(part.op in _WITHOUT_VIEWS for part in conv.epilogue)
        and call.inputs == (values[-1],)
        and sum(reads[name] for name in values) == 1
        and 4 * math.prod(types[values[-1]].shape) >= _MIN_BYTES
    )
