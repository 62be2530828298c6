"""The argument of the commands that read packed files: a path, or a name in the zoo."""

from __future__ import annotations

from pathlib import Path

from bnnzoo import registry, weights
from bnnzoo.errors import WeightsError
from bnnzoo.hub_addresses import find_network, is_stored

__all__ = ["packed_file"]

SUFFIX = ".safetensors"


def packed_file(model: str) -> Path:
    """Returns a packed file, downloading that of a name.

    Args:
        model: Path of a packed file, `name` or `name.tag` in the zoo, `hf://owner/name`, or a
            folder with a network and a card.

    Raises:
        UnknownModelError: The model or tag does not exist, or has no pretrained weights.
        WeightsError: The weights have no packed file, or it cannot be fetched.
    """
    if is_stored(model):
        return find_network(model)
    path = Path(model)
    if path.suffix == SUFFIX or path.name != model or path.exists():
        return path
    record = registry.pretrained_record(model)
    file = record.file("packed")
    if file is None:
        raise WeightsError(
            f"{record.name} has no packed file. Run: bnnzoo convert {record.name} "
            f"{record.name}{SUFFIX}"
        )
    return weights.fetch(file, name=record.name)
