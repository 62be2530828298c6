"""Image files: a folder per class, or one folder with a CSV of labels."""

from __future__ import annotations

import functools
import itertools
import logging
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from bnnzoo.data import labels
from bnnzoo.data.images import read_image
from bnnzoo.data.labels import Labels
from bnnzoo.data.searching import Search
from bnnzoo.data.source import Item, Skipped, Source
from bnnzoo.data.tables import ClassMap, FileFinder, class_index, csv_rows, read_class_map
from bnnzoo.errors import DataError, did_you_mean

__all__ = ["class_folders", "labelled_files"]

logger = logging.getLogger(__name__)


class _ClassFolder(NamedTuple):
    path: Path
    label: int
    files: list[Path]


def class_folders(
    root: Path,
    *,
    class_map: ClassMap | None = None,
    label_set: Labels | None = None,
    num_classes: int | None = None,
    skip_bad: bool = False,
) -> Source:
    """Returns the images `root/class_name/**` with the index of their class.

    The classes take turns, so that the first n items are as balanced as possible.

    Args:
        root: Folder with a folder per class.
        class_map: Class index by folder name: a mapping, or a CSV or JSON file. Without it, folders
            are matched to the classes of `label_set` by name, WordNet id or index; if that is None,
            they are numbered in sorted order, numeric names by value.
        label_set: The model's class names, or their id.
        num_classes: Number of classes of the model: sorted order requires a folder for each.
        skip_bad: Leave out empty folders and folders of unknown classes, instead of raising.

    Raises:
        DataError: The folder does not exist, or a class is missing or has no images.
    """
    search = Search(root)
    folders = sorted(search.class_folders(), key=_sort_key)
    indices = _class_indices(folders, class_map, label_set, num_classes, skip_bad)
    found, skipped = [], []
    for folder in folders:
        files = search.images(folder)
        problem = _folder_problem(folder, files, folder.name in indices)
        if problem is None:
            found.append(_ClassFolder(folder, indices[folder.name], files))
        else:
            skipped.append(Skipped(folder.name, problem))
    skipped = [*search.problems, *skipped]
    if skipped and not skip_bad:
        raise DataError(skipped[0].reason)
    if left_out := search.said():
        logger.warning("%s: left out %s.", root, left_out)
    items = tuple(_in_turns(root, found))
    names = _class_names(indices, label_set)
    is_counted = class_map is None and label_set is None
    return Source(root.name or str(root), len(items), items, names, tuple(skipped), is_counted)


def _sort_key(path: Path) -> tuple[int, str]:
    """Sorts 2 before 10, and numbers before names."""
    return (int(path.name) if path.name.isdecimal() else 1 << 62, path.name)


def _folder_problem(folder: Path, files: list[Path], has_index: bool) -> str | None:
    if not has_index:
        return (
            f"{folder}: class '{folder.name}' is not in the class map. Add it, or go on without "
            "it with --skip-bad."
        )
    if not files:
        return (
            f"{folder} has no images. Add some, remove the folder, or go on without it with "
            "--skip-bad."
        )
    return None


def _class_indices(
    folders: list[Path],
    class_map: ClassMap | None,
    label_set: Labels | None,
    num_classes: int | None,
    skip_bad: bool,
) -> dict[str, int]:
    """Returns the class index by folder name, without unknown names."""
    if class_map is not None:
        known = read_class_map(class_map)
        spelt = {folder.name: unicodedata.normalize("NFC", folder.name) for folder in folders}
        found = {name: known[composed] for name, composed in spelt.items() if composed in known}
        return {**known, **found}
    if label_set is not None:
        return _indices_by_label(folders, label_set, skip_bad)
    if num_classes is not None and num_classes != len(folders):
        raise DataError(
            f"{folders[0].parent} has {len(folders)} class folders, but the model has "
            f"{num_classes} classes. A missing class would shift the indices: pass a class map "
            "with --class-map."
        )
    return _counted(folders)


