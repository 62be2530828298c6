"""WeightClip limits weights, and its alias and config mean what they say."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from bnnzoo import nn
from bnnzoo.nn import constraints


@pytest.mark.parametrize("clip_value", [1.0, 1.25])
def test_limits(clip_value, rng):
    w = 2 * rng.standard_normal((5, 4)).astype("float32")
    clipped = keras.ops.convert_to_numpy(nn.WeightClip(clip_value)(w))
    np.testing.assert_array_equal(clipped, np.clip(w, -clip_value, clip_value))


def test_alias_and_config():
    assert isinstance(constraints.get("weight_clip"), nn.WeightClip)
    assert constraints.get(None) is None
    config = keras.constraints.serialize(nn.WeightClip(1.25))
    assert keras.constraints.get(config).clip_value == 1.25


@pytest.mark.parametrize("name", ["WeightClip", "weight_clip"])
def test_a_config_of_larq(name):
    config = {"class_name": name, "config": {"clip_value": 1.25}}
    assert constraints.get(config).clip_value == 1.25
    newer = {**config, "module": "larq.constraints", "registered_name": name}
    assert constraints.get(newer).clip_value == 1.25
    ours = keras.constraints.serialize(nn.WeightClip(1.5))
    assert keras.constraints.get(constraints.get(ours)).clip_value == 1.5


def test_must_be_positive():
    with pytest.raises(ValueError, match=r"clip_value must be positive, got 0\. Use"):
        nn.WeightClip(0)
