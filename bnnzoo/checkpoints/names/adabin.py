"""AdaBin: huawei-noah/Efficient-Computing, BinaryNetworks/AdaBin, https://arxiv.org/abs/2208.08084."""

from __future__ import annotations

from bnnzoo.checkpoints.naming import Names

__all__ = ["NAMES"]

_LAYERS = {
    "stem_conv": "conv1",
    "stem_bn": "bn1",
    "stem_maxout": "nonlinear1",
    "stage{s}_block{b}_unit{u}_sign": "layer{s}.{b-1}.conv{u}.binary_a",
    "stage{s}_block{b}_unit{u}_conv": "layer{s}.{b-1}.conv{u}",
    "stage{s}_block{b}_unit{u}_bn": "layer{s}.{b-1}.bn{u}",
    "stage{s}_block{b}_unit{u}_maxout": "layer{s}.{b-1}.nonlinear{u}",
}
_VARIABLES = {
    "scale": "alpha_a",
    "center": "beta_a",
    "positive_scale": "pos_scale",
    "negative_scale": "neg_scale",
}
NAMES = {
    "adabin_resnet20": Names({**_LAYERS, "pool_bn": "bn2", "logits": "linear"}, _VARIABLES),
    "adabin_resnet18": Names(
        {
            **_LAYERS,
            "stage{s}_block{b}_unit{u}_shortcut_conv": "layer{s}.{b-1}.downsample.1",
            "stage{s}_block{b}_unit{u}_shortcut_bn": "layer{s}.{b-1}.downsample.2",
            "pool_bn": "bn2",
            "logits": "fc",
        },
        _VARIABLES,
        unused=("nonlinear2.*", "bn3.*"),
    ),
}
