"""Opens the model that a user means: a file, or a name of the zoo."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnzoo.catalog import CATALOG
from bnnzoo.errors import ArgumentError, WeightsError
from bnnzoo.loading import load
from bnnzoo.model_source import resolve_model

if TYPE_CHECKING:
    import keras

__all__ = ["open_model"]


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
        ArgumentError: `source` is of another kind, or `num_classes` or `input_shape` is given for
            one.
        WeightsError: The file is missing or cannot be read.
        BnnZooError: As `load` does.
    """
    found = resolve_model(source)
    if found.kind == "model":
        raise ArgumentError(
            f"source must be a name or a path, got {type(source).__name__}. It is open already."
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
            f"num_classes and input_shape must be None for {source}. The file has its own."
        )
    return _open_keras_file(found.path) if found.kind == "keras" else _open_packed_file(found.path)


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
