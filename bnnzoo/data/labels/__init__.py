"""Class names by id, in the order of the class index: one CSV file per data set in this folder."""

from __future__ import annotations

import csv
import difflib
import functools
import re
from collections import Counter
from importlib import resources

from bnnzoo.errors import ArgumentError

__all__ = ["index_of", "list_labels", "names", "wnids"]


def list_labels() -> list[str]:
    """Returns the ids of all label sets."""
    files = resources.files(__name__).iterdir()
    return sorted(f.name.removesuffix(".csv") for f in files if f.name.endswith(".csv"))


def names(id: str) -> tuple[str, ...]:
    """Returns the readable name of each class.

    Args:
        id: `imagenet1k`, `mnist`, `fashion_mnist`, `cifar10` or `cifar100`.

    Raises:
        ArgumentError: There are no labels of this id.
    """
    return tuple(row["name"] for row in _rows(id))


def wnids(id: str) -> tuple[str, ...] | None:
    """Returns the WordNet id of each class; None where the data set has none.

    Raises:
        ArgumentError: There are no labels of this id.
    """
    rows = _rows(id)
    return tuple(row["wnid"] for row in rows) if "wnid" in rows[0] else None


def index_of(id: str) -> dict[str, int]:
    """Returns the class index by name and by WordNet id, both as `normalise` writes them.

    A name that two classes share is left out: ImageNet's cardigan is a dog and a jacket.

    Raises:
        ArgumentError: There are no labels of this id.
    """
    spellings = [normalise(name) for name in (*names(id), *(wnids(id) or ()))]
    uses = Counter(spellings)
    return {name: i % len(names(id)) for i, name in enumerate(spellings) if uses[name] == 1}


def normalise(name: str) -> str:
    """Returns a name as a folder may spell it: `T-shirt/top` and `t_shirt_top` are the same."""
    return re.sub(r"[^\w]+|_+", "_", name.casefold()).strip("_")


@functools.cache
def _rows(id: str) -> tuple[dict[str, str], ...]:
    if id not in list_labels():
        near = difflib.get_close_matches(str(id), list_labels(), n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise ArgumentError(f"Unknown labels '{id}'.{hint} There are: {', '.join(list_labels())}.")
    text = resources.files(__name__).joinpath(f"{id}.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))
