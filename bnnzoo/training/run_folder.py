"""The folder of a run: locking and atomic file writes."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bnnzoo.atomic import part_of, replacing
from bnnzoo.errors import ArgumentError, BnnZooError, first_line
from bnnzoo.records import RecordError
from bnnzoo.training.distributed.distribution import ALONE, Group
from bnnzoo.training.recipes.schema import Recipe

try:
    import fcntl
except ModuleNotFoundError:  # Windows, where two runs in one folder are not noticed
    fcntl = None  # type: ignore[assignment]

__all__ = ["RunFolder", "check_folder", "open_run", "phase_file"]

LAST = "checkpoints/last.npz"
BEST = "checkpoints/best.npz"
RECIPE = "recipe.json"
ENVIRONMENT = "environment.json"
IMAGES = "images.json"
REPORT = "report.json"
LOG = "log.csv"
MODEL = "model.keras"
# Marks files that are being written, so that those of a killed run are recognized.
MARK = "tmp"
PHASES = "checkpoints/phase*.npz"
_JSON_KINDS: dict[type, str] = {dict: "JSON object", list: "JSON list"}
OWN = {"checkpoints", "events", *(name for name in (ENVIRONMENT, IMAGES, LOG))}
WRITTEN = (RECIPE, ENVIRONMENT, IMAGES, REPORT, LOG, MODEL, LAST, BEST, PHASES)


def phase_file(index: int) -> str:
    """Returns the name of the weights at the end of a phase, counted from 0."""
    return f"checkpoints/phase{index + 1}.npz"


class RunFolder:
    """Files of one run, written under a temporary name and renamed.

        recipe.json         the recipe with every value
        environment.json    versions, device and command of each start that finished an epoch
        images.json         a digest of the images at the start of the run
        log.csv             a line per epoch
        events/             the same for TensorBoard, and flip ratios per layer
        checkpoints/        last.npz (to resume from), best.npz, phaseN.npz (weights)
        model.keras         the trained network
        report.json         the final evaluation

    Args:
        path: The folder, which must exist.
        group: The processes of the run. The first one writes, and reads for all; the others need
            no folder.
    """

    def __init__(self, path: Path, group: Group = ALONE) -> None:
        self.path = path
        self.group = group

    @contextlib.contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """Yields a temporary path whose file replaces `name` at the end of the block.

        Raises:
            BnnZooError: It cannot be written, as on a full disk. The old file stays.
        """
        target = self.path / name
        try:
            target.parent.mkdir(exist_ok=True)
            with replacing(target, mark=MARK) as part:
                yield part
        except OSError as error:
            raise BnnZooError(
                f"{target} cannot be written: {error.strerror or error}. The previous file is "
                "unchanged; free some space and continue with --resume."
            ) from error

    def write(self, name: str, data: bytes) -> None:
        """Writes a file atomically.

        Raises:
            BnnZooError: It cannot be written, as on a full disk. The old file stays.
        """
        if not self.group.first:
            return
        with self.replacing(name) as part, part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def write_text(self, name: str, text: str) -> None:
        """Writes a text file atomically."""
        self.write(name, text.encode())

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON file atomically."""
        self.write_text(name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def read_json(self, name: str, kind: type = object) -> Any:
        """Returns the value of a JSON file, or None if it does not exist.

        Args:
            name: Name of the file.
            kind: Type that the value must have.

        Raises:
            BnnZooError: The file is broken, or its value has another type.
        """
        try:
            data = self._read(name)
            value = None if data is None else json.loads(data)
        except (OSError, ValueError, RecursionError) as error:
            raise BnnZooError(
                f"{self.path / name} cannot be read: {error}. Start the run in another folder."
            ) from error
        if data is not None and not isinstance(value, kind):
            raise BnnZooError(
                f"{self.path / name} must hold a {_JSON_KINDS[kind]}, got {value!r:.80}. Start the "
                "run in another folder."
            )
        return value

    def read_recipe(self) -> Recipe | None:
        """Returns the recipe of the run; None if it was not written yet.

        Raises:
            BnnZooError: The file is broken, or is not a recipe.
        """
        value = self.read_json(RECIPE)
        try:
            return None if value is None else Recipe.from_dict(value)
        except RecordError as error:
            raise BnnZooError(
                f"{self.path / RECIPE} is not a recipe: {first_line(error)}. Start the run in "
                "another folder."
            ) from error

    def share_text(self, text: str) -> str:
        """Returns the first process's text in every process."""
        return (self.group.share(text.encode) or b"").decode()

    def write_arrays(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes a NumPy archive atomically."""
        # In memory first: NumPy 1 leaves its archive open when the disk is full.
        archive = io.BytesIO()
        np.savez(archive, allow_pickle=False, **arrays)
        self.write(name, archive.getvalue())

    def read_arrays(self, name: str) -> dict[str, np.ndarray]:
        """Returns the arrays of an archive.

        Raises:
            BnnZooError: It is missing or broken.
        """
        try:
            # NumPy does not close a broken file that it opened itself.
            with io.BytesIO(self._read(name) or b"") as file, np.load(file) as archive:
                return {key: archive[key] for key in archive.files}
        except Exception as error:  # zip and NumPy raise many types for damaged archives
            raise BnnZooError(
                f"{self.path / name} cannot be read: {error}. Start the run again in another "
                "folder."
            ) from error

    def write_log(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes `log.csv`."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        self.write_text(LOG, text.getvalue())

    def digest(self, name: str) -> str:
        """Returns the sha256 of a file."""
        return hashlib.sha256((self.path / name).read_bytes()).hexdigest()

    def has(self, name: str) -> bool:
        """Returns whether the file exists."""
        return self.group.share(lambda: b"" if (self.path / name).is_file() else None) is not None

    def _read(self, name: str) -> bytes | None:
        path = self.path / name
        return self.group.share(lambda: path.read_bytes() if path.is_file() else None)


def check_folder(path: Path, resume: bool) -> None:
    """Checks the folder of a run before any work is done.

    Raises:
        ArgumentError: It has a run and `resume` is false, it has other files but no run, or it is a
            file.
    """
    try:
        found = {entry.name for entry in path.iterdir()} if path.exists() else set()
    except OSError as error:  # a file, or a folder without permission
        raise ArgumentError(
            f"{path} must be the folder of a run, but cannot be listed: {error.strerror}. Choose "
            "another folder."
        ) from error
    left = [name for name in (LAST, REPORT) if (path / name).is_file()]
    if RECIPE not in found and left:
        raise ArgumentError(
            f"{path} has {left[0]} without {RECIPE}: it is not the folder of a run. "
            "Choose another one."
        )
    others = sorted(name for name in found if not name.startswith(".") and name not in OWN)
    if RECIPE not in found and others:
        raise ArgumentError(
            f"{path} must be empty or the folder of a run, but has {others[0]}. Choose another one."
        )
    if left and not resume:
        raise ArgumentError(
            f"{path} already has a run. Continue with --resume, or choose another folder."
        )


@contextlib.contextmanager
def open_run(
    path: Path, recipe: Recipe, *, resume: bool, group: Group = ALONE
) -> Iterator[RunFolder]:
    """Yields the folder of a run, locked against other processes.

    Args:
        path: The folder; created if needed.
        recipe: The recipe, which is written to the folder or compared with the one there.
        resume: Continue the run in the folder. In an empty folder, a new one is started.
        group: The processes of the run; only the first one opens the folder.

    Raises:
        ArgumentError: It has finished epochs and `resume` is false, or epochs of another recipe;
            or it is not the folder of a run.
        BnnZooError: Another process is training there, or the folder cannot be written.
    """
    if not group.first:
        yield RunFolder(path, group)
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BnnZooError(f"{path} cannot be created: {error.strerror}.") from error
    with _locked(path):
        check_folder(path, resume)
        folder = RunFolder(path)  # without the group, which does not read here
        found = folder.read_recipe()
        if found is None or not (folder.has(LAST) or folder.has(REPORT)):
            # No epoch was finished, so nothing is lost.
            folder.write_json(RECIPE, recipe.to_dict())
        else:
            _compare(path, found, recipe)
        for name in WRITTEN:
            for part in path.glob(str(part_of(Path(name), MARK))):
                part.unlink()  # of a killed run
        yield RunFolder(path, group)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    # The operating system releases the lock when the process ends, however it ends.
    try:
        file = (path / ".lock").open("a")
    except OSError as error:
        raise BnnZooError(f"{path} cannot be written: {error.strerror}.") from error
    with file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BnnZooError(
                    f"Another process is training in {path}. Wait for it, or choose another folder."
                ) from error
            except OSError as error:
                raise BnnZooError(
                    f"{path} cannot be locked: {error.strerror}. Choose a folder on a file system "
                    "with locks."
                ) from error
        yield


def _compare(path: Path, found: Recipe, recipe: Recipe) -> None:
    theirs, ours = (json.loads(json.dumps(each.to_dict())) for each in (found, recipe))
    # The summary of a recipe may be reworded.
    different = [key for key in ours if key != "summary" and theirs[key] != ours[key]]
    if different:
        raise ArgumentError(
            f"{path} has a run of another recipe: {', '.join(different)} differ. Use the same "
            "settings, or choose another folder."
        )
