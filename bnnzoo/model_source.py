"""Says what a user means by a model: a name of the zoo, a file, or a Keras model."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from bnnzoo import registry
from bnnzoo.errors import ArgumentError, UnknownModelError
from bnnzoo.formats import FORMATS
from bnnzoo.manifest import WeightsRecord
from bnnzoo.snapshot import Snapshot

__all__ = ["ModelSource", "resolve_model"]

_PACKED = ".safetensors"
_READ = tuple(f.suffix for f in FORMATS if f.is_read)
_NOT_OPENED = (  # suffixes of models, weights and what else is given for one
    ".c", ".h5", ".hdf5", ".json", ".npz", ".onnx", ".pb", ".pt", ".pth", ".tflite",
)  # fmt: skip
_HDF5 = (
    "Load weights with bnnzoo.load(NAME, weights=FILE), and save a whole model with "
    "model.save('model.keras'); the page 'Coming from Larq' says how Larq's files are read."
)
_ADVICE = {  # by suffix
    ".tflite": "Convert it first: bnnzoo convert NAME.tflite NAME.safetensors",
    ".h5": _HDF5,
    ".hdf5": _HDF5,
}


@dataclass(frozen=True)
class ModelSource:
    """What a user means by a model.

    Attributes:
        kind: `name` of the zoo, `keras` or `packed` for a file, `foreign` for a file that only
            `convert` reads, or `model` for a Keras model in memory.
        value: What was given.
        path: The file, which is read once.
    """

    kind: str
    value: Any
    path: Snapshot | None = None

    @property
    def record(self) -> WeightsRecord:
        """The pretrained weights that a name means.

        Raises:
            UnknownModelError: There is no such model or tag, or it has no pretrained weights.
        """
        return registry.pretrained_record(str(self.value))

    def check_random(self) -> None:
        """Checks that the model can be built with random weights.

        Raises:
            ArgumentError: It is not a name of the zoo.
        """
        if self.kind != "name":
            shown = type(self.value).__name__ if self.kind == "model" else self.value
            raise ArgumentError(
                f"Random weights must be for a name of the zoo, got {shown}, which has its own. "
                "Leave --random-weights (random_weights=True) out."
            )


def resolve_model(source: Any, *, foreign: bool = False) -> ModelSource:
    """Returns what a user means by a model; a file need not exist.

    Args:
        source: A name or `name.tag` of the zoo, a path, or a Keras model.
        foreign: Files of other formats that `convert` reads are taken, too.

    Raises:
        ArgumentError: A file or folder is meant that is no such model.
    """
    if not isinstance(source, (str, PathLike)):
        return ModelSource("model", source)
    path = Path(source)
    if path.suffix in (".keras", _PACKED):
        kind = "packed" if path.suffix == _PACKED else "keras"
        return ModelSource(kind, source, Snapshot.of(source))
    if foreign and path.suffix in _READ:
        return ModelSource("foreign", source, Snapshot.of(source))
    name = str(source)
    is_file = path.suffix in _NOT_OPENED or name != path.name or _exists(path)
    if is_file and not _is_known(name):
        advice = _ADVICE.get(path.suffix, "Save the whole model with model.save('model.keras').")
        raise ArgumentError(
            f"A model file must end in .keras or .safetensors, got {source}. {advice}"
        )
    return ModelSource("name", name)


def _exists(path: Path) -> bool:
    try:
        return bool(path.name) and path.exists()
    except OSError:  # no file can have such a name
        return False


def _is_known(name: str) -> bool:
    try:
        registry.resolve(name)
    except UnknownModelError:
        return False
    return True
