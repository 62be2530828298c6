"""Data sets of TensorFlow Datasets, read without TensorFlow."""

from __future__ import annotations

import contextlib
import functools
import re
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from bnnzoo.data.images import decode_image
from bnnzoo.data.records import RecordFile, Records
from bnnzoo.data.source import Item, Source
from bnnzoo.download import policy
from bnnzoo.errors import DataError, MissingDependencyError, first_line

__all__ = ["import_tfds", "tfds_dataset"]

_VERSION = re.compile(r":(\d+|\*)\.(\d+|\*)\.(\d+|\*)")


def tfds_dataset(spec: str) -> Source:
    """Returns a data set of TensorFlow Datasets with the features `image` and `label`.

    Args:
        spec: `NAME[:SPLIT]`; the name may have a config and a version (`cifar10:3.0.2:test`), the
            split a slice (`test[:10%]`). The default split is `test`, or else `validation`.

    Raises:
        MissingDependencyError: tensorflow_datasets is not installed.
        DataError: The data set or split is unknown, or cannot be prepared.
    """
    name, split = split_spec(spec)
    builder = _prepared(import_tfds(), name)
    split = split or _default_split(builder, name)
    try:
        length = builder.info.splits[split].num_examples
    except (KeyError, ValueError) as error:
        raise DataError(
            f"tfds:{name} has no split '{split}'. It has: {', '.join(builder.info.splits)}."
        ) from error
    names = _class_names(builder, name)
    return Source(f"tfds:{name}:{split}", length, _Items(builder, name, split), names)


def split_spec(spec: str) -> tuple[str, str | None]:
    """Splits `NAME[:VERSION][:SPLIT]` into name with version, and split."""
    base, _, _ = spec.partition(":")
    version = _VERSION.match(spec, len(base))
    name = spec[: version.end()] if version else base
    return name, spec[len(name) + 1 :] or None


def import_tfds() -> Any:
    """Returns the package `tensorflow_datasets`.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise MissingDependencyError(
            "tensorflow_datasets", "tfds", "to read tfds: data sets"
        ) from error
    return tensorflow_datasets


def _prepared(tfds: Any, name: str) -> Any:
    """Returns the builder of a data set, which is downloaded if it is not on disk."""
    try:
        builder = tfds.builder(name)
    except (tfds.core.DatasetNotFoundError, ValueError, AssertionError) as error:
        reason = first_line(error)
        raise DataError(f"tfds:{name} is not a data set: {reason}") from error
    if policy.offline() and not builder.data_path.exists():
        raise DataError(
            f"tfds:{name} is not in {builder.data_dir} and BNNZOO_OFFLINE is set. Prepare it with "
            "tfds first, or set TFDS_DATA_DIR."
        )
    try:
        with contextlib.redirect_stdout(sys.stderr):  # its progress bar would break --json
            builder.download_and_prepare()
    # Each data set's own code raises other exceptions.
    except Exception as error:
        reason = first_line(error)
        raise DataError(
            f"tfds:{name} cannot be downloaded to {builder.data_dir}: {reason}. Prepare it on "
            "another machine and set TFDS_DATA_DIR."
        ) from error
    return builder


def _default_split(builder: Any, name: str) -> str:
    for split in ("test", "validation"):
        if split in builder.info.splits:
            return split
    raise DataError(
        f"tfds:{name} has neither a test nor a validation split. Name one of its splits, as in "
        f"tfds:{name}:{next(iter(builder.info.splits), 'train')}."
    )


def _class_names(builder: Any, name: str) -> tuple[str, ...] | None:
    features = builder.info.features
    missing = [key for key in ("image", "label") if key not in features]
    if missing:
        raise DataError(
            f"tfds:{name} has no feature '{missing[0]}'; it has {', '.join(features)}. Choose a "
            "classification data set."
        )
    names = getattr(features["label"], "names", None)
    return None if names is None else tuple(names)


class _Items(Sequence[Item]):
    """The examples of a split in the order of its files, each read when it is accessed."""

    def __init__(self, builder: Any, name: str, split: str) -> None:
        tfds = import_tfds()
        self.name, self.split = name, split
        self._features = builder.info.features
        encoded = isinstance(self._features["image"], tfds.features.Image)
        self._decoders = {"image": tfds.decode.SkipDecoding()} if encoded else None
        self._is_records = builder.info.file_format is tfds.core.FileFormat.TFRECORD
        info = builder.info.splits[split]
        self._examples = _records(info) if self._is_records else self._data_source(builder)

    def _data_source(self, builder: Any) -> Any:
        try:
            return builder.as_data_source(split=self.split, decoders=self._decoders)
        except (NotImplementedError, ValueError) as error:
            raise DataError(
                f"tfds:{self.name} is stored as {builder.info.file_format.value}, which has no "
                "index. Prepare it as tfrecord or array_record."
            ) from error

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        id = f"{self.name}:{self.split}/{index}"
        example = self._examples[index]
        if self._is_records:
            example = self._parsed(example, id)
        image, label = example["image"], int(example["label"])
        if isinstance(image, bytes):
            return Item(id, label, functools.partial(decode_image, image, f"tfds:{id}"))
        return Item(id, label, functools.partial(_checked, image, self.name))

    def _parsed(self, record: bytes, id: str) -> Any:
        # Protocol buffers and each feature of the library raise different exceptions.
        try:
            return self._features.deserialize_example_np(record, decoders=self._decoders)
        except Exception as error:
            raise DataError(f"tfds:{id} is not a readable example. Prepare it again.") from error


def _records(split: Any) -> Records:
    return Records(
        [
            RecordFile(str(part.filename), part.examples_in_shard, part.skip, part.take)
            for part in split.file_instructions
        ]
    )


def _checked(image: Any, name: str) -> np.ndarray:
    array = np.asarray(image)
    if array.dtype != np.uint8:
        raise DataError(f"tfds:{name}: images must be uint8, got {array.dtype}. Choose another.")
    return array
