"""The architectures of the zoo as a table: what holds of each, and which are quickly tested."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass(frozen=True)
class Case:
    """What holds of one model.

    Attributes:
        feature_map: Output without the top at the default input.
        reductions: Of the stages at the default input.
        least: Least height and width of the input.
        least_map: Output without the top at `(least, least + 5)`.
        small_stem: Whether the stem keeps the resolution of inputs below 64 pixels.
    """

    feature_map: tuple[int, ...]
    reductions: tuple[int, ...]
    least: int
    least_map: tuple[int, ...]
    small_stem: bool = False


def small_stem(channels: int) -> Case:
    """An ImageNet family with four stages."""
    return Case((7, 7, channels), (4, 8, 16, 32), 8, (1, 2, channels), small_stem=True)


def mobile(channels: int) -> Case:
    """An ImageNet family with five stages, the first one at half the resolution of the images."""
    return Case((7, 7, channels), (2, 4, 8, 16, 32), 8, (1, 1, channels), small_stem=True)


MODELS = {
    "adabin_resnet18": small_stem(512),
    "adabin_resnet20": Case((8, 8, 64), (1, 2, 4), 4, (1, 3, 64)),
    "binary_alexnet": Case((6, 6, 256), (8, 17, 37), 57, (1, 1, 256)),
    "binary_densenet28": Case((7, 7, 576), (4, 8, 16, 32), 8, (1, 1, 576), small_stem=True),
    "binary_densenet37": Case((7, 7, 640), (4, 8, 16, 32), 8, (1, 1, 640), small_stem=True),
    "binary_densenet37_dilated": Case((28, 28, 640), (4, 8, 8, 8), 8, (4, 6, 640), small_stem=True),
    "binary_densenet45": Case((7, 7, 800), (4, 8, 16, 32), 8, (1, 1, 800), small_stem=True),
    "binarynet": Case((4, 4, 512), (2, 4, 8), 8, (1, 1, 512)),
    "binarynet_mlp": Case((2048,), (28, 28, 28), 1, (2048,)),
    "birealnet18": small_stem(512),
    "birealnet20": Case((8, 8, 64), (1, 2, 4), 4, (1, 3, 64)),
    "birealnet34": small_stem(512),
    "bnext_large": mobile(2048),
    "bnext_middle": mobile(1536),
    "bnext_small": mobile(1536),
    "bnext_tiny": mobile(1024),
    "dorefanet": Case((6, 6, 256), (8, 16, 37), 44, (1, 1, 256)),
    "groupnet18": small_stem(512),
    "groupnet18_scales": small_stem(512),
    "groupnet18_segmentation": Case((28, 28, 512), (4, 8, 8, 8), 8, (1, 2, 512), small_stem=True),
    "meliusnet22": small_stem(512),
    "meliusnet23": small_stem(672),
    "meliusnet29": small_stem(640),
    "meliusnet42": small_stem(1056),
    "meliusnet59": small_stem(1312),
    "meliusnet_a": small_stem(672),
    "meliusnet_b": small_stem(704),
    "meliusnet_c": small_stem(672),
    "quicknet": Case((7, 7, 512), (4, 8, 16, 32), 8, (1, 1, 512), small_stem=True),
    "quicknet_large": Case((7, 7, 512), (4, 8, 16, 32), 8, (1, 1, 512), small_stem=True),
    "quicknet_small": Case((7, 7, 512), (4, 8, 16, 32), 8, (1, 1, 512), small_stem=True),
    "reactnet_a": mobile(1024),
    "reactnet_cifar": Case((4, 4, 256), (2, 4, 8), 8, (1, 2, 256)),
    "reactnet_resnet18": small_stem(512),
    "reactnet_resnet34": small_stem(512),
    "real_to_binary": small_stem(512),
    "resnet_e18": small_stem(512),
    "xnornet": Case((1, 1, 4096), (8, 17, 37), 217, (1, 1, 4096)),
    "xnornet_vgg": Case((4, 4, 512), (2, 4, 8), 8, (1, 1, 512)),
}
SMALL_STEMS = [name for name, case in MODELS.items() if case.small_stem]
# Deeper or wider than another one, of no other layers.
LARGER = {
    "binary_densenet37",
    "binary_densenet45",
    "birealnet34",
    "bnext_large",
    "bnext_middle",
    "bnext_small",
    "groupnet18_scales",
    "groupnet18_segmentation",
    "meliusnet23",
    "meliusnet29",
    "meliusnet42",
    "meliusnet59",
    "meliusnet_b",
    "meliusnet_c",
    "quicknet",
    "quicknet_large",
    "reactnet_resnet34",
}
# Too large for a test run that holds many models.
HUGE = (
    "bnext_large",
    "bnext_middle",
    "bnext_small",
    "groupnet18_scales",
    "groupnet18_segmentation",
    "meliusnet59",
)
EVERY = [pytest.param(n, marks=[pytest.mark.long] if n in HUGE else []) for n in MODELS]
KINDS = [name for name in MODELS if name not in LARGER]

# One of each kind: dense layers, residuals, the operations of ImageNet families, a plain stack.
QUICK = ("binarynet_mlp", "birealnet20", "quicknet_small", "xnornet_vgg")


def swept(
    names: Iterable[str] = MODELS, quick: Iterable[str] = QUICK, rest: str = "slow"
) -> list[Any]:
    """Returns parameters for a test: all names, those that are not quick marked `rest`.

    Those that take gigabytes are marked `long`.
    """
    marks = {name: [] for name in quick} | {name: [pytest.mark.long] for name in HUGE}
    usual = [getattr(pytest.mark, rest)]
    return [pytest.param(name, marks=marks.get(name, usual)) for name in names]
