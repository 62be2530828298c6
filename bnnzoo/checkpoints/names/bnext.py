"""BNext: hpi-xnor/BNext, https://arxiv.org/abs/2211.12933."""

from __future__ import annotations

from bnnzoo.checkpoints.naming import Names

__all__ = ["NAMES"]

# Kernels are divided by a temperature and clipped, which approaches their sign as the temperature
# approaches zero. Training starts at 1 and ends below this value.
MAX_TEMPERATURE = 1e-7
_UNITS = {
    "block{b}_unit1": "feature.{b}.Attention",
    "block{b}_unit2": "feature.{b}.FFN",
    "block{b}_unit2_{p}": "feature.{b}.FFN_{p}",
}
_MODULES = {
    "shift": "move",
    "conv": "binary_conv",
    "bn1": "norm1",
    "bn2": "norm2",
    "gate_prelu": "activation1",
    "prelu": "activation2",
    "squeeze": "se.se.1",
    "excite": "se.se.3",
}
_NAMES = Names(
    {
        "stem_conv": "feature.0.conv1",
        "stem_bn": "feature.0.bn1",
        **{
            f"{unit}_{layer}": f"{name}.{module}"
            for unit, name in _UNITS.items()
            for layer, module in _MODULES.items()
        },
        **{f"{unit}_mix/mix": f"{name}.scale" for unit, name in _UNITS.items()},
        "head_prelu": "prelu",
        "logits": "fc",
    },
    variables={"shift": "bias"},
    unused=("feature.0.prelu.weight", "*.activation1.weight", "*.binary_activation.temperature"),
    below={"*.binary_conv.temperature": MAX_TEMPERATURE},
)
NAMES = dict.fromkeys(("bnext_tiny", "bnext_small", "bnext_middle", "bnext_large"), _NAMES)
