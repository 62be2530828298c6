"""Poolings that take turns with the convolution before them, a few rows at a time.

The result of a first convolution is larger than the cache; each of its rows is pooled while it is
still there. Nothing but the order changes, and when memory may be used again: the two calls are
one as far as that is concerned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bnnzoo.deploy.ir import Type
from bnnzoo.runtime.lowering import Call, map_shape

__all__ = ["Rows", "find_followers"]

# A smaller map stays in the cache anyway.
_LEAST_BYTES = 2**18
# What the rows of one turn should take.
_TURN_BYTES = 2**16


@dataclass(frozen=True)
class Rows:
    """Row y of a pooling reads `window` rows of the call before it, from y * stride - top on.

    Attributes:
        stride: Rows from one window to the next.
        top: Rows of the first window that lie above the map.
        window: Rows of a window.
        strip: Rows of a turn.
    """

    stride: int
    top: int
    window: int
    strip: int


def find_followers(calls: Sequence[Call], types: Mapping[str, Type]) -> dict[int, Rows]:
    """Returns the calls that take turns with the one before them, by index."""
    found: dict[int, Rows] = {}
    for index, (before, call) in enumerate(pairwise(calls), start=1):
        if index - 1 not in found and _follows(before, call, types):
            attributes = call.node.attributes
            _, columns, channels = map_shape(types[call.inputs[0]].shape)
            stride = attributes["strides"][0]
            strip = max(1, _TURN_BYTES // (4 * stride * columns * channels))
            found[index] = Rows(stride, attributes["padding"][0], attributes["pool"][0], strip)
    return found


def _follows(before: Call, call: Call, types: Mapping[str, Type]) -> bool:
    written = {before.value, *(part.name for part in before.chain)}
    return (
        before.op in ("conv2d", "bconv2d")
        and before.node.attributes["groups"] == 1
        and call.op in ("max_pool2d", "avg_pool2d")
        and call.inputs[0] in written
        and not any(name in written for part in call.chain for name in part.inputs[1:])
        and 4 * math.prod(types[call.inputs[0]].shape) >= _LEAST_BYTES
    )
