"""Checkpoints: weights, optimizer state and log."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from bnnzoo.errors import BnnZooError
from bnnzoo.training.run_folder import LAST, RunFolder

__all__ = ["read_log", "read_state", "read_weights", "write_state", "write_weights"]


def write_state(
    folder: RunFolder, network: Any, optimizer: Any, rows: Sequence[dict[str, Any]]
) -> None:
    """Saves the complete training state.

    The order and augmentation of the next epoch depend only on the recipe's seed and the epoch.
    """
    arrays = {
        **_arrays("network", network.variables),
        **_arrays("optimizer", optimizer.variables),
        "log": np.array(json.dumps(rows)),
    }
    folder.write_arrays(LAST, arrays)


def read_log(folder: RunFolder) -> list[dict[str, Any]]:
    """Returns the log rows of the checkpoint; empty without a checkpoint.

    Raises:
        BnnZooError: The file is broken, or is not a checkpoint.
    """
    if not folder.has(LAST):
        return []
    try:
        rows: list[dict[str, Any]] = json.loads(str(folder.read_arrays(LAST)["log"]))
        right = _are_rows(rows)
    except (KeyError, ValueError, RecursionError):
        right = False
    if not right:
        raise BnnZooError(
            f"{folder.path / LAST} is not a checkpoint: it has no log of its epochs. Start the run "
            "again in another folder."
        )
    return rows


def _are_rows(rows: Any) -> bool:
    """Returns whether a log has a row of numbers for each epoch, all with the same columns."""
    return isinstance(rows, list) and all(
        isinstance(row, dict)
        and row.keys() == rows[0].keys() >= {"epoch", "seconds", "val_top1"}
        and all(isinstance(value, (int, float)) for value in row.values())
        and row["epoch"] == i + 1
        for i, row in enumerate(rows)
    )


def read_state(folder: RunFolder, network: Any, optimizer: Any) -> None:
    """Restores a network and its optimizer.

    Raises:
        BnnZooError: The checkpoint is of another network.
    """
    arrays = folder.read_arrays(LAST)
    _assign(folder, "network", arrays, network.variables)
    _assign(folder, "optimizer", arrays, optimizer.variables)


def write_weights(folder: RunFolder, name: str, network: Any) -> None:
    """Writes the network alone."""
    folder.write_arrays(name, _arrays("network", network.variables))


def read_weights(folder: RunFolder, name: str, network: Any) -> None:
    """Restores the network alone.

    Raises:
        BnnZooError: The checkpoint is of another network.
    """
    _assign(folder, "network", folder.read_arrays(name), network.variables)


def _arrays(group: str, variables: Sequence[Any]) -> dict[str, np.ndarray]:
    return {
        f"{group}/{i}": np.asarray(ops.convert_to_numpy(variable))
        for i, variable in enumerate(variables)
    }


def _assign(
    folder: RunFolder, group: str, arrays: dict[str, np.ndarray], variables: Sequence[Any]
) -> None:
    found = [arrays[key] for key in arrays if key.startswith(f"{group}/")]
    numbers = all(array.dtype.kind in "biuf" for array in found)
    if not numbers or [array.shape for array in found] != [tuple(v.shape) for v in variables]:
        raise BnnZooError(
            f"The checkpoint in {folder.path} does not fit the {group}: another version made it. "
            "Start the run again in another folder."
        )
    for variable, array in zip(variables, found, strict=True):
        variable.assign(array)
