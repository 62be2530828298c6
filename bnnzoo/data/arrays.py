"""Data sets that are arrays: `.npz` files, keras.datasets, the embedded sample."""

from __future__ import annotations

import contextlib
import functools
import lzma
import os
import struct
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from bnnzoo.data import labels
from bnnzoo.data.images import as_pixels
from bnnzoo.data.source import Item, Source
from bnnzoo.download import policy
from bnnzoo.errors import DataError, MissingDependencyError, first_line

__all__ = ["KERAS_DATASETS", "SAMPLES", "from_arrays", "keras_dataset", "npz_file", "sample"]

KERAS_DATASETS = ("mnist", "fashion_mnist", "cifar10", "cifar100")
SAMPLES = ("fashion_mnist",)
SPLITS = ("train", "test")
# What zipfile and NumPy raise for broken archives; RuntimeError for encrypted or newer ones. NumPy
# parses the header of an array as Python, hence SyntaxError and TokenError.
_BROKEN = (
    EOFError,
    KeyError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def from_arrays(
    x: Any,
    y: Any,
    *,
    name: str = "arrays",
    class_names: tuple[str, ...] | None = None,
    ids: Sequence[str] | None = None,
) -> Source:
    """Returns a source of images that are in memory.

    Args:
        x: uint8 `(n, h, w)` or `(n, h, w, c)` with 1 or 3 channels, or a list of arrays or Pillow
            images of one size.
        y: Integer class indices `(n,)` or `(n, 1)`.
        name: Name of the data set in results.
        class_names: Name of each class.
        ids: A name per image; by default `name` and the image's index.

    Raises:
        DataError: The arrays have the wrong type or shape.
    """
    if isinstance(x, (list, tuple)):
        x = [as_pixels(image) for image in x]
    images, indices = _as_array(x, "images", name), _as_array(y, "labels", name)
    _check_images(images, name)
    _check_labels(indices, len(images), name)
    items = tuple(
        Item(ids[i] if ids else f"{name}/{i}", int(label), functools.partial(images.__getitem__, i))
        for i, label in enumerate(indices.reshape(-1))
    )
    return Source(name, len(items), items, class_names)


def _as_array(values: Any, what: str, name: str) -> np.ndarray:
    try:
        return np.asarray(values)
    except ValueError as error:  # of lists whose entries have several shapes
        raise DataError(
            f"{name}: {what} must have one shape, got several. Resize them, or give a folder."
        ) from error


def _check_images(images: np.ndarray, name: str) -> None:
    if images.dtype != np.uint8:
        raise DataError(
            f"{name}: images must be uint8, got {images.dtype}. Store raw pixels of 0 to 255: "
            "preprocessing scales them."
        )
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        raise DataError(
            f"{name}: images must be (n, h, w), (n, h, w, 1) or (n, h, w, 3), got {images.shape}. "
            "Put channels last."
        )
    if images.size == 0:
        raise DataError(
            f"{name}: images must not be empty, got shape {images.shape}. Add some images."
        )


def _check_labels(indices: np.ndarray, n: int, name: str) -> None:
    if not np.issubdtype(indices.dtype, np.integer):
        raise DataError(
            f"{name}: labels must be integers, got {indices.dtype}. Store class indices from 0."
        )
    if indices.shape not in ((n,), (n, 1)):
        raise DataError(
            f"{name}: labels must be one index per image, ({n},), got {indices.shape}. "
            "Turn one-hot rows into indices with argmax."
        )


def npz_file(path: Path, split: str = "test") -> Source:
    """Returns the images `x_<split>` and labels `y_<split>` of a NumPy archive.

    Nothing is unpickled.

    Raises:
        DataError: The file is missing or broken, or has no such arrays.
    """
    x, y = _read_npz(path, split)
    return from_arrays(x, y, name=path.name if split == "test" else f"{path.name}:{split}")


def _read_npz(path: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    wanted = (f"x_{split}", f"y_{split}")
    try:
        # NumPy does not close a broken file that it opened itself.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError("it is a single array, as in an .npy file")
            found = archive.files
            if set(wanted) <= set(found):
                return archive[wanted[0]], archive[wanted[1]]
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}. Check its path.") from error
    except _BROKEN as error:
        reason = first_line(error)
        if isinstance(error, ValueError) and "allow_pickle" in reason:
            reason = "it is not an archive of arrays"
            if zipfile.is_zipfile(path):
                reason = "it holds pickled objects, which are never opened"
        raise DataError(
            f"{path} is not a readable .npz: {reason.rstrip('.')}. Write it again with "
            "numpy.savez_compressed."
        ) from error
    raise DataError(
        f"{path} has no arrays {wanted[0]} and {wanted[1]}; it has {', '.join(map(repr, found))}. "
        f"Write it with numpy.savez_compressed(path, {wanted[0]}=..., {wanted[1]}=...)."
    )


def sample(name: str) -> Source:
    """Returns a small real data set that is shipped with the package.

    `fashion_mnist`: the first 200 test images of each class (MIT, see samples/).
    """
    traversable = resources.files("bnnzoo.data") / "samples" / f"{name}.npz"
    with resources.as_file(traversable) as path, np.load(path, allow_pickle=False) as archive:
        x, y, indices = archive["x_test"], archive["y_test"], archive["index"]
    ids = [f"{name}:test/{index}" for index in indices]
    return from_arrays(x, y, name=f"sample:{name}", class_names=labels.names(name), ids=ids)


def data_folder() -> Path:
    """Returns the folder of local data sets: BNNZOO_DATA_DIR or ~/.cache/bnnzoo/datasets.

    Raises:
        DataError: The folder is in the home folder, and the user has none.
    """
    folder = os.environ.get("BNNZOO_DATA_DIR") or "~/.cache/bnnzoo/datasets"
    try:
        return Path(folder).expanduser()
    except RuntimeError as error:
        raise DataError(
            f"Data sets must be in a folder, got {folder!r}: {first_line(error).rstrip('.')}. "
            "Set BNNZOO_DATA_DIR to a folder."
        ) from error


def keras_dataset(name: str, split: str = "test") -> Source:
    """Returns a data set of `KERAS_DATASETS`.

    It is read from `<name>.npz` in `data_folder()` if that exists; otherwise `keras.datasets`
    downloads it.

    Raises:
        DataError: It cannot be downloaded, the file is broken, or there is no home folder.
        MissingDependencyError: Keras is needed and not installed.
    """
    path = data_folder() / f"{name}.npz"
    x, y = _read_npz(path, split) if path.is_file() else _download(name, split, path)
    spec = f"keras:{name}:{split}"
    ids = [f"{name}:{split}/{i}" for i in range(len(x))]
    return from_arrays(x, y, name=spec, class_names=labels.names(name), ids=ids)


def _download(name: str, split: str, looked: Path) -> tuple[np.ndarray, np.ndarray]:
    advice = f"Put {looked.name} into {looked.parent} or the folder BNNZOO_DATA_DIR names."
    if policy.offline():
        raise DataError(f"keras:{name} is not at {looked} and BNNZOO_OFFLINE is set. {advice}")
    try:
        import keras
    except ImportError as error:
        raise MissingDependencyError("keras", "tensorflow", f"to download {name}") from error
    module = getattr(keras.datasets, name)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # its progress bar would break --json
            data = module.load_data()
    # keras.utils.get_file raises plain Exception when a URL fails.
    except Exception as error:
        reason = first_line(error)
        raise DataError(f"keras:{name} cannot be downloaded: {reason}. {advice}") from error
    x, y = data[SPLITS.index(split)]
    if x.ndim == 4 and keras.config.image_data_format() == "channels_first":
        x = x.transpose(0, 2, 3, 1)  # Keras follows its image_data_format
    return x, y
