"""Group-Net: bohanzhuang/Group-Net-image-classification, https://arxiv.org/abs/1811.10413."""

from __future__ import annotations

from bnnzoo.checkpoints.naming import Names

__all__ = ["NAMES"]

NAMES = {
    "groupnet18": Names(
        {
            "stem_conv": "conv1",
            "stem_bn": "bn1",
            "stage{s}_block{b}_gate/gate": "layer{s}.{b-1}.block_gate",
            "stage{s}_block{b}_base{j}_unit{u}_conv": "layer{s}.{b-1}.conv{u}.{j-1}",
            "stage{s}_block{b}_base{j}_unit{u}_bn": "layer{s}.{b-1}.bn{u}.{j-1}",
            "stage{s}_block{b}_shortcut_conv": "layer{s}.{b-1}.downsample.conv",
            "stage{s}_block{b}_shortcut_bn": "layer{s}.{b-1}.downsample.batch_norm",
            "logits": "fc",
        }
    )
}
