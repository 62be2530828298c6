"""MeliusNet: hpi-xnor/bitorch 0.3, https://arxiv.org/abs/2001.05936."""

from __future__ import annotations

from bnnzoo.checkpoints.naming import Names

__all__ = ["NAMES"]

_LAYERS = {
    "stem1_conv": "features.0",
    "stem1_bn": "features.1",
    "stem2_conv": "features.3",
    "stem2_bn": "features.4",
    "stem3_conv": "features.6",
    "stem3_bn": "features.7",
    "section{s}_block{b}_dense_bn": "features.DenseBlock_{s}.DenseLayer_{b}.features.0",
    "section{s}_block{b}_dense_conv": "features.DenseBlock_{s}.DenseLayer_{b}.features.1",
    "section{s}_block{b}_improve_bn": "features.DenseBlock_{s}.ImprovementBlock{b}.body.0",
    "section{s}_block{b}_improve_conv": "features.DenseBlock_{s}.ImprovementBlock{b}.body.1",
    "transition{s}_bn": "features.Transition_{s}.0",
    "head_bn": "finalize.0",
    "logits": "output",
}
_PLAIN = Names({**_LAYERS, "transition{s}_conv": "features.Transition_{s}.3"})
# The channel shuffle before the convolution is a module of its own.
_SHUFFLED = Names({**_LAYERS, "transition{s}_conv": "features.Transition_{s}.4"})
NAMES = {
    **dict.fromkeys(("meliusnet29", "meliusnet42", "meliusnet59"), _PLAIN),
    **dict.fromkeys(("meliusnet23", "meliusnet_a", "meliusnet_b", "meliusnet_c"), _SHUFFLED),
}
