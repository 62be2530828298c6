"""The recipes for segmentation, on any folders of images and masks.

`bnnzoo train NAME --data folder:IMAGES,MASKS`, where both folders have `train` and `test` (or
`val`). All use DeepLab's poly schedule, and flips and random crops of the images with their masks.
They have not been run on a public data set: `docs/segmentation.md` says what they were tried on.
"""

from __future__ import annotations

from typing import Any

from bnnzoo.training.recipes.schema import Augmentation, Phase, Recipe

__all__ = ["SEGMENTATION_RECIPES"]

_IMAGENET = "mean=0.485,0.456,0.406:std=0.229,0.224,0.225:size={0}x{0}"


def _recipe(network: str, size: int, summary: str, phase: Phase, **fields: Any) -> Recipe:
    return Recipe(
        name=f"{network}.masks",
        network=network,
        data="folder:images/train,masks/train",
        test_data="folder:images/test,masks/test",
        phases=(phase,),
        preprocessing=_IMAGENET.format(size),
        augmentation=Augmentation(flip=True, min_area=0.25),
        summary=f"{summary} Adam, poly, flips and crops.",
        **fields,
    )


SEGMENTATION_RECIPES = (
    _recipe(
        "groupnet18_segmentation",
        224,
        "BPAC at an output stride of 8.",
        Phase(epochs=120, learning_rate=2e-3, schedule="poly", warmup_epochs=2),
        batch_size=16,
        precision="mixed_bfloat16",
    ),
    _recipe(
        "binary_densenet37_dilated",
        224,
        "An ASPP head; start_from=NAME.TAG takes pretrained weights.",
        Phase(epochs=120, learning_rate=2e-3, schedule="poly", warmup_epochs=2),
        head="aspp",
        batch_size=16,
        precision="mixed_bfloat16",
    ),
    _recipe(
        "birealnet20",
        64,
        "An FCN head on the last stage, for images of 64 pixels and a CPU.",
        Phase(epochs=40, learning_rate=3e-3, schedule="poly", warmup_epochs=1),
        head="fcn",
        batch_size=16,
    ),
)
