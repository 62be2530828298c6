"""Class names by id, in the order of the class index: one CSV file per data set in this folder."""

from __future__ import annotations

import csv
import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from importlib import resources
from typing import TypeAlias

from bnnzoo.errors import ArgumentError, did_you_mean

__all__ = [
    "Labels",
    "index_of",
    "indices",
    "list_labels",
    "names",
    "printable",
    "shown",
    "wnids",
]

Labels: TypeAlias = str | Sequence[str]  # an id, or the names themselves
MAX_SHOWN = 12


def list_labels() -> list[str]:
    """Returns the ids of all label sets."""
    files = resources.files(__name__).iterdir()
    return sorted(f.name.removesuffix(".csv") for f in files if f.name.endswith(".csv"))


def names(classes: Labels) -> tuple[str, ...]:
    """Returns the readable name of each class.

    Args:
        classes: `imagenet1k`, `mnist`, `fashion_mnist`, `cifar10` or `cifar100`; or the names.

    Raises:
        ArgumentError: The id is unknown.
    """
    if isinstance(classes, str):
        return tuple(row["name"] for row in _rows(classes))
    return tuple(classes)


def wnids(id: str) -> tuple[str, ...] | None:
    """Returns the WordNet id of each class; None if the label set has none.

    Raises:
        ArgumentError: The id is unknown.
    """
    rows = _rows(id)
    return tuple(row["wnid"] for row in rows) if "wnid" in rows[0] else None


def index_of(classes: Labels) -> dict[str, int]:
    """Returns the class index by name and by WordNet id, both normalized.

    A name shared by two classes is left out: ImageNet's cardigan is a dog and a jacket. If
    `classes` are names, they are also keys as they are: `C` and `c` may be two folders.

    Args:
        classes: See `names`.

    Raises:
        ArgumentError: The id is unknown.
    """
    known = names(classes)
    given = [*known, *(wnids(classes) or ())] if isinstance(classes, str) else known
    found: dict[str, int] = {}
    for spelling in (normalise,) if isinstance(classes, str) else (normalise, printable):
        spellings = [spelling(name) for name in given]
        uses = Counter(spellings)
        found |= {name: i % len(known) for i, name in enumerate(spellings) if uses[name] == 1}
    return found


def indices(given: Sequence[str], classes: Labels) -> list[int | None]:
    """Returns the class index of each name, None if it is not a class.

    Args:
        given: Names or WordNet ids, such as those of folders.
        classes: See `names`.
    """
    known = index_of(classes)
    return [known.get(printable(name), known.get(normalise(name))) for name in given]


def normalise(name: str) -> str:
    """Returns the normalized form of a name: `T-shirt/top` and `t_shirt_top` are the same."""
    return re.sub(r"[^\w]+|_+", "_", printable(name).casefold()).strip("_")


def printable(name: str) -> str:
    """Returns a name in Unicode's composed form (NFC), with unprintable characters as `?`."""
    composed = unicodedata.normalize("NFC", name)
    return "".join(c if c.isprintable() else "?" for c in composed)


def shown(given: Sequence[str]) -> str:
    """Formats names for a message: the first ones and their number."""
    more = f", ... ({len(given):,} in all)" if len(given) > MAX_SHOWN else ""
    return ", ".join(printable(name) for name in given[:MAX_SHOWN]) + more


@functools.cache
def _rows(id: str) -> tuple[dict[str, str], ...]:
    if id not in list_labels():
        known = list_labels()
        hint = did_you_mean(id, known)
        raise ArgumentError(f"Unknown labels '{id}'.{hint} Available: {', '.join(known)}.")
    text = resources.files(__name__).joinpath(f"{id}.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))
