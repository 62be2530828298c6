"""Finds the borders that values need for padded convolutions.

A border is part of the memory of a value, so that kernels need not test for it: zeros around real
numbers, +1 or -1 around bits, level 0 around levels. It is written once, when memory is allocated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bnnzoo.graph.ir import Type
from bnnzoo.runtime.lowering import Call, map_shape

__all__ = ["NO_BORDER", "Border", "Borders", "find_borders", "widest"]

Border = tuple[int, int, int, int]  # pixels above, below, left, right
NO_BORDER: Border = (0, 0, 0, 0)


@dataclass
class Borders:
    """The borders that values need.

    Attributes:
        widths: Border by name of the value.
        negative: Names of bits whose border is -1, and of levels: level 0 is -1 in every plane.
        separate: Names of reshapes that cannot share memory with their source, which has another
            border.
    """

    widths: dict[str, Border] = field(default_factory=dict)
    negative: set[str] = field(default_factory=set)
    separate: set[str] = field(default_factory=set)

    def of(self, name: str) -> tuple[Border, bool]:
        """Returns the border of a value, and whether it is -1."""
        return self.widths.get(name, NO_BORDER), name in self.negative

    def widen(self, name: str, border: Border, negative: bool) -> None:
        """Makes a border at least as wide as another."""
        self.widths[name] = widest(self.widths.get(name, NO_BORDER), border)
        if negative:
            self.negative.add(name)


def widest(a: Border, b: Border) -> Border:
    """Returns the smallest border that both fit into."""
    return max(a[0], b[0]), max(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def find_borders(calls: Sequence[Call], types: Mapping[str, Type]) -> Borders:
    """Returns the borders that the convolutions need, also through views."""
    borders = Borders()
    for call in calls:
        if call.op in ("conv2d", "bconv2d", "pooled_conv2d") and any(
            call.node.attributes["padding"]
        ):
            kind = types[call.inputs[0]].kind
            negative = call.op == "bconv2d" and (
                kind == "levels" or call.node.attributes["pad_value"] < 0
            )
            borders.widen(call.inputs[0], call.node.attributes["padding"], negative)
    for call in reversed(calls):
        if call.op in ("slice", "reshape"):
            _through_view(call, borders, types)
    return borders


def _through_view(call: Call, borders: Borders, types: Mapping[str, Type]) -> None:
    """Gives a source the border of its view, where both can share one."""
    name, source = call.node.name, call.inputs[0]
    border, negative = borders.of(name)
    before, negative_before = borders.of(source)
    same_pixels = map_shape(types[name].shape)[:2] == map_shape(types[source].shape)[:2]
    if call.op == "reshape" and not same_pixels:
        return
    if NO_BORDER in (border, before) or negative == negative_before:
        borders.widen(source, border, negative)
    else:
        borders.separate.add(name)
