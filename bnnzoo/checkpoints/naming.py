"""Tables of names: which tensor of a checkpoint belongs to which weight of a Keras model."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

__all__ = ["Names"]

# Name of a weight in Keras -> in PyTorch. The others have the same name in both.
_VARIABLES = {
    "alpha": "weight",
    "beta": "bias",
    "gamma": "weight",
    "kernel": "weight",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_UNUSED = ("*num_batches_tracked",)
# A number in a pattern or a template: {stage}, or with an offset: {stage-1}.
_NUMBER = re.compile(r"\{(\w+)([+-]\d+)?\}")


@dataclass(frozen=True)
class Names:
    """The names in the checkpoints of one architecture.

        Names({"stem_conv": "conv1", "stage{s}_block{b}_conv": "layer{s}.{b-1}.conv1"})

    Attributes:
        layers: Name of a layer -> name of its module in PyTorch, with numbers in braces. A name
            with a slash is that of one weight: `"stem_prelu/alpha": "prelu1.weight"`. The first
            match is used.
        variables: Name of a weight within a layer -> within a module, in addition to the names of
            Keras's own layers.
        unused: Patterns of tensors that the network does not use.
        below: Pattern of unused tensors -> a bound. The network is binary only if all their values
            are below it.
        endings: Suffix of names in some checkpoints -> the suffix in `layers` and `variables`.
    """

    layers: Mapping[str, str]
    variables: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    below: Mapping[str, float] = field(default_factory=dict)
    endings: Mapping[str, str] = field(default_factory=dict)

    def source(self, path: str) -> str:
        """Returns the name of the tensor for a weight, `layer/variable`.

        Raises:
            KeyError: No pattern matches, because the table is for another architecture.
        """
        layer, _, variable = path.rpartition("/")
        for pattern, template in self.layers.items():
            match = _compiled(pattern).fullmatch(path if "/" in pattern else layer)
            if match is not None:
                name = _filled(template, match)
                within = {**_VARIABLES, **self.variables}.get(variable, variable)
                return name if "/" in pattern else f"{name}.{within}"
        raise KeyError(path)

    def canonical(self, name: str) -> str:
        """Returns the name of a tensor with its suffix replaced as `endings` specifies."""
        for suffix, replacement in self.endings.items():
            if name.endswith(suffix):
                return name.removesuffix(suffix) + replacement
        return name

    def is_unused(self, name: str) -> bool:
        """Returns whether the network does not use a tensor."""
        return any(fnmatchcase(name, p) for p in (*_UNUSED, *self.unused, *self.below))


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    literals = map(re.escape, _NUMBER.split(pattern)[::3])
    groups = [f"(?P<{name}>[0-9]+)" for name, _ in _NUMBER.findall(pattern)] + [""]
    return re.compile("".join(part for pair in zip(literals, groups, strict=True) for part in pair))


def _filled(template: str, match: re.Match[str]) -> str:
    return _NUMBER.sub(lambda number: str(int(match[number[1]]) + int(number[2] or 0)), template)
