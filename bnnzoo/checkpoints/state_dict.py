"""Finds the weights of a network in a checkpoint of a training loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

from bnnzoo.checkpoints import torch_file
from bnnzoo.checkpoints.tensors import StoredTensor, described
from bnnzoo.errors import WeightsError
from bnnzoo.formats.strict_json import shown
from bnnzoo.snapshot import Snapshot

__all__ = ["StateDict", "find", "read"]

# Keys of state dicts, in order of preference. Moving averages come before the weights themselves,
# because the authors' accuracies are those of the averages.
_AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema", "net_ema")
_KEYS = (*_AVERAGED, "state_dict", "model", "model_state_dict", "model_state", "net", "network")
# Prefixes that wrappers add to every name: DataParallel and torch.compile.
_PREFIXES = ("module.", "_orig_mod.")
# Counter of the wrapper `AveragedModel`.
_COUNTER = "n_averaged"
# Tensors may share storages, up to a total of this many times the size of the file.
_MAX_SHARING = 4


@dataclass(frozen=True)
class StateDict:
    """The weights in a checkpoint.

    Attributes:
        key: Their key in the checkpoint. None if the checkpoint is the state dict itself.
        prefix: The prefix that was removed from every name.
        tensors: Name -> tensor.
        others: Names of the other entries.
        sha256: Digest of the file.
    """

    key: str | None
    prefix: str
    tensors: Mapping[str, StoredTensor]
    others: tuple[str, ...]
    sha256: str


def read(path: str | PathLike[str], key: str | None = None) -> StateDict:
    """Returns the weights in a file written by `torch.save`, without executing code in it.

    Args:
        path: The file.
        key: Key of the weights in the checkpoint, if it has several networks. Found by default.

    Raises:
        WeightsError: The file is damaged or of another kind, has no weights, or uses a name that
            tensors do not need.
    """
    file = Snapshot.of(path)
    loaded = torch_file.read(file)
    try:
        found = find(loaded, key)
        held = sum(tensor.bytes for tensor in found.tensors.values())
        most = _MAX_SHARING * len(file.read_bytes())
        if held > most:
            raise WeightsError(
                f"its tensors must have at most {most} bytes in total, got {held}. Save tensors "
                "that share memory as copies: tensor.clone()."
            )
    except WeightsError as error:
        raise WeightsError(f"{file}: {error}") from error
    return StateDict(found.key, found.prefix, found.tensors, found.others, file.sha256)


def find(loaded: Any, key: str | None = None) -> StateDict:
    """Returns the weights in the object that a checkpoint contains."""
    if not isinstance(loaded, dict):
        raise WeightsError(
            f"it must contain a dictionary of tensors, got {described(loaded)}. Save "
            "model.state_dict()."
        )
    within = {
        name: value
        for name, value in loaded.items()
        if isinstance(name, str) and _has_tensors(value)
    }
    if key is not None:
        if key not in within:
            known = ", ".join(map(shown, within)) or "none"
            raise WeightsError(
                f"it has no weights under the key {shown(key)}. Keys with weights: {known:.500}."
            )
        return _unwrapped(key, within[key])
    usual = [name for name in _KEYS if name in within]
    if usual or len(within) == 1:
        key = (usual or list(within))[0]
        return _unwrapped(key, within[key])
    if within:
        known = ", ".join(map(shown, within))
        raise WeightsError(
            f"it has weights under several keys, {known:.500}. Choose one: --key KEY."
        )
    if not _has_tensors(loaded):
        raise WeightsError("it must contain named tensors, got none. Save model.state_dict().")
    return _unwrapped(None, loaded)


def _has_tensors(value: Any) -> bool:
    """Returns whether a value is a dictionary with named tensors."""
    return isinstance(value, dict) and any(
        isinstance(name, str) and isinstance(tensor, StoredTensor) for name, tensor in value.items()
    )


def _unwrapped(key: str | None, entries: Mapping[Any, Any]) -> StateDict:
    """Returns a state dict without the prefixes of wrappers."""
    named = {name: v for name, v in entries.items() if isinstance(name, str) and name != _COUNTER}
    prefix = ""
    while (part := _common_prefix(named, len(prefix))) is not None:
        prefix += part
    tensors = {n[len(prefix) :]: v for n, v in named.items() if isinstance(v, StoredTensor)}
    others = [n[len(prefix) :] for n, v in named.items() if not isinstance(v, StoredTensor)]
    others += [str(name) for name in entries if not isinstance(name, str)]
    return StateDict(key, prefix, tensors, tuple(others), "")


def _common_prefix(names: Mapping[str, Any], begin: int) -> str | None:
    """Returns the prefix of a wrapper that all names have at position `begin`."""
    for prefix in _PREFIXES:
        if names and all(name.startswith(prefix, begin) for name in names):
            return prefix
    return None
