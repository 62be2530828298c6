"""The C functions of generated source; only those that a network needs are included.

They are plain C in `templates/`, each after a line with its name and the names of those it needs:

    /* @sign needs elements words */
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources

__all__ = ["source"]

_FILES = ("memory.c", "elementwise.c", "windows.c")
_HEAD = re.compile(r"^/\* @(?P<name>\w+)(?: needs (?P<needs>[\w ]+))? \*/\n", re.MULTILINE)


@dataclass(frozen=True)
class _Part:
    text: str
    needs: tuple[str, ...]


@functools.cache
def _parts() -> dict[str, _Part]:
    """Returns all parts by name, each after those that it needs."""
    parts = {}
    folder = resources.files("bnnzoo.formats.c_source") / "templates"
    for name in _FILES:
        text = (folder / name).read_text(encoding="utf-8")
        heads = list(_HEAD.finditer(text))
        ends = [head.start() for head in heads[1:]] + [len(text)]
        for head, end in zip(heads, ends, strict=True):
            needs = tuple((head["needs"] or "").split())
            parts[head["name"]] = _Part(text[head.end() : end].strip(), needs)
    return parts


def source(names: Iterable[str], macros: str) -> str:
    """Returns the C source of some parts and of all that they need.

    Args:
        names: Names of parts, such as `conv2d`.
        macros: Prefix of the macros that a user may define.
    """
    parts = _parts()
    needed: set[str] = set()
    waiting = ["call", *names]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += parts[name].needs
    text = "\n\n".join(part.text for name, part in parts.items() if name in needed)
    return text.replace("BNN_", f"{macros}_")
