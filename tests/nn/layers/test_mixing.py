"""SoftGate and ChannelMix against their formulas in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from bnnzoo import nn

A = np.array([[1.0, -2.0, 0.5]], np.float32)
B = np.array([[3.0, 4.0, -1.0]], np.float32)


def mixed(layer, weight, training=None):
    layer.build([A.shape, B.shape])
    layer.set_weights([np.float32(weight)])
    arguments = {} if training is None else {"training": training}
    return ops.convert_to_numpy(layer([A, B], **arguments))


def test_soft_gate():
    share = 1 / (1 + np.exp(-0.75))
    # The terms are up to 2.4 in magnitude, and each is rounded to float32.
    np.testing.assert_allclose(mixed(nn.SoftGate(), 0.75), share * A + (1 - share) * B, atol=5e-7)


@pytest.mark.parametrize("clip, training, clipped", [
    ("always", None, True), ("always", True, True), ("training", True, True),
    ("training", False, False),
])  # fmt: skip
def test_channel_mix(clip, training, clipped):
    weight = np.array([-0.5, 0.25, 1.5])
    w = np.clip(weight, 0, 1) if clipped else weight
    found = mixed(nn.ChannelMix(clip), weight, training)
    np.testing.assert_allclose(found, w * A + (1 - w) * B, rtol=1e-6)


def test_an_unknown_clip_is_refused():
    with pytest.raises(ValueError, match="clip must be 'always' or 'training', got 'never'"):
        nn.ChannelMix("never")


@pytest.mark.parametrize("layer", [nn.SoftGate("ones"), nn.ChannelMix("training", "zeros")])
def test_is_rebuilt_from_its_config(layer):
    copy = type(layer).from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert copy.compute_output_shape([(None, 2, 3), (None, 2, 3)]) == (None, 2, 3)
