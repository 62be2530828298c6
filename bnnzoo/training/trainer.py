"""`train(recipe, folder)`: runs a recipe, with a checkpoint after every epoch."""

from __future__ import annotations

import dataclasses
import datetime
import logging
import os
import platform
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np

from bnnzoo import nn
from bnnzoo.data.sources import check_source
from bnnzoo.errors import ArgumentError
from bnnzoo.evaluation import evaluate
from bnnzoo.training import checkpoints
from bnnzoo.training.devices import (
    device_names,
    hardware,
    jit_compile,
    steps_per_call,
    usable_precision,
)
from bnnzoo.training.distributed.distribution import current_group
from bnnzoo.training.engines import check_engine, native_engine
from bnnzoo.training.epochs import EpochRunner, evaluation_batch
from bnnzoo.training.events import EventFile, open_events
from bnnzoo.training.heads import backbone_layers
from bnnzoo.training.images.device_images import input_layer
from bnnzoo.training.images.image_arrays import calibration_indices
from bnnzoo.training.images.run_data import open_data
from bnnzoo.training.networks import (
    NetworkMaker,
    calibrated,
    check_teacher,
    open_start,
    open_teacher,
)
from bnnzoo.training.optimizers import make_optimizer
from bnnzoo.training.progress import Progress, Row, shown
from bnnzoo.training.recipes import recipe as find_recipe
from bnnzoo.training.recipes.schema import TEACHERS, Recipe, check
from bnnzoo.training.run_folder import (
    BEST,
    ENVIRONMENT,
    IMAGES,
    MODEL,
    REPORT,
    RunFolder,
    open_run,
    phase_file,
)
from bnnzoo.training.training_model import TrainingModel
from bnnzoo.version import keras_versions, versions

__all__ = ["Progress", "train"]

logger = logging.getLogger(__name__)

CALIBRATION_IMAGES = 64
# Environment variables that change how sums are rounded.
COMPILER_FLAGS = ("TF_XLA_FLAGS", "XLA_FLAGS")

T = TypeVar("T")


def train(
    recipe: Recipe | str,
    folder: str | PathLike[str],
    *,
    resume: bool = False,
    progress: Callable[[Progress], None] | None = None,
    on_epoch: Callable[[Row], None] | None = None,
    verbose: bool = True,
    command: str | None = None,
    engine: str = "auto",
) -> dict[str, Any]:
    """Trains a network and returns the report, which is also written to `report.json`.

        from bnnzoo import training
        report = training.train("binarynet_mlp.mnist", "runs/mlp")

    The random numbers of Python, NumPy and the backend are seeded with the recipe's seed. On JAX,
    each batch is shared among all devices, and among all processes if several have joined; only the
    first one writes files.

    Args:
        recipe: The recipe, or its name.
        folder: The folder of the run, see `RunFolder`.
        resume: Continue an interrupted run after its last finished epoch.
        progress: Called after every step.
        on_epoch: Called with each row of the log.
        verbose: Show a progress bar and a line per epoch.
        command: Recorded in `environment.json`.
        engine: `native`, `keras`, or `auto`: native on a CPU, if it knows the network and the
            settings of a phase. Otherwise it is Keras, and the log says why.

    Returns:
        The report; empty in processes other than the first one, which evaluates.

    Raises:
        ArgumentError: The recipe is unknown or has an invalid value, the folder has another run, or
            the engine must be native but cannot train the recipe.
        DataError: The images cannot be read.
        BnnZooError: The loss is not finite, a file cannot be written, or another process is
            training there.
    """
    if isinstance(recipe, str):
        recipe = find_recipe(recipe)
    check(recipe)
    check_engine(engine)
    for source in (recipe.data, recipe.test_data):
        check_source(source)
    group = current_group()
    group.check(recipe.batch_size)
    if verbose and group.first:
        with shown() as (bar, line):
            return train(
                recipe, folder, resume=resume, progress=_both(bar, progress),
                on_epoch=_both(line, on_epoch), verbose=False, command=command, engine=engine,
            )  # fmt: skip
    with open_run(Path(folder), recipe, resume=resume, group=group) as run:
        report = run.read_json(REPORT, dict)
        if report is not None:
            group.leave()
            return dict(report)
        # JAX compares the initial weights of all processes, even those that a file overwrites.
        keras.utils.set_random_seed(recipe.seed)
        with open_events(run.path / "events", group.first) as events, group.scope():
            trainer = _Trainer(recipe, run, events, progress, on_epoch, engine)
            start = len(trainer.rows)
            _record_environment(run, command, start)
            for index in range(len(recipe.phases)):
                trainer.run_phase(index)
        run.group = group.leave()
        return trainer.finish(resumed_after=start) if group.first else {}


