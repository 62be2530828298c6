"""Resolves a model argument: a name in the zoo, a file or a Keras model."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from bnnzoo import registry
from bnnzoo.errors import ArgumentError, UnknownModelError
from bnnzoo.formats import FORMATS
from bnnzoo.hub_addresses import find_network, is_stored
from bnnzoo.manifest import WeightsRecord
from bnnzoo.snapshot import Snapshot

__all__ = ["HDF5", "ModelSource", "resolve_model"]

_PACKED = ".safetensors"
HDF5 = (".h5", ".hdf5")  # of whole models; `.weights.h5` has only weights
_READ = tuple(f.suffix for f in FORMATS if f.is_read)
_NOT_OPENED = (  # suffixes of other files that users pass as a model
    ".bin", ".c", ".h5", ".json", ".npz", ".onnx", ".pb", ".pt", ".pth", ".tar", ".tflite", ".th",
    ".xml",
)  # fmt: skip
_WEIGHTS_ONLY = (
    "It contains only weights: load them with bnnzoo.load(NAME, weights=FILE), or save the whole "
    "model with model.save('model.keras')."
)
_TORCH = "Import the checkpoint first: bnnzoo import FILE --as NAME NAME.safetensors"
_ADVICE = {  # by suffix
    **{s: f"Convert it first: bnnzoo convert NAME{s} NAME.safetensors" for s in _READ[1:]},
    ".bin": "Convert a network of OpenVINO first: bnnzoo convert NAME.xml NAME.safetensors",
    ".h5": _WEIGHTS_ONLY,
    **dict.fromkeys((".pt", ".pth", ".tar", ".th"), _TORCH),
}


@dataclass(frozen=True)
class ModelSource:
    """A resolved model argument.

    Attributes:
        kind: `name` for a name in the zoo, `keras` or `packed` for a file, `foreign` for a file
            that only `convert` reads, or `model` for a Keras model in memory.
        value: The argument.
        path: The file, which is read once.
    """

    kind: str
    value: Any
    path: Snapshot | None = None

    @property
    def record(self) -> WeightsRecord:
        """The record of the pretrained weights of a name.

        Raises:
            UnknownModelError: The model or tag does not exist, or has no pretrained weights.
        """
        return registry.pretrained_record(str(self.value))

    def check_random(self) -> None:
        """Checks that the model can be built with random weights.

        Raises:
            ArgumentError: The model is not a name in the zoo.
        """
        if self.kind != "name":
            shown = type(self.value).__name__ if self.kind == "model" else self.value
            raise ArgumentError(
                f"Random weights require a name in the zoo, got {shown}. Leave out "
                "--random-weights (random_weights=True)."
            )


def resolve_model(source: Any, *, foreign: bool = False) -> ModelSource:
    """Resolves a model argument. A file does not have to exist.

    Args:
        source: `name` or `name.tag` in the zoo, a path, `hf://owner/name`, a folder that has a
            network and a card, or a Keras model.
        foreign: Whether to accept files of the other formats that `convert` reads.

    Raises:
        ArgumentError: `source` is a file or folder that is not a model.
        WeightsError: The network cannot be downloaded from the Hub, or does not match its card.
    """
    if is_stored(source):
        return ModelSource("packed", source, Snapshot.of(find_network(source)))
    if not isinstance(source, (str, PathLike)):
        return ModelSource("model", source)
    path = Path(source)
    if path.suffix in (".keras", _PACKED, *HDF5) and not path.name.endswith(".weights.h5"):
        kind = "packed" if path.suffix == _PACKED else "keras"
        return ModelSource(kind, source, Snapshot.of(source))
    if foreign and path.suffix in _READ:
        return ModelSource("foreign", source, Snapshot.of(source))
    name = str(source)
    is_file = path.suffix in _NOT_OPENED or name != path.name or _exists(path)
    if is_file and not _is_known(name):
        advice = _ADVICE.get(path.suffix, "Save the whole model with model.save('model.keras').")
        raise ArgumentError(
            f"A model file must end in .keras, .h5 or .safetensors, got {source}. {advice}"
        )
    return ModelSource("name", name)


def _exists(path: Path) -> bool:
    try:
        return bool(path.name) and path.exists()
    except OSError:  # not a valid file name
        return False


def _is_known(name: str) -> bool:
    try:
        registry.resolve(name)
    except UnknownModelError:
        return False
    return True
