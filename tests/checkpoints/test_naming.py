"""Tables of names."""

from __future__ import annotations

import pytest

from bnnzoo.checkpoints.naming import Names

NAMES = Names(
    {
        "stem_conv": "conv1",
        "stem_prelu/alpha": "features.0.slope",
        "stage{s}_block{b}_conv": "layer{s}.{b-1}.conv1",
        "stage{s}_block{b}_act/shift": "layer{s}.{b-1}.move{b+10}.bias",
        "stage{s}_block{b}_act": "layer{s}.{b-1}.prelu",
        "a.b": "c",
    },
    variables={"scale": "alpha_a"},
    unused=("aux.*",),
    below={"*.temperature": 1e-7},
)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("stem_conv/kernel", "conv1.weight"),
        ("stem_conv/bias", "conv1.bias"),
        ("stem_prelu/alpha", "features.0.slope"),
        ("stage2_block1_conv/kernel", "layer2.0.conv1.weight"),
        ("stage12_block10_conv/moving_mean", "layer12.9.conv1.running_mean"),
        ("stage1_block3_conv/moving_variance", "layer1.2.conv1.running_var"),
        ("stage1_block3_conv/gamma", "layer1.2.conv1.weight"),
        ("stage1_block3_conv/beta", "layer1.2.conv1.bias"),
        ("stage1_block3_act/alpha", "layer1.2.prelu.weight"),
        ("stage1_block3_act/shift", "layer1.2.move13.bias"),
        ("stage1_block3_act/scale", "layer1.2.prelu.alpha_a"),
        ("stem_conv/center", "conv1.center"),
        ("a.b/c", "c.c"),
    ],
)
def test_the_first_match_names_a_weight(path, name):
    assert NAMES.source(path) == name


@pytest.mark.parametrize("path", ["axb/c", "stem_conv2/kernel", "stage_block1_conv/kernel", "x/y"])
def test_other_weights_have_no_name(path):
    with pytest.raises(KeyError):
        NAMES.source(path)


def test_unused_tensors():
    unused = ("bn1.num_batches_tracked", "num_batches_tracked", "aux.1.weight", "a.temperature")
    assert all(map(NAMES.is_unused, unused))
    assert not NAMES.is_unused("aux") and not NAMES.is_unused("bn1.weight")