def _both(ours: Callable[[T], None], theirs: Callable[[T], None] | None) -> Callable[[T], None]:
    """Returns a callback that calls two."""

    def call(value: T) -> None:
        ours(value)
        if theirs is not None:
            theirs(value)

    return call


class _Trainer:
    """A training run: images, networks, log."""

    def __init__(
        self,
        recipe: Recipe,
        folder: RunFolder,
        events: EventFile | None,
        progress: Callable[[Progress], None] | None,
        on_epoch: Callable[[Row], None] | None,
        engine: str,
    ) -> None:
        self.recipe = recipe
        self.folder = folder
        self.progress = progress
        self.on_epoch = on_epoch
        self.engine = engine
        self.rows: list[Row] = checkpoints.read_log(folder)
        self.events = events
        start = open_start(recipe)
        data = open_data(recipe, None if start is None else tuple(start.input_shape[1:]))
        self.data, images = data, data.images
        self._check_same(data.digest)
        folder.group.check_images(
            f"{len(images) - len(data.test)} to train on and {len(data.test)} to measure on, of "
            f"shape {images.shape}, in {data.num_classes} classes"
        )
        sample = images.some(calibration_indices(data.train, CALIBRATION_IMAGES, recipe.seed))
        start = calibrated(start, recipe, sample)
        task = "segmentation" if data.test.has_masks else "classification"
        self.precision = usable_precision(recipe.precision)
        self.networks = NetworkMaker(
            dataclasses.replace(recipe, precision=self.precision),
            images.shape,
            data.num_classes,
            data.class_names,
            start,
            task,
        )
        self.input_layer = input_layer(images, recipe.preprocessing, recipe.augmentation.pad)

    def _check_same(self, digest: str) -> None:
        """Records the images of a run, or checks that a resumed run has the same.

        Raises:
            ArgumentError: The run was started with other images.
        """
        before = self.folder.read_json(IMAGES, dict)
        if not self.rows or before is None:
            self.folder.write_json(IMAGES, {"sha256": digest})
        # All processes compare the digest of process 0, so that all end together.
        elif before.get("sha256") != self.folder.share_text(digest):
            raise ArgumentError(
                f"The run in {self.folder.path} was started with other images or labels than "
                f"{self.recipe.data} and {self.recipe.test_data} have now. Restore them, or choose "
                "another folder."
            )

    def run_phase(self, index: int) -> None:
        """Trains the remaining epochs of a phase."""
        phase = self.recipe.phases[index]
        first = sum(earlier.epochs for earlier in self.recipe.phases[:index])
        done = len(self.rows)
        if done >= first + phase.epochs:
            return
        model, native = self._compiled(index)
        if done > first:
            checkpoints.read_state(self.folder, model.network, model.optimizer)
        if native is None and self.precision != self.recipe.precision:
            logger.warning(
                "Training in %s: this CPU only emulates %s.", self.precision, self.recipe.precision
            )
        runner = EpochRunner(
            model, self.data, self.recipe, self.folder.group, self.progress, native
        )
        for epoch in range(done, first + phase.epochs):
            if nn.anneal(model, (epoch - first) / phase.epochs):
                model.make_train_function(force=True)
                if native is not None:
                    native.rebuild()
            row, flips = runner.run(epoch)
            self.rows.append({"phase": index + 1, **row})
            if epoch == first + phase.epochs - 1:
                checkpoints.write_weights(self.folder, phase_file(index), model.network)
            self._keep(model, flips)

    def _compiled(self, index: int) -> tuple[Any, Any]:
        """Returns the model that Keras trains, and the native engine if that does instead."""
        phase = self.recipe.phases[index]
        keras.utils.set_random_seed(self.recipe.seed)
        network = self.networks.network(index)
        if index:
            self._read_phase(index - 1, network)
        # Only during training: every layer of the result is trainable.
        for layer in backbone_layers(network) if phase.freeze_backbone else ():
            layer.trainable = False
        steps = len(self.data.train) // self.recipe.batch_size
        optimizer = make_optimizer(phase, network, steps)
        teacher = self._teacher(index, network)
        calls = steps_per_call(steps) if self.data.images.on_device else 1
        model = TrainingModel(network, self.input_layer, phase, teacher, calls)
        model.compile(optimizer=optimizer, jit_compile=jit_compile())
        optimizer.build(model.trainable_variables)
        native = native_engine(
            self.engine, network, optimizer, phase, self.recipe.batch_size, teacher,
            self.folder.group,
        )  # fmt: skip
        return model, native

    def _read_phase(self, index: int, network: Any) -> None:
        checkpoints.read_weights(self.folder, phase_file(index), network)

    def _teacher(self, index: int, student: Any) -> Any:
        phase = self.recipe.phases[index]
        if phase.teacher is None:
            return None
        if phase.teacher not in TEACHERS:
            return open_teacher(phase, student)
        trained = 0 if phase.teacher == "first" else index - 1
        teacher = self.networks.network(trained)
        self._read_phase(trained, teacher)
        check_teacher(phase, teacher, student)
        return teacher

    def _keep(self, model: Any, flips: dict[str, float]) -> None:
        """Saves what a resumed run cannot recompute, then the checkpoint, then the rest."""
        row, epoch = self.rows[-1], len(self.rows)
        if epoch == _best_epoch(self.rows):
            checkpoints.write_weights(self.folder, BEST, model.network)
        checkpoints.write_state(self.folder, model.network, model.optimizer, self.rows)
        self.folder.write_log(self.rows)
        if self.events is not None:
            named = {f"flip_ratio/{path}": flip for path, flip in flips.items()}
            self.events.write(epoch, {**{k: v for k, v in row.items() if k != "epoch"}, **named})
        if self.on_epoch is not None:
            self.on_epoch(row)

    def finish(self, resumed_after: int) -> dict[str, Any]:
        """Evaluates the last weights in float32, saves the model and writes the report."""
        last = len(self.recipe.phases) - 1
        network = self.networks.network(last, "float32")
        self._read_phase(last, network)
        self.folder.write_log(self.rows)
        with self.folder.replacing(MODEL) as path:
            network.save(path)
        batch_size = evaluation_batch(self.data)
        measured = evaluate(network, self.data.test, batch_size=batch_size).to_dict()
        report = {
            "recipe": self.recipe.name,
            "network": network.model_spec.name,
            "epochs": len(self.rows),
            "seconds": round(sum(row["seconds"] for row in self.rows), 1),
            "resumed_after": resumed_after or None,
            "best_epoch": _best_epoch(self.rows),
            "curve": "held-out training images" if self.recipe.held_out else self.data.test.name,
            "evaluation": {**measured, "model": MODEL, "weights_sha256": self.folder.digest(MODEL)},
        }
        self.folder.write_json(REPORT, report)
        return report


def _best_epoch(rows: list[Row]) -> int:
    """Returns the first epoch of the highest accuracy, from 1."""
    return 1 + int(np.argmax([row["val_top1"] for row in rows]))


def _record_environment(run: RunFolder, command: str | None, epochs: int) -> None:
    """Adds a start to `environment.json`, in place of earlier ones that finished no epoch."""
    start = {
        "after_epoch": epochs,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": command,
        "versions": {**versions(), **keras_versions()},
        "machine": platform.machine(),
        "system": platform.system(),
        "devices": device_names(),
        "hardware": hardware(),
        "compiler_flags": {name: os.environ[name] for name in COMPILER_FLAGS if name in os.environ},
    }
    starts = run.read_json(ENVIRONMENT, list) or []
    before = [s for s in starts if isinstance(s, dict) and s.get("after_epoch", 0) < epochs]
    run.write_json(ENVIRONMENT, [*before, start])
