"""TensorBoard reads the event files back."""

from __future__ import annotations

import csv

import pytest

pytest.importorskip("tensorboard")

import bnnzoo
from bnnzoo import training
from bnnzoo.errors import BnnZooError
from bnnzoo.training.events import EventFile, open_events, tensorboard_is_installed
from tests.training.tiny import tiny_recipe


def scalars_of(folder):
    """Returns the scalars of the only event file in a folder, by step."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    (path,) = folder.iterdir()
    first, *read = [Event.FromString(record) for record in RawEventFileLoader(str(path)).Load()]
    assert first.file_version == "brain.Event:2"
    return [(e.step, {v.tag: v.simple_value for v in e.summary.value}) for e in read]


def test_scalars_are_read_back(tmp_path):
    events = EventFile(tmp_path / "events")
    events.write(1, {"loss": 2.5, "flip_ratio/conv/kernel": 0.25})
    events.write(2, {"loss": 1.5})
    events.close()
    scalars = scalars_of(tmp_path / "events")
    assert scalars == [(1, {"loss": 2.5, "flip_ratio/conv/kernel": 0.25}), (2, {"loss": 1.5})]


def test_a_run_writes_what_its_log_has_and_the_flips_of_each_kernel(tmp_path):
    training.train(tiny_recipe(tmp_path), tmp_path / "run")
    with (tmp_path / "run" / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    columns = {"loss", "top1", "val_loss", "val_top1", "learning_rate", "flip_ratio"}
    network = bnnzoo.open_model(tmp_path / "run" / "model.keras")
    flips = {f"flip_ratio/{path}" for path in bnnzoo.nn.binary_weights(network)}
    assert len(flips) == 4
    scalars = scalars_of(tmp_path / "run" / "events")
    assert [step for step, _ in scalars] == [1, 2, 3]
    for (_, values), row in zip(scalars, rows, strict=True):
        assert columns | flips <= values.keys()
        for name in columns:
            assert values[name] == pytest.approx(float(row[name]), rel=1e-5, abs=1e-6)


def test_a_folder_that_cannot_be_written_is_one_error(tmp_path):
    (tmp_path / "events").write_text("a file")
    with pytest.raises(BnnZooError, match="cannot be written"):
        EventFile(tmp_path / "events")


def test_a_full_disk_is_one_error(tmp_path, small_files):
    with (
        pytest.raises(BnnZooError, match="cannot be written: File too large"),
        open_events(tmp_path / "events") as events,
    ):
        for step in range(100):
            events.write(step, {f"flip_ratio/{i}": 0.5 for i in range(100)})


def test_it_is_known_whether_events_can_be_written():
    assert tensorboard_is_installed()
