"""Which engine trains a phase."""

from __future__ import annotations

import logging

import pytest

from bnnzoo import training
from bnnzoo.errors import ArgumentError
from bnnzoo.training import Phase
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
