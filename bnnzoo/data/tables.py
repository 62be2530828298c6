"""Reads label tables (CSV) and class indices (CSV or JSON)."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias
from unicodedata import normalize

from bnnzoo.data import labels
from bnnzoo.data.labels import Labels
from bnnzoo.errors import DataError

__all__ = [
    "ClassMap",
    "FileFinder",
    "class_index",
    "csv_rows",
    "names_or_table",
    "read_class_map",
    "read_names",
]

ClassMap: TypeAlias = Mapping[str, int] | str | PathLike[str]

MAX_CLASS_INDEX = 2**31 - 1
DELIMITERS = ",;\t"


def read_class_map(class_map: ClassMap) -> Mapping[str, int]:
    """Returns the class index by class name, with names in Unicode's composed form (NFC).

    Args:
        class_map: A mapping; a `.json` file with an object `{"name": index}`; or a CSV file with
            the columns `class_name,class_index`.

    Raises:
        DataError: The file does not exist or has other contents.
    """
    if isinstance(class_map, Mapping):
        entries: list[tuple[str, Any]] = list(class_map.items())
    elif Path(class_map).suffix.lower() == ".json":
        entries = _json_object(Path(class_map))
    else:
        rows = csv_rows(Path(class_map), ("class_name", "class_index"))
        entries = [(row["class_name"], class_index(row["class_index"])) for _, row in rows]
    indices: dict[str, int] = {}
    for name, index in entries:
        if not name:
            raise DataError(f"Class map: every row must have a name, got none for {index!r:.80}.")
        if type(index) is not int or not 0 <= index <= MAX_CLASS_INDEX:
            raise DataError(
                f"Class map: index of '{name:.80}' must be an integer from 0, got {index!r:.80}. "
                "Fix it."
            )
        if indices.setdefault(normalize("NFC", name), index) != index:
            raise DataError(f"Class map: '{name:.80}' must have one index, got two. Fix it.")
    return indices


def names_or_table(value: str) -> tuple[Labels | None, Path | None]:
    """Returns class names, or the path of a table of labelled images; the other one is None.

    Args:
        value: Id of a label set; a file of class names, see `read_names`; or a CSV file with the
            columns `file,class_index`.

    Raises:
        DataError: The class names cannot be read.
    """
    path = Path(value)
    if value in labels.list_labels():
        return value, None
    if path.is_file() and (path.suffix.lower() != ".csv" or "class_name" in _header(_text(path))):
        return read_names(path), None
    return None, path


def read_names(path: Path) -> tuple[str, ...]:
    """Returns the name of each class.

    Args:
        path: A text file with a name per line; a `.json` file with an array of names or an object
            `{"name": index}`; or a `.csv` file with the columns `class_name,class_index`.

    Raises:
        DataError: The file does not exist or has other contents.
    """
    suffix = path.suffix.lower()
    value = _json(path) if suffix == ".json" else None
    if suffix == ".csv" or isinstance(value, _Pairs):
        by_index = {index: name for name, index in read_class_map(path).items()}
        names = [by_index.get(i, "") for i in range(max(by_index) + 1)] if by_index else []
    elif suffix == ".json":
        names = value if isinstance(value, list) else []
    else:
        names = _text(path).rstrip().splitlines()
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise DataError(f"{path} must name every class, in order. Fix it.")
    return tuple(labels.printable(name.strip()) for name in names)


def class_index(text: str) -> int | str:
    """Returns the integer in a cell, or its text if it is not one."""
    is_number = re.fullmatch(r"\s*[+-]?[0-9]{1,10}\s*", text) and int(text) <= MAX_CLASS_INDEX
    return int(text) if is_number else text


def csv_rows(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Returns the line number and the row for each row of a CSV file.

    The delimiter is the one in the header: comma, semicolon (Excel's in some countries) or tab.

    Raises:
        DataError: The file cannot be read, is not CSV in UTF-8, or lacks a column.
    """
    text = _text(path)
    header = _header(text)
    delimiter = next((d for d in DELIMITERS if d in header), ",")
    reader = csv.DictReader(
        io.StringIO(text, newline=""), restval="", delimiter=delimiter, skipinitialspace=True
    )
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise DataError(
            f"{path} is not CSV after line {reader.line_num}: {error}. Fix it."
        ) from error
    missing = [column for column in columns if column not in (reader.fieldnames or ())]
    if missing:
        raise DataError(
            f"{path} has no column {missing[0]!r}. Its first line must name the columns "
            f"{','.join(columns)}."
        )
    if not rows:
        raise DataError(f"{path} has a header but no rows. Add rows.")
    return rows


class FileFinder:
    """Finds the files named in a table, which may come from another operating system.

    Backslashes may separate folders, and accented letters may be composed or decomposed.

    Args:
        root: The folder that names are relative to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listings: dict[Path, dict[str, str]] = {}

    def find(self, name: str) -> Path | None:
        """Returns the file with a name, or None."""
        for spelling in dict.fromkeys((name, name.replace("\\", "/"))):
            path = self.root / spelling
            if os.path.isfile(path):  # noqa: PTH113 - False for a name too long or with a NUL
                return path
            if (found := self._composed(spelling)) and found.is_file():
                return found
        return None

    def nearest(self, name: str) -> str | None:
        """Returns a file whose name differs only in case."""
        path = self.root / name.replace("\\", "/")
        wanted = path.name.casefold()
        entries = self._listing(path.parent).values()
        near = (entry for entry in entries if entry.casefold() == wanted)
        return next((entry for entry in near if (path.parent / entry).is_file()), None)

    def _composed(self, name: str) -> Path | None:
        """Follows a path whose parts may be spelled with different code points."""
        here = self.root
        for part in Path(name).parts:
            spelled = self._listing(here).get(normalize("NFC", part))
            if spelled is None:
                return None
            here /= spelled
        return here

    def _listing(self, folder: Path) -> dict[str, str]:
        """Returns the names in a folder by their composed spelling."""
        if folder not in self._listings:
            try:
                names = os.listdir(folder)  # noqa: PTH208 - only names are needed
            except (OSError, ValueError):
                names = []
            self._listings[folder] = {normalize("NFC", name): name for name in names}
        return self._listings[folder]


def _header(text: str) -> str:
    return text.partition("\n")[0]


def _json(path: Path) -> Any:
    try:
        return json.loads(_text(path), object_pairs_hook=_Pairs)
    except (RecursionError, ValueError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise DataError(f"{path} is not JSON: {reason}. Fix it.") from error


def _json_object(path: Path) -> list[tuple[str, Any]]:
    value = _json(path)
    if not isinstance(value, _Pairs):
        raise DataError(f'{path} must be an object {{"name": index}}. Fix it.')
    return value


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as pairs; keys may repeat."""


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path!s:.200} cannot be read: {reason}. Check the path.") from error
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path} is UTF-16, not UTF-8 text. Save it as UTF-8.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path} is not UTF-8 text: line {line} has the byte 0x{content[error.start]:02x}, as "
            "in a code page of Windows. Save it as UTF-8 (in Excel, 'CSV UTF-8')."
        ) from error
