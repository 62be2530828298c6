"""Opens a model from a file or by its name in the zoo."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnzoo.catalog import CATALOG
from bnnzoo.errors import ArgumentError, WeightsError
from bnnzoo.loading import load
from bnnzoo.model_source import HDF5, resolve_model
from bnnzoo.snapshot import Snapshot

if TYPE_CHECKING:
    from bnnzoo.architectures.assembly import ZooModel

__all__ = ["open_model"]


def open_model(
    source: str | PathLike[str],
    pretrained: bool = False,
    *,
    num_classes: int | None = None,
    input_shape: Sequence[int] | None = None,
    cache_dir: str | PathLike[str] | None = None,
) -> ZooModel:
    """Opens a model from a file, or loads it by `name` or `name.tag`.

    Args:
        source: Path of a `.keras` file, of a whole model that Keras 2 or Larq saved as `.h5`, or of
            a packed `.safetensors` file, or a name or an address that `load` accepts. Binary
            kernels of a packed file become small latent weights.
        pretrained: See `load`. Ignored for a file, which has its own weights.
        num_classes: See `load`. Must be None for a file.
        input_shape: See `load`. Must be None for a file.
        cache_dir: See `load`.

    Raises:
        ArgumentError: `source` is not a name or a model file, or `num_classes` or `input_shape`
            is given for a file.
        WeightsError: The file is missing or cannot be read.
        BnnZooError: See `load`.
    """
    found = resolve_model(source)
    if found.kind == "model":
        raise ArgumentError(
            f"source must be a name or a path, got {type(source).__name__}. Use the model itself."
        )
    if found.path is None:
        return load(
            found.value,
            pretrained,
            num_classes=num_classes,
            input_shape=input_shape,
            cache_dir=cache_dir,
        )
    if num_classes is not None or input_shape is not None:
        raise ArgumentError(
            f"num_classes and input_shape must be None for the file {source}. Leave them out."
        )
    return _open_keras_file(found.path) if found.kind == "keras" else _open_packed_file(found.path)


def _open_keras_file(path: Snapshot) -> Any:
    """Opens a saved model without running code that it may contain."""
    # Layers, initializers and models register themselves on import. nn comes first because its
    # import reports a missing extra.
    papers = sorted({f"bnnzoo.architectures.{entry.module}" for entry in CATALOG.values()})
    for module in ("bnnzoo.nn", *papers):
        importlib.import_module(module)
    from bnnzoo.hdf5_model import open_hdf5_model
    from bnnzoo.keras_archive import open_archive

    if path.is_dir():
        raise WeightsError(f"{path} is a folder. Pass the path of a file.")
    if not path.is_file():
        raise WeightsError(f"There is no file {path}. Check the path.")
    return open_hdf5_model(path) if path.suffix in HDF5 else open_archive(path)


def _open_packed_file(path: Path) -> Any:
    """Converts a packed file back to a Keras model with latent weights."""
    from bnnzoo.formats import packed
    from bnnzoo.keras_bridge.to_keras import to_keras

    return to_keras(*packed.read(path))