def _counted(folders: list[Path]) -> dict[str, int]:
    """Numbers folders in order; two of them must not have the same printable name."""
    uses = Counter(labels.printable(folder.name) for folder in folders)
    name, count = uses.most_common(1)[0]
    if count > 1:
        raise DataError(
            f"{folders[0].parent}: names of class folders must differ, got '{name}' {count} times, "
            "spelled with different code points. Move their images into one folder."
        )
    return {folder.name: i for i, folder in enumerate(folders)}


def _indices_by_label(folders: list[Path], label_set: Labels, skip_bad: bool) -> dict[str, int]:
    """Returns the indices of folders named after classes, or if none is, after class indices."""
    names = [folder.name for folder in folders]
    indices = labels.indices(names, label_set)
    if not any(index is not None for index in indices) and all(map(str.isdecimal, names)):
        count = len(labels.names(label_set))
        indices = [int(name) if int(name) < count else None for name in names]
    strange = [name for name, index in zip(names, indices, strict=True) if index is None]
    if strange and not (skip_bad and len(strange) < len(names)):
        hint = did_you_mean(labels.normalise(strange[0]), labels.index_of(label_set))
        known = f"'{label_set}'" if isinstance(label_set, str) else "the model"
        raise DataError(
            f"{folders[0].parent / strange[0]}: '{strange[0]}' must name one class of {known}."
            f"{hint} Rename the folder, or pass a class map with --class-map. The folders are "
            f"{labels.shown(names)}; the classes are {labels.shown(labels.names(label_set))}."
        )
    return {name: i for name, i in zip(names, indices, strict=True) if i is not None}


def _class_names(indices: Mapping[str, int], label_set: Labels | None) -> tuple[str, ...] | None:
    if label_set is not None:
        return labels.names(label_set)
    by_index = {index: labels.printable(name) for name, index in indices.items()}
    if sorted(by_index) != list(range(len(by_index))):
        return None
    return tuple(by_index[i] for i in range(len(by_index)))


def _in_turns(root: Path, folders: Iterable[_ClassFolder]) -> Iterable[Item]:
    """Yields the first image of every class, then the second of every class, and so on."""
    rows = itertools.zip_longest(*([(f, c.label) for f in c.files] for c in folders))
    for file, label in filter(None, itertools.chain.from_iterable(rows)):
        yield Item(str(file.relative_to(root)), label, functools.partial(read_image, file))


def labelled_files(root: Path, table: Path, *, skip_bad: bool = False) -> Source:
    """Returns the images that a CSV file lists, in its order.

    Args:
        root: Folder that the file names are relative to.
        table: CSV file with the columns `file,class_index`, and possibly others.
        skip_bad: Leave out rows without a file or an index, instead of raising.

    Raises:
        DataError: The CSV file or a file in it is missing, or a row has no class index.
    """
    if not root.is_dir():
        raise DataError(f"There is no folder {root}. Check the path.")
    finder = FileFinder(root)
    items, skipped = [], []
    for line, row in csv_rows(table, ("file", "class_index")):
        name, index = row["file"], class_index(row["class_index"])
        path = finder.find(name)
        if isinstance(index, int) and path is not None:
            id = str(path.relative_to(root)) if path.is_relative_to(root) else name
            items.append(Item(id, index, functools.partial(read_image, path)))
            continue
        problem = f"{table} line {line}: {_row_problem(finder, name, index)}"
        if not skip_bad:
            raise DataError(problem)
        skipped.append(Skipped(name, problem))
    return Source(root.name or str(root), len(items), tuple(items), None, tuple(skipped))


def _row_problem(finder: FileFinder, name: str, index: int | str) -> str:
    if not isinstance(index, int):
        return f"class_index must be an integer, got {index!r:.80}. Fix the row."
    near = finder.nearest(name)
    hint = f" Did you mean '{near}'?" if near else ""
    return (
        f"there is no file {finder.root / name!s:.200}.{hint} Add it, or skip it with --skip-bad."
    )
