"""Names of the weights in the checkpoints of the papers' authors: one file per paper."""

from __future__ import annotations

from collections.abc import Mapping

from bnnzoo.checkpoints.names import adabin, bnext, groupnet, meliusnet, reactnet
from bnnzoo.checkpoints.naming import Names

__all__ = ["NAMES"]

# Architecture -> the names in its checkpoints.
NAMES: Mapping[str, Names] = {
    **adabin.NAMES,
    **bnext.NAMES,
    **groupnet.NAMES,
    **meliusnet.NAMES,
    **reactnet.NAMES,
}
