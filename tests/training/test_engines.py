"""Which engine trains a phase."""

from __future__ import annotations

import logging

import pytest

from bnnzoo import training
from bnnzoo.errors import ArgumentError
from bnnzoo.training import Phase, devices
from bnnzoo.training.distributed.distribution import ALONE
from bnnzoo.training.engines import native_engine
from tests.training.tiny import tiny_recipe


def test_an_unknown_engine(tmp_path):
    with pytest.raises(ArgumentError, match=r"engine must be one of .*Did you mean 'native'"):
        training.train(tiny_recipe(tmp_path), tmp_path / "run", engine="nativ")


# real_to_binary scales by a sigmoid.
UNKNOWN = {"network": "real_to_binary", "arguments": {}, "batch_size": 32}


def test_keras_trains_what_is_not_known_and_says_so(caplog):
    phase = Phase(1, attention=1.0, teacher="previous")
    caplog.set_level(logging.WARNING, "bnnzoo")

    assert native_engine("auto", None, None, phase, 16, None, ALONE) is None
    (record,) = caplog.records
    assert record.getMessage() == (
        "Training with Keras, not natively: attention matching is not in the native engine."
    )


def test_a_network_that_only_keras_can_train(tmp_path):
    recipe = tiny_recipe(tmp_path, Phase(1), **UNKNOWN)
    with pytest.raises(ArgumentError, match="must be keras here: layer '.*' has the function"):
        training.train(recipe, tmp_path / "run", engine="native")


def test_the_log_says_when_bfloat16_is_not_used(tmp_path, caplog):
    recipe = tiny_recipe(tmp_path, Phase(1), precision="mixed_bfloat16")
    caplog.set_level(logging.WARNING, "bnnzoo")
    training.train(recipe, tmp_path / "run", engine="keras")
    emulated = devices.usable_precision("mixed_bfloat16") == "float32"
    expected = ["Training in float32: this CPU only emulates mixed_bfloat16."] if emulated else []
    assert [record.getMessage() for record in caplog.records] == expected
