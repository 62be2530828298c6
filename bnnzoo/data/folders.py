"""Image files: a folder per class, or one folder with a CSV of labels."""

from __future__ import annotations

import csv
import difflib
import functools
import itertools
import json
import logging
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from bnnzoo.data import labels
from bnnzoo.data.images import IMAGE_SUFFIXES, read_image
from bnnzoo.data.source import Item, Skipped, Source
from bnnzoo.errors import DataError

__all__ = ["ClassMap", "class_folders", "labelled_files", "read_class_map"]

ClassMap = Mapping[str, int] | str | PathLike[str]

logger = logging.getLogger(__name__)


class _ClassFolder(NamedTuple):
    path: Path
    label: int
    files: list[Path]


def class_folders(
    root: Path,
    *,
    class_map: ClassMap | None = None,
    label_set: str | None = None,
    num_classes: int | None = None,
    skip_bad: bool = False,
) -> Source:
    """Returns the images `root/class_name/**` with the index of their class.

    The items take turns by class, so that the first n of them are as balanced as can be.

    Args:
        root: Folder with a folder per class.
        class_map: Class index by folder name; a mapping, or a CSV or JSON file of one. Without
            it, folders that are named as classes of `label_set` (by name or WordNet id) have
            those indices, and any others are counted in sorted order, numbers by value.
        label_set: Id of the model's class names.
        num_classes: Number of classes of the model: sorted order needs a folder for each.
        skip_bad: Leave out folders that are empty or of no class, instead of raising.

    Raises:
        DataError: There is no such folder, a class is missing, or has no images.
    """
    folders = _subfolders(root)
    indices = _class_indices(folders, class_map, label_set, num_classes)
    found, skipped = [], []
    for folder in folders:
        files = _image_files(folder)
        problem = _folder_problem(folder, files, folder.name in indices)
        if problem is None:
            found.append(_ClassFolder(folder, indices[folder.name], files))
        elif skip_bad:
            skipped.append(Skipped(folder.name, problem))
        else:
            raise DataError(problem)
    items = tuple(_in_turns(root, found))
    names = _class_names(indices, label_set)
    return Source(root.name or str(root), len(items), items, names, tuple(skipped))


def _subfolders(root: Path) -> list[Path]:
    folders = [p for p in _entries(root) if p.is_dir() and not p.name.startswith(".")]
    if folders:
        return sorted(folders, key=_sort_key)
    if _image_files(root):
        raise DataError(
            f"{root} has images but no class folders. Sort them into {root.name}/<class>/, or "
            "give a labels file with --labels."
        )
    raise DataError(f"{root} is empty: it has neither class folders nor images. Check the path.")


def _entries(root: Path) -> list[Path]:
    try:
        return list(root.iterdir())
    except OSError as error:
        raise DataError(f"{root} cannot be read: {error.strerror}. Check the path.") from error


def _sort_key(path: Path) -> tuple[int, str]:
    """Sorts 2 before 10, and numbers before names."""
    return (int(path.name) if path.name.isdecimal() else 1 << 62, path.name)


def _image_files(folder: Path) -> list[Path]:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    images = [p for p in files if p.suffix.lower() in IMAGE_SUFFIXES]
    if len(images) < len(files):
        logger.warning("%s: %d files are no images.", folder, len(files) - len(images))
    return images


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
    label_set: str | None,
    num_classes: int | None,
) -> dict[str, int]:
    """Returns the class index by folder name; a name of no class has none."""
    if class_map is not None:
        return dict(read_class_map(class_map))
    by_name = _indices_by_label(folders, label_set)
    if by_name:
        logger.info("Classes are matched by their names in '%s'.", label_set)
        return by_name
    if num_classes is not None and num_classes != len(folders):
        raise DataError(
            f"{folders[0].parent} has {len(folders)} class folders, but the model has "
            f"{num_classes} classes. A missing class would shift the sorted order: give a class "
            "map with --class-map."
        )
    return {folder.name: i for i, folder in enumerate(folders)}


