"""ReActNet: liuzechun/ReActNet and liuzechun/AdamBNN, https://arxiv.org/abs/2003.03488."""

from __future__ import annotations

from bnnzoo.checkpoints.naming import Names

__all__ = ["NAMES"]

# ReActNet names its flat kernels `weights`, AdamBNN its 4-D kernels `weight`.
_ENDINGS = {".weights": ".weight"}
_MOBILE = Names(
    {
        "stem_conv": "feature.0.conv1",
        "stem_bn": "feature.0.bn1",
        "block{b}_shift{u}": "feature.{b}.move{u}1",
        "block{b}_rprelu{u}/input_shift": "feature.{b}.move{u}2.bias",
        "block{b}_rprelu{u}/alpha": "feature.{b}.prelu{u}.weight",
        "block{b}_rprelu{u}/output_shift": "feature.{b}.move{u}3.bias",
        "block{b}_conv1": "feature.{b}.binary_3x3",
        "block{b}_bn1": "feature.{b}.bn1",
        # Blocks that keep their channels have one 1 x 1 convolution.
        **{f"block{b}_conv2_1": f"feature.{b}.binary_pw" for b in (3, 5, *range(7, 12), 13)},
        **{f"block{b}_bn2_1": f"feature.{b}.bn2" for b in (3, 5, *range(7, 12), 13)},
        "block{b}_conv2_{p}": "feature.{b}.binary_pw_down{p}",
        "block{b}_bn2_{p}": "feature.{b}.bn2_{p}",
        "logits": "fc",
    },
    variables={"shift": "bias"},
    endings=_ENDINGS,
)
_RESNET = Names(
    {
        "stem_conv": "conv1",
        "stem_bn": "bn1",
        "stage{s}_block{b}_shift": "layer{s}.{b-1}.move0",
        "stage{s}_block{b}_conv": "layer{s}.{b-1}.binary_conv",
        "stage{s}_block{b}_bn": "layer{s}.{b-1}.bn1",
        "stage{s}_block{b}_rprelu/input_shift": "layer{s}.{b-1}.move1.bias",
        "stage{s}_block{b}_rprelu/alpha": "layer{s}.{b-1}.prelu.weight",
        "stage{s}_block{b}_rprelu/output_shift": "layer{s}.{b-1}.move2.bias",
        "stage{s}_block{b}_shortcut_conv": "layer{s}.{b-1}.downsample.1",
        "stage{s}_block{b}_shortcut_bn": "layer{s}.{b-1}.downsample.2",
        "logits": "fc",
    },
    variables={"shift": "bias"},
    endings=_ENDINGS,
)
NAMES = {"reactnet_a": _MOBILE, "reactnet_resnet18": _RESNET, "reactnet_resnet34": _RESNET}
