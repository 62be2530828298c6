"""Opens the model that a user means: a file, or a name of the zoo."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnzoo import registry
from bnnzoo.catalog import CATALOG
from bnnzoo.errors import ArgumentError, UnknownModelError, WeightsError
from bnnzoo.loading import load
from bnnzoo.snapshot import Snapshot

if TYPE_CHECKING:
    import keras

__all__ = ["names_file", "open_model"]

MODEL_SUFFIXES = (".keras", ".safetensors")
OTHER_SUFFIXES = (  # of models, weights and what else is given for one
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


def open_model(
    source: str | PathLike[str],
    pretrained: bool = False,
    *,
    num_classes: int | None = None,
    input_shape: Sequence[int] | None = None,
    cache_dir: str | PathLike[str] | None = None,
) -> keras.Model:
    """Returns the model that a user means: a file, a name or `name.tag`.

    Args:
        source: A path that ends in `.keras` or, for a packed network, in `.safetensors`; or what
            `load` takes. Binary kernels of a packed network get small latent weights.
        pretrained: As in `load`; a file has its own weights.
        num_classes: As in `load`; a file has its own.
        input_shape: As in `load`; a file has its own.
        cache_dir: As in `load`.

    Raises:
        ArgumentError: The file is of another kind, or `num_classes` or `input_shape` is given for
            one.
        WeightsError: The file is missing or cannot be read.
        BnnZooError: As `load` does.
    """
    if not names_file(source):
        return load(
            str(source),
            pretrained,
            num_classes=num_classes,
            input_shape=input_shape,
            cache_dir=cache_dir,
        )
    if num_classes is not None or input_shape is not None:
        raise ArgumentError(
            f"num_classes and input_shape must be None for {source}. The file has its own."
        )
    path = Snapshot.of(source)
    return _open_keras_file(path) if path.suffix == ".keras" else _open_packed_file(path)


def names_file(source: str | PathLike[str]) -> bool:
    """Returns whether a file is meant, not a name of the zoo.

    Raises:
        ArgumentError: A file or folder is meant that is no model.
    """
    path, name = Path(source), str(source)
    if path.suffix in MODEL_SUFFIXES:
        return True
    if _knows(name):
        return False
    if path.suffix in OTHER_SUFFIXES or name != path.name or _is_there(path):
        advice = _ADVICE.get(path.suffix, "Save the whole model with model.save('model.keras').")
        raise ArgumentError(
            f"A model file must end in .keras or .safetensors, got {source}. {advice}"
        )
    return False


def _is_there(path: Path) -> bool:
    try:
        return bool(path.name) and path.exists()
    except OSError:  # no file can have such a name
        return False


def _knows(name: str) -> bool:
    try:
        registry.resolve(name)
    except UnknownModelError:
        return False
    return True


def _open_keras_file(path: Path) -> Any:
    """Opens a saved model without running code that it might carry."""
    # Layers, initializers and models register themselves when their modules are imported; nn comes
    # first because its import says which extra is missing.
    papers = sorted({f"bnnzoo.architectures.{entry.module}" for entry in CATALOG.values()})
    for module in ("bnnzoo.nn", *papers):
        importlib.import_module(module)
    from bnnzoo.keras_archive import open_archive

    if path.is_dir():
        raise WeightsError(f"{path} is a folder. Name a file.")
    if not path.is_file():
        raise WeightsError(f"There is no file {path}. Check its path.")
    return open_archive(path)


def _open_packed_file(path: Path) -> Any:
    """Turns a packed network back into a Keras model, with latent weights."""
    from bnnzoo.formats import packed
    from bnnzoo.keras_bridge.to_keras import to_keras

    return to_keras(*packed.read(path))
