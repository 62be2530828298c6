"""Reads the folder of a finished run and checks that it can be published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import NoneType
from typing import Any

from bnnzoo.errors import ArgumentError, WeightsError
from bnnzoo.manifest import TrainingRun
from bnnzoo.model_spec import ModelSpec
from bnnzoo.opening import open_model
from bnnzoo.training.recipes import recipe as known_recipe
from bnnzoo.training.recipes.schema import Recipe, type_names
from bnnzoo.training.recipes.settings import changed_settings
from bnnzoo.training.run_folder import ENVIRONMENT, LOG, MODEL, REPORT, RunFolder

__all__ = ["FinishedRun", "open_finished_run"]

# Public data, so that everybody can repeat the measurement.
PUBLIC_DATA = ("keras:", "tfds:")
# What is read of a run, and its types: its folder may have been edited.
_REPORT = {"epochs": (int,), "seconds": (float, int), "evaluation": (dict,)}
_EVALUATION = {"weights_sha256": (str,), "n": (int,), "date": (str,)}
_START = {
    "after_epoch": (int, NoneType),
    "hardware": (str, NoneType),
    "devices": (list,),
    "versions": (dict,),
}


@dataclass(frozen=True)
class FinishedRun:
    """A finished run of a recipe in `bnnzoo recipes`.

    Attributes:
        folder: Folder of the run.
        recipe: The recipe of the run.
        settings: Settings that differ from the recipe of this name, as `train --set` takes them.
        report: The report of `train`.
        starts: Versions and hardware of each start.
        log: Text of `log.csv`, a row per epoch.
    """

    folder: RunFolder
    recipe: Recipe
    settings: dict[str, Any]
    report: dict[str, Any]
    starts: list[dict[str, Any]]
    log: str

    @property
    def digest(self) -> str:
        """Sha256 of the trained network's file."""
        return self.folder.digest(MODEL)

    def network(self) -> Any:
        """Returns the trained network.

        Raises:
            WeightsError: The file is not the result of the run.
            ArgumentError: Its classes have no known names.
        """
        if self.report["evaluation"]["weights_sha256"] != self.digest:
            raise WeightsError(
                f"{self.folder.path / MODEL} must hold the final weights of the run, got "
                "others. Remove it and report.json, and write both again with `bnnzoo train "
                f"{self.recipe.name} --out {self.folder.path} --resume`."
            )
        network = open_model(self.folder.path / MODEL)
        spec: ModelSpec | None = getattr(network, "model_spec", None)
        if spec is None or not isinstance(spec.labels, str):
            raise ArgumentError(
                f"Class names of {self.recipe.data} must be known, got none. Add them to "
                "bnnzoo/data/labels."
            )
        return network

    def training(self, hardware: str | None) -> TrainingRun:
        """Returns duration and hardware of the run.

        Args:
            hardware: Description; None uses what the run recorded.

        Raises:
            WeightsError: The run did not record its hardware.
        """
        epochs = self.report["epochs"]
        trained = [start for start in self.starts if (start.get("after_epoch") or 0) < epochs]
        if not trained:
            raise WeightsError(
                f"{self.folder.path / ENVIRONMENT} must have the start that trained, got none. "
                "Name the hardware of another run, or train again."
            )
        found = [
            start.get("hardware") or ", ".join(map(str, start["devices"])) for start in trained
        ]
        return TrainingRun(
            epochs=epochs,
            seconds=self.report["seconds"],
            hardware=hardware or ", then ".join(dict.fromkeys(found)),
            versions=trained[-1]["versions"],
            date=self.report["evaluation"]["date"][:10],
        )


def open_finished_run(path: str | PathLike[str]) -> FinishedRun:
    """Returns a run that can be published.

    Raises:
        ArgumentError: There is no run, it is not finished, its recipe is not in `bnnzoo recipes`,
            or its test images are not public.
        WeightsError: Its files contradict each other, or were edited.
        BnnZooError: A file cannot be read.
    """
    folder = RunFolder(Path(path))
    recipe = folder.read_recipe()
    if recipe is None:
        raise ArgumentError(f"{path} must be the folder of a run, got none. Name another one.")
    settings = changed_settings(recipe, known_recipe(recipe.name))
    if not recipe.test_data.startswith(PUBLIC_DATA):
        raise ArgumentError(
            f"test_data must be keras:NAME or tfds:NAME, got '{recipe.test_data}'. Others cannot "
            "repeat a measurement on your files."
        )
    report, starts = folder.read_json(REPORT, dict), folder.read_json(ENVIRONMENT, list)
    log = _read_log(folder.path / LOG)
    done = max(0, len(log.splitlines()) - 1)
    if report is None or starts is None or not folder.has(MODEL):
        raise ArgumentError(
            f"{path} must be a finished run, got {done} of {recipe.epochs} epochs. Go on with "
            f"`bnnzoo train {recipe.name} --out {path} --resume`."
        )
    _check(folder.path / REPORT, report, _REPORT)
    _check(folder.path / REPORT, report["evaluation"], _EVALUATION)
    for start in starts:
        _check(folder.path / ENVIRONMENT, start, _START)
    if not done == report["epochs"] == recipe.epochs:
        raise WeightsError(
            f"log.csv and report.json in {path} must have the {recipe.epochs} epochs of the "
            f"recipe, got {done} and {report['epochs']}. They belong to another run."
        )
    return FinishedRun(folder, recipe, settings, report, starts, log)


def _check(path: Path, value: Any, kinds: Mapping[str, tuple[type, ...]]) -> None:
    """Checks the fields of a JSON object in a file of the run."""
    fields = value if isinstance(value, dict) else {}
    for name, allowed in kinds.items():
        if type(fields.get(name)) not in allowed:
            raise WeightsError(
                f"{path} must have {name} as {type_names(allowed)}, got {fields.get(name)!r:.80}. "
                "It was edited: restore it, or train again in another folder."
            )


def _read_log(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{path} cannot be read: {error}. Train again in another folder."
        ) from error
