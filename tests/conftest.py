"""Fixtures and settings that every test shares."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import traced_zoo
from tests.small_zoo import trained

__all__ = ["trained"]

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# A shell starts background jobs deaf to interrupts, and the processes of tests would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

DATA = Path(__file__).parent / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files with the longest tests first, so that two workers end at the same time."""
    items.sort(key=lambda item: "training" not in item.path.parts)


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that are the same in every run."""
    return np.random.default_rng(20)


@pytest.fixture(scope="session")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], traced_zoo.Traced]:
    """Architectures by name, in a folder that the workers of a run share."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    (folder / "traced").mkdir(exist_ok=True)
    return functools.partial(traced_zoo.traced, folder=folder / "traced")


@pytest.fixture
def channels_first() -> Iterator[None]:
    """The setting of Keras that puts channels in front, for the length of a test."""
    import keras

    usual = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format(usual)
