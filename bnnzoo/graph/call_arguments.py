"""Arguments of a network's call: one array, several, or a dict of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bnnzoo.errors import ArgumentError

__all__ = ["by_name"]


def by_name(names: Iterable[str], given: Sequence[Any]) -> dict[str, Any]:
    """Returns the array for each input of a network.

    Args:
        names: Names of the inputs, in order.
        given: The arguments of a call: a value for each input, or one dict; for several inputs also
            one list or tuple.

    Raises:
        ArgumentError: There are more values than inputs, or fewer, or a name is wrong.
    """
    names = tuple(names)
    if len(given) == 1 and isinstance(given[0], Mapping):
        if set(given[0]) != set(names):
            raise ArgumentError(
                f"x must have the inputs {', '.join(names)}, got {', '.join(map(str, given[0]))}. "
                "`input_names` lists them."
            )
        return {name: given[0][name] for name in names}
    if len(given) == 1 and len(names) > 1 and isinstance(given[0], (list, tuple)):
        given = given[0]
    if len(given) != len(names):
        count = f"{len(names)} inputs" if len(names) > 1 else "1 input"
        raise ArgumentError(
            f"The network must be called with {count} ({', '.join(names)}), got {len(given)}. Pass "
            "an array for each, or a dict."
        )
    return dict(zip(names, given, strict=True))
