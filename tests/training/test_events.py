"""TensorBoard reads the event files back."""

from __future__ import annotations

import pytest

pytest.importorskip("tensorboard")

from bnnzoo.errors import BnnZooError
from bnnzoo.training.events import EventFile, open_events, tensorboard_is_installed


def test_scalars_are_read_back(tmp_path):
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    events = EventFile(tmp_path / "events")
    events.write(1, {"loss": 2.5, "flip_ratio/conv/kernel": 0.25})
    events.write(2, {"loss": 1.5})
    events.close()
    (path,) = (tmp_path / "events").iterdir()
    read = [Event.FromString(record) for record in RawEventFileLoader(str(path)).Load()]
    assert read[0].file_version == "brain.Event:2"
    scalars = [(e.step, {v.tag: v.simple_value for v in e.summary.value}) for e in read[1:]]
    assert scalars == [(1, {"loss": 2.5, "flip_ratio/conv/kernel": 0.25}), (2, {"loss": 1.5})]


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
