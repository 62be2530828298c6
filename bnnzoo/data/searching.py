"""Finds the image files below a folder."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bnnzoo.data.images import IMAGE_SUFFIXES
from bnnzoo.data.source import Skipped
from bnnzoo.errors import DataError

__all__ = ["Search"]

# Archives of macOS and Synology's file servers put copies of images in these folders.
_HIDDEN = frozenset(("__MACOSX", "@eaDir"))
_OTHER = "with another suffix"
_MAX_SUFFIXES = 5


class _Visible(NamedTuple):
    folders: list[Path]
    files: list[Path]


@dataclass
class Search:
    """A search for the images of a data set.

    It leaves out hidden files and folders, files without the suffix of an image, and everything
    that is not a regular file. Links are followed, except back to a folder already searched.

    Attributes:
        root: The folder of the data set.
        problems: Broken links, and folders that cannot be read.
        left_out: Number of entries left out, by reason.
        suffixes: Suffixes of the files that are not images.
    """

    root: Path
    problems: list[Skipped] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    suffixes: set[str] = field(default_factory=set)

    def class_folders(self) -> list[Path]:
        """Returns the folders in the root, and leaves out its files.

        Raises:
            DataError: It has no folders.
        """
        folders, files = self._visible(self.root)
        if folders:
            self.left_out["outside the class folders"] += len(files)
            return folders
        if self.problems:
            raise DataError(self.problems[0].reason)
        if any(file.suffix.lower() in IMAGE_SUFFIXES for file in files):
            raise DataError(
                f"{self.root} has images but no class folders. Sort them into "
                f"{self.root.name}/<class>/, or pass a labels file with --labels."
            )
        raise DataError(
            f"{self.root} is empty: it has neither class folders nor images. Check the path."
        )

    def images(self, folder: Path) -> list[Path]:
        """Returns the images below a class folder, sorted."""
        seen = {os.path.realpath(self.root)}
        found: list[Path] = []
        ahead = [folder]
        while ahead:
            here = ahead.pop()
            real = os.path.realpath(here)
            if real in seen or Path(os.path.realpath(here.parent)).is_relative_to(real):
                self.left_out["leading back to a folder"] += 1
                continue
            seen.add(real)
            folders, files = self._visible(here)
            found += self._images_of(files)
            # The last one is searched next: a folder comes before links to it.
            ahead += sorted(folders, key=lambda path: (not path.is_symlink(), path))
        return sorted(found)

    def said(self) -> str | None:
        """Describes what was left out; None if nothing was."""
        kinds = {kind: f"{count:,} {kind}" for kind, count in self.left_out.items() if count}
        if suffixes := sorted(filter(None, self.suffixes))[:_MAX_SUFFIXES]:
            kinds[_OTHER] += f" ({', '.join(suffixes)})"
        return ", ".join(kinds.values()) or None

    def _images_of(self, files: list[Path]) -> list[Path]:
        images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
        self.left_out[_OTHER] += len(files) - len(images)
        self.suffixes |= {file.suffix.lower() for file in files} - IMAGE_SUFFIXES
        return images

    def _visible(self, folder: Path) -> _Visible:
        """Returns the folders and files in a folder, and counts the entries left out."""
        found = _Visible([], [])
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    self._sort(entry, Path(folder, entry.name), found)
        except OSError as error:
            self._problem(folder, f"cannot be read: {error.strerror}")
        return found

    def _sort(self, entry: os.DirEntry[str], path: Path, found: _Visible) -> None:
        if entry.name.startswith(".") or entry.name in _HIDDEN:
            self.left_out["hidden"] += 1
            return
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError:  # a link to itself
            is_folder = is_file = False
        if is_folder:
            found.folders.append(path)
        elif is_file:
            found.files.append(path)
        elif entry.is_symlink():
            self._problem(path, f"is a link to {path.readlink()}, which does not exist")
        else:
            self.left_out["not a regular file"] += 1

    def _problem(self, path: Path, what: str) -> None:
        name = str(path.relative_to(self.root))
        reason = f"{path} {what}. Fix or remove it, or go on without it with --skip-bad."
        self.problems.append(Skipped(name, reason))
