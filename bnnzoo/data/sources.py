"""Opens the data set that `--data` names."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

from bnnzoo.data.arrays import (
    KERAS_DATASETS,
    SAMPLES,
    SPLITS,
    from_arrays,
    keras_dataset,
    npz_file,
    sample,
)
from bnnzoo.data.folders import class_folders, labelled_files
from bnnzoo.data.labels import Labels
from bnnzoo.data.masks import masked_images
from bnnzoo.data.source import Source
from bnnzoo.data.tables import ClassMap
from bnnzoo.data.tfds import import_tfds, tfds_dataset
from bnnzoo.errors import ArgumentError, DataError, did_you_mean

__all__ = [
    "Data",
    "as_source",
    "check_source",
    "has_masks",
    "mask_folders",
    "open_source",
    "source_files",
]

Data: TypeAlias = str | PathLike[str] | Source | tuple[Any, Any]

LABELS_FILE = "labels.csv"

logger = logging.getLogger(__name__)


def as_source(
    data: Data,
    *,
    labels_csv: str | PathLike[str] | None = None,
    class_map: ClassMap | None = None,
    label_set: Labels | None = None,
    num_classes: int | None = None,
    skip_bad: bool = False,
) -> Source:
    """Returns a data set given in any of the supported ways.

    Args:
        data: A name or path for `open_source`, a `Source`, or uint8 images with integer labels
            `(x, y)`.
        labels_csv: See `open_source`.
        class_map: See `open_source`.
        label_set: See `open_source`.
        num_classes: See `open_source`.
        skip_bad: See `open_source`.

    Raises:
        ArgumentError: `data` is none of these, or an option does not go with it.
        DataError: The data cannot be used; the message names the file.
    """
    if isinstance(data, (str, PathLike)):
        return open_source(
            data,
            labels_csv=labels_csv,
            class_map=class_map,
            label_set=label_set,
            num_classes=num_classes,
            skip_bad=skip_bad,
        )
    check_source(data, labels_csv=labels_csv, class_map=class_map)
    source = data if isinstance(data, Source) else from_arrays(*data)
    if num_classes is None:
        return source
    if source.counted:
        source = source.labelled_as(label_set, "the model")
    return source.within(num_classes, skip_bad)


def open_source(
    spec: str | PathLike[str],
    *,
    labels_csv: str | PathLike[str] | None = None,
    class_map: ClassMap | None = None,
    label_set: Labels | None = None,
    num_classes: int | None = None,
    skip_bad: bool = False,
) -> Source:
    """Returns the data set that `spec` names.

        sample:fashion_mnist         2,000 test images, shipped with the package
        keras:NAME[:train|:test]     mnist, fashion_mnist, cifar10, cifar100
        tfds:NAME[:SPLIT]            TensorFlow Datasets
        FILE.npz[:train|:test]       arrays x_test and y_test
        FOLDER                       FOLDER/class/*.jpg, or files of a labels CSV
        folder:IMAGES,MASKS          a folder of images and one of PNG masks; see data.masks

    Args:
        spec: One of the above.
        labels_csv: For a folder: CSV file with the columns `file,class_index`; by default
            `labels.csv` in the folder, if it exists.
        class_map: For a folder of classes: the index by class name, or a CSV or JSON file.
        label_set: The model's class names, or their id; class folders are matched to them.
        num_classes: Number of classes of the model; every label must be below it.
        skip_bad: Leave out what cannot be used, and list it in `skipped`.

    Raises:
        ArgumentError: `spec` is none of these, or an option does not go with it.
        DataError: The data cannot be used; the message names the file.
    """
    check_source(spec, labels_csv=labels_csv, class_map=class_map)
    folders = mask_folders(str(spec))
    if folders is not None:
        source = masked_images(*folders, skip_bad=skip_bad)
    elif _is_named(str(spec)):
        source = _named(str(spec))()
    else:
        source = _open_folder(
            Path(spec), labels_csv, class_map, label_set, num_classes, skip_bad=skip_bad
        )
    return source if num_classes is None else _fitting(source, num_classes, skip_bad)


def has_masks(data: Data) -> bool:
    """Returns whether the images of a data set have masks, without reading them.

    Raises:
        ArgumentError: See `mask_folders`.
    """
    if isinstance(data, Source):
        return data.has_masks
    return isinstance(data, (str, PathLike)) and mask_folders(str(data)) is not None


def mask_folders(spec: str) -> tuple[Path, Path] | None:
    """Returns the folders of `folder:IMAGES,MASKS`, which may not exist; None for other data sets.

    Raises:
        ArgumentError: They are not two folders.
    """
    kind, _, rest = spec.partition(":")
    if kind != "folder":
        return None
    names = rest.split(",")
    if len(names) != 2 or not all(names):
        raise ArgumentError(
            f"--data must be folder:IMAGES,MASKS, got '{spec}'. Name the folder of the images and "
            "that of the masks."
        )
    return Path(names[0]), Path(names[1])


def source_files(spec: str) -> tuple[Path, ...]:
    """Returns the file that `spec` names, or its default labels file; it may not exist.

    Args:
        spec: See `open_source`.
    """
    if _is_npz(spec):
        return (Path(_npz_path(spec)[0]),)
    return () if _is_named(spec) else (Path(spec) / LABELS_FILE,)


def check_source(
    spec: Data,
    *,
    labels_csv: str | PathLike[str] | None = None,
    class_map: ClassMap | None = None,
) -> None:
    """Checks names, paths and options, without a model or images.

    Args:
        spec: See `as_source`.
        labels_csv: See `open_source`.
        class_map: See `open_source`.

    Raises:
        ArgumentError: `spec` is not a data set, or an option does not go with it.
        DataError: A file or folder does not exist.
        MissingDependencyError: The package that reads such data sets is not installed.
    """
    if not isinstance(spec, (str, PathLike)):
        if not isinstance(spec, Source) and not (
            isinstance(spec, (tuple, list)) and len(spec) == 2
        ):
            raise ArgumentError(
                "data must be the name or path of a data set, a Source or a pair (images, labels), "
                f"got {type(spec).__name__}. Pass one of them."
            )
        if labels_csv is not None or class_map is not None:
            raise ArgumentError(
                "labels_csv and class_map must be None for data that is not a path."
            )
        return
    if _is_named(str(spec)):
        _refuse_folder_options(str(spec), labels_csv, class_map)
        _named(str(spec))
        return
    if not str(spec):
        raise ArgumentError("--data must name a data set, got ''. Pass a folder or a file.")
    _check_folder(Path(spec))
    if labels_csv is not None and class_map is not None:
        raise ArgumentError("--class-map must not be given with --labels, which has the indices.")
    for table in (labels_csv, class_map):
        if isinstance(table, (str, PathLike)):
            _check_file(Path(table))


def _fitting(source: Source, num_classes: int, skip_bad: bool) -> Source:
    if source.class_names is not None and len(source.class_names) != num_classes:
        logger.warning(
            "%s has %d classes, the model has %d.",
            source.name,
            len(source.class_names),
            num_classes,
        )
    source = source.within(num_classes, skip_bad)
    if len(source) == 0:
        raise DataError(f"{source.name} has no usable images: all were skipped. Check its labels.")
    return source


def _is_named(text: str) -> bool:
    kind, colon, _ = text.partition(":")
    is_folder = os.path.isdir(text)  # noqa: PTH112 - False for a name that is too long
    return bool(colon and kind in _KINDS) or (_is_npz(text) and not is_folder)


def _is_npz(text: str) -> bool:
    return text.endswith(".npz") or text.rpartition(":")[0].endswith(".npz")


def _refuse_folder_options(
    text: str, labels_csv: str | PathLike[str] | None, class_map: ClassMap | None
) -> None:
    for option, value in (("--labels", labels_csv), ("--class-map", class_map)):
        if value is not None:
            raise ArgumentError(f"{option} must not be given for {text}: it is for image folders.")


def _named(text: str) -> Callable[[], Source]:
    """Returns the function that opens a data set, after checking its name."""
    kind, _, rest = text.partition(":")
    return _npz(text) if _is_npz(text) else _KINDS[kind](rest)


def _npz(text: str) -> Callable[[], Source]:
    path, split = _npz_path(text)
    _check_split(path, split)
    _check_file(Path(path))
    return functools.partial(npz_file, Path(path), split)


def _npz_path(text: str) -> tuple[str, str]:
    path, _, split = text.rpartition(":")
    return (text, "test") if text.endswith(".npz") else (path, split)


def _keras(rest: str) -> Callable[[], Source]:
    name, colon, split = rest.partition(":")
    split = split if colon else "test"
    _check_split(f"keras:{name}", split)
    return functools.partial(keras_dataset, _known(name, KERAS_DATASETS, "keras"), split)


def _check_split(name: str, split: str) -> None:
    if split not in SPLITS:
        raise ArgumentError(f"Split of {name} must be one of {', '.join(SPLITS)}, got '{split}'.")


def _tfds(rest: str) -> Callable[[], Source]:
    import_tfds()
    return functools.partial(tfds_dataset, rest)


def _known(name: str, names: tuple[str, ...], kind: str) -> str:
    if name in names:
        return name
    known = [f"{kind}:{each}" for each in names]
    hint = did_you_mean(f"{kind}:{name}", known)
    raise ArgumentError(f"Unknown data set '{kind}:{name}'.{hint} Available: {', '.join(known)}.")


def _masked(rest: str) -> Callable[[], Source]:
    folders = mask_folders(f"folder:{rest}")
    assert folders is not None
    for folder in folders:
        _check_folder(folder)
    return functools.partial(masked_images, *folders)


_KINDS: dict[str, Callable[[str], Callable[[], Source]]] = {
    "folder": _masked,
    "sample": lambda name: functools.partial(sample, _known(name, SAMPLES, "sample")),
    "keras": _keras,
    "tfds": _tfds,
}


def _open_folder(
    root: Path,
    labels_csv: str | PathLike[str] | None,
    class_map: ClassMap | None,
    label_set: Labels | None,
    num_classes: int | None,
    *,
    skip_bad: bool,
) -> Source:
    table = Path(labels_csv) if labels_csv is not None else root / LABELS_FILE
    if labels_csv is None and (class_map is not None or not table.is_file()):
        source = class_folders(
            root,
            class_map=class_map,
            label_set=label_set,
            num_classes=num_classes,
            skip_bad=skip_bad,
        )
    else:
        source = labelled_files(root, table, skip_bad=skip_bad)
    return replace(source, name=f"folder:{source.name}")


def _check_file(path: Path) -> None:
    if not os.path.isfile(path):  # noqa: PTH113 - as above
        raise DataError(f"There is no file {path!s:.200}. Check its path.")


def _check_folder(root: Path) -> None:
    if os.path.isdir(root):  # noqa: PTH112 - as above
        return
    if os.path.isfile(root):  # noqa: PTH113
        raise DataError(
            f"{root} is neither a folder nor an .npz file. Pass a folder of images, an .npz file, "
            "keras:NAME, tfds:NAME or sample:fashion_mnist."
        )
    raise DataError(
        f"There is no folder or file {root!s:.200}. Pass one, keras:NAME, tfds:NAME or "
        "sample:fashion_mnist."
    )
