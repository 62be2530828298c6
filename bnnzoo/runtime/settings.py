"""Runtime settings: instruction set and number of threads."""

from __future__ import annotations

import os
from typing import Any

from bnnzoo.arguments import as_integer
from bnnzoo.errors import ArgumentError
from bnnzoo.runtime.extension import engine

__all__ = ["available_cores", "choose_isa", "choose_threads", "isas"]

# An image of a small network does not use more threads.
_MAX_BY_DEFAULT = 8
_MAX = 1024


def isas() -> tuple[str, ...]:
    """Returns the instruction sets that this CPU supports, the best first."""
    return tuple(engine().isas())


def choose_isa(isa: str | None) -> str:
    """Returns an instruction set: the argument, `BNNZOO_FORCE_ISA`, or the best.

    Raises:
        ArgumentError: This CPU or this build does not have it.
    """
    name, chosen = "isa", isa
    if chosen is None:
        name, chosen = "BNNZOO_FORCE_ISA", os.environ.get("BNNZOO_FORCE_ISA") or None
    if chosen is None:
        return isas()[0]
    if chosen not in isas():
        raise ArgumentError(
            f"{name} must be an instruction set of this CPU, got {chosen!r}. Choose one of: "
            f"{', '.join(isas())}."
        )
    return chosen


def available_cores() -> int:
    """Returns the number of cores available to this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_threads(threads: int | None) -> int:
    """Returns a number of threads: the argument, `BNNZOO_NUM_THREADS`, or the available cores.

    Raises:
        ArgumentError: It is not an integer from 1 to 1024.
    """
    given: Any
    name, given, count = "threads", threads, as_integer(threads)
    if threads is None:
        name, given = "BNNZOO_NUM_THREADS", os.environ.get("BNNZOO_NUM_THREADS", "")
        if not given:
            return min(available_cores(), _MAX_BY_DEFAULT)
        count = int(given) if given.strip().isdecimal() else None
    if count is None or not 1 <= count <= _MAX:
        raise ArgumentError(
            f"{name} must be an integer from 1 to {_MAX}, got {given!r}. "
            "1 is often best for many small requests."
        )
    return count
