"""Class names by id, in the order of the class index: one CSV file per data set in this folder."""

from __future__ import annotations

import csv
import difflib
import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from importlib import resources
from typing import TypeAlias

from bnnzoo.errors import ArgumentError

__all__ = ["Labels", "index_of", "list_labels", "names", "places", "printable", "shown", "wnids"]

Labels: TypeAlias = str | Sequence[str]  # an id, or the names themselves
MOST_SHOWN = 12


def list_labels() -> list[str]:
    """Returns the ids of all label sets."""
    files = resources.files(__name__).iterdir()
    return sorted(f.name.removesuffix(".csv") for f in files if f.name.endswith(".csv"))


def names(labels: Labels) -> tuple[str, ...]:
    """Returns the readable name of each class.

    Args:
        labels: `imagenet1k`, `mnist`, `fashion_mnist`, `cifar10` or `cifar100`; or the names.

    Raises:
        ArgumentError: There are no labels of this id.
    """
    if isinstance(labels, str):
        return tuple(row["name"] for row in _rows(labels))
    return tuple(labels)


def wnids(id: str) -> tuple[str, ...] | None:
    """Returns the WordNet id of each class; None where the data set has none.

    Raises:
        ArgumentError: There are no labels of this id.
    """
    rows = _rows(id)
    return tuple(row["wnid"] for row in rows) if "wnid" in rows[0] else None


def index_of(labels: Labels) -> dict[str, int]:
    """Returns the class index by name and by WordNet id, both as `normalise` writes them.

    A name that two classes share is left out: ImageNet's cardigan is a dog and a jacket. Names
    that are given have their index as they are, too: `C` and `c` may be two folders.

    Args:
        labels: As of `names`.

    Raises:
        ArgumentError: There are no labels of this id.
    """
    known = names(labels)
    given = [*known, *(wnids(labels) or ())] if isinstance(labels, str) else known
    found: dict[str, int] = {}
    for spelling in (normalise,) if isinstance(labels, str) else (normalise, printable):
        spellings = [spelling(name) for name in given]
        uses = Counter(spellings)
        found |= {name: i % len(known) for i, name in enumerate(spellings) if uses[name] == 1}
    return found


def places(given: Sequence[str], labels: Labels) -> list[int | None]:
    """Returns the class index of each name, None where it names no class.

    Args:
        given: Names or WordNet ids, as of folders.
        labels: As of `names`.
    """
    known = index_of(labels)
    return [known.get(printable(name), known.get(normalise(name))) for name in given]


def normalise(name: str) -> str:
    """Returns a name as a folder may spell it: `T-shirt/top` and `t_shirt_top` are the same."""
    return re.sub(r"[^\w]+|_+", "_", printable(name).casefold()).strip("_")


def printable(name: str) -> str:
    """Returns a name in one spelling of Unicode, without what a terminal or a file cannot hold."""
    composed = unicodedata.normalize("NFC", name)
    return "".join(c if c.isprintable() else "?" for c in composed)


def shown(given: Sequence[str]) -> str:
    """Returns names for a message: the first ones, and how many there are."""
    more = f", ... ({len(given):,} in all)" if len(given) > MOST_SHOWN else ""
    return ", ".join(printable(name) for name in given[:MOST_SHOWN]) + more


@functools.cache
def _rows(id: str) -> tuple[dict[str, str], ...]:
    if id not in list_labels():
        near = difflib.get_close_matches(str(id), list_labels(), n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise ArgumentError(f"Unknown labels '{id}'.{hint} There are: {', '.join(list_labels())}.")
    text = resources.files(__name__).joinpath(f"{id}.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))