def _indices_by_label(folders: list[Path], label_set: str | None) -> dict[str, int]:
    """Returns the indices of folders named as classes; none if they have other names."""
    if label_set is None:
        return {}
    known = labels.index_of(label_set)
    spelt = {folder: labels.normalise(folder.name) for folder in folders}
    strange = [folder for folder in folders if spelt[folder] not in known]
    if len(strange) == len(folders):
        return {}
    if strange:
        near = difflib.get_close_matches(spelt[strange[0]], known, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise DataError(
            f"{strange[0]}: '{strange[0].name}' must name one class of '{label_set}', as other "
            f"folders do.{hint} Rename it, or give a class map with --class-map."
        )
    return {folder.name: known[spelt[folder]] for folder in folders}


def _class_names(indices: Mapping[str, int], label_set: str | None) -> tuple[str, ...] | None:
    if label_set is not None:
        return labels.names(label_set)
    by_index = {index: name for name, index in indices.items()}
    if sorted(by_index) != list(range(len(by_index))):
        return None
    return tuple(by_index[i] for i in range(len(by_index)))


def _in_turns(root: Path, folders: Iterable[_ClassFolder]) -> Iterable[Item]:
    """Yields the first image of every class, then the second of every class, and so on."""
    rows = itertools.zip_longest(*([(f, c.label) for f in c.files] for c in folders))
    for file, label in filter(None, itertools.chain.from_iterable(rows)):
        yield Item(str(file.relative_to(root)), label, functools.partial(read_image, file))


def read_class_map(class_map: ClassMap) -> Mapping[str, int]:
    """Returns the class index by class name.

    Args:
        class_map: A mapping; a `.json` file of an object `{"name": index}`; or a CSV file with
            the columns `class_name,class_index`.

    Raises:
        DataError: The file does not exist or holds something else.
    """
    if isinstance(class_map, Mapping):
        entries: dict[str, Any] = dict(class_map)
    elif Path(class_map).suffix == ".json":
        entries = _json_object(Path(class_map))
    else:
        rows = _csv_rows(Path(class_map), ("class_name", "class_index"))
        entries = {row["class_name"]: _integer(row["class_index"]) for _, row in rows}
    for name, index in entries.items():
        if type(index) is not int or index < 0:
            raise DataError(
                f"Class map: index of '{name}' must be an integer from 0, got {index!r}. Mend it."
            )
    return entries


def labelled_files(root: Path, table: Path, *, skip_bad: bool = False) -> Source:
    """Returns the images that a CSV file lists, in its order.

    Args:
        root: Folder that the file names are relative to.
        table: CSV with the columns `file,class_index`; further ones are allowed.
        skip_bad: Leave out rows without a file or an index, instead of raising.

    Raises:
        DataError: The CSV or a file of it is missing, or a row has no class index.
    """
    if not root.is_dir():
        raise DataError(f"There is no folder {root}. Check the path.")
    items, skipped = [], []
    for line, row in _csv_rows(table, ("file", "class_index")):
        path, index = root / row["file"], _integer(row["class_index"])
        problem = _row_problem(f"{table} line {line}", path, index)
        if problem is None and isinstance(index, int):
            items.append(Item(row["file"], index, functools.partial(read_image, path)))
        elif skip_bad:
            skipped.append(Skipped(row["file"], str(problem)))
        else:
            raise DataError(str(problem))
    return Source(root.name or str(root), len(items), tuple(items), None, tuple(skipped))


def _row_problem(place: str, path: Path, index: int | str) -> str | None:
    if not isinstance(index, int):
        return f"{place}: class_index must be an integer, got {index!r}. Mend the row."
    if not path.is_file():
        return f"{place}: there is no file {path}. Add it, or go on without it with --skip-bad."
    return None


def _integer(text: str | None) -> int | str:
    """Returns the number, or the text if it is none."""
    try:
        return int(text or "")
    except ValueError:
        return text or ""


def _json_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is not JSON: {error}. Mend it.") from error
    if not isinstance(value, dict):
        raise DataError(f'{path} must be an object {{"name": index}}. Mend it.')
    return value


def _csv_rows(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Returns line number and row of a CSV file that has these columns in its header."""
    reader = csv.DictReader(_text(path).splitlines())
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise DataError(f"{path} line {reader.line_num} is not CSV: {error}. Mend it.") from error
    missing = [column for column in columns if column not in (reader.fieldnames or ())]
    if missing:
        raise DataError(
            f"{path} has no column {missing[0]!r}. Its first line must name the columns "
            f"{','.join(columns)}."
        )
    if not rows:
        raise DataError(f"{path} has a header but no rows. Add some.")
    return rows


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text. Save it as UTF-8.") from error
