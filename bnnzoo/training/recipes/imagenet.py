"""The recipes for ImageNet: the settings of Larq Zoo, and those of the authors of newer networks.

They have not been run by this project, so accuracies from papers or Larq Zoo are not measurements
of these recipes. All of them use Inception's random crop, flips, float32, and the batch norms of
the architectures.

The networks of Larq Zoo use `larq_in1k`, as `larq_zoo/training` does
(https://github.com/larq/zoo/tree/main/larq_zoo/training). Each summary names the class there. Larq
Zoo rounds the steps per epoch up, and bnnzoo rounds them down.

The authors of ReActNet, AdamBNN and BNext use published real-valued networks (a ResNet-34,
EfficientNets) as teachers. Here the teacher is the real-valued twin, trained in the first phase.

The settings of ReActNet, AdamBNN and BNext are those of the authors' scripts. Those of Group-Net
follow the paper, and have not been compared with its code.
"""

from __future__ import annotations

import dataclasses

from bnnzoo.training.recipes.schema import Augmentation, Phase, Recipe

__all__ = ["IMAGENET_RECIPES"]


def _recipe(
    name: str,
    batch_size: int,
    *phases: Phase,
    summary: str,
    preprocessing: str = "larq_in1k",
) -> Recipe:
    """Returns a recipe for `NETWORK` or `NETWORK-VARIANT`."""
    network, _, variant = name.partition("-")
    return Recipe(
        name=f"{network}.imagenet2012" + (f"-{variant}" if variant else ""),
        network=network,
        data="tfds:imagenet2012:train",
        test_data="tfds:imagenet2012:validation",
        phases=phases,
        preprocessing=preprocessing,
        augmentation=Augmentation(flip=True, min_area=0.08),
        batch_size=batch_size,
        batch_norm_momentum=None,
        summary=f"{summary} Not trained here.",
    )


def _densenet(
    layers: str, batch_size: int, epochs: int, drops: tuple[int, int], learning_rate: float = 4e-3
) -> Recipe:
    phase = Phase(
        epochs=epochs,
        learning_rate=learning_rate,
        epsilon=1e-8,
        schedule="steps",
        drops=((drops[0], 0.1), (drops[1], 0.01)),
    )
    summary = (
        f"Adam {learning_rate:g}, times 0.1 at epochs {drops[0]} and {drops[1]}: Larq Zoo's "
        f"TrainBinaryDenseNet{layers.title().replace('_', '')}."
    )
    return _recipe(f"binary_densenet{layers}", batch_size, phase, summary=summary)


def _quicknet(name: str) -> Recipe:
    phase = Phase(
        epochs=600,
        learning_rate=1e-2,
        float_optimizer="sgd",
        float_learning_rate=0.1,
        warmup_epochs=5,
    )
    summary = (
        "Adam 1e-2 for binary kernels, SGD 0.1 for the rest, cosine after 5 epochs of warm-up: "
        "Larq Zoo's TrainQuickNet."
    )
    return _recipe(name, 2048, phase, summary=summary)


def _two_steps(
    name: str, batch_size: int, epochs: int, learning_rate: float, decay: float
) -> Recipe:
    """ReActNet's schedule: binary activations first, then binary kernels too, from soft labels."""
    twin = Phase(epochs=epochs, binarize="nothing", learning_rate=learning_rate, schedule="linear")
    distilled = dataclasses.replace(twin, teacher="first", distillation=1.0)
    summary = (
        f"Adam {learning_rate:g}, falling linearly; the real-valued twin, then binary activations "
        f"with weight decay {decay:g}, then all, from the twin's soft labels."
    )
    return _recipe(
        name,
        batch_size,
        twin,
        dataclasses.replace(distilled, binarize="activations", weight_decay=decay),
        dataclasses.replace(distilled, binarize="everything"),
        summary=summary,
        preprocessing="torchvision_in1k",
    )


IMAGENET_RECIPES = (
    _two_steps("reactnet_a", 256, 128, 1.25e-3, 1e-5),
    _two_steps("reactnet_a-adambnn", 256, 256, 1.25e-3, 5e-6),
    _two_steps("reactnet_resnet18", 512, 128, 2.5e-3, 1e-5),
    _two_steps("reactnet_resnet34", 512, 128, 2.5e-3, 1e-5),
    _recipe(
        "bnext_tiny",
        512,
        Phase(epochs=512, binarize="nothing", learning_rate=1e-3, warmup_epochs=5),
        Phase(
            epochs=512,
            learning_rate=1e-3,
            warmup_epochs=5,
            weight_decay=1e-8,
            clip_norm=5.0,
            teacher="first",
            distillation=1.0,
        ),
        summary="Adam 1e-3, cosine, gradient norm 5, from the soft labels of the real-valued twin; "
        "the authors use two EfficientNets and RandAugment.",
        preprocessing="timm_in1k",
    ),
    _recipe(
        "groupnet18",
        256,
        *(
            Phase(
                epochs=50,
                binarize=binarize,
                learning_rate=5e-4,
                schedule="steps",
                drops=((30, 0.1), (40, 0.01)),
            )
            for binarize in ("nothing", "everything")
        ),
        summary="Adam 5e-4, times 0.1 at epochs 30 and 40, from the real-valued twin's weights.",
        preprocessing="torchvision_in1k",
    ),
    _recipe(
        "birealnet18",
        512,
        Phase(epochs=300, learning_rate=5e-3, schedule="linear"),
        summary="Adam 5e-3, falling linearly: Larq Zoo's TrainBiRealNet.",
    ),
    _recipe(
        "resnet_e18",
        1024,
        Phase(
            epochs=120,
            learning_rate=4e-3,
            epsilon=1e-8,
            schedule="steps",
            drops=((70, 0.3), (90, 0.09), (110, 0.027)),
        ),
        summary="Adam 4e-3, times 0.3 at epochs 70, 90 and 110: Larq Zoo's TrainBinaryResNetE18.",
    ),
    _densenet("28", 256, 120, (100, 110)),
    _densenet("37", 192, 120, (100, 110)),
    _densenet("37_dilated", 256, 80, (60, 70)),
    _densenet("45", 384, 125, (80, 100), learning_rate=8e-3),
    _quicknet("quicknet_small"),
    _quicknet("quicknet"),
    _quicknet("quicknet_large"),
    _recipe(
        "xnornet",
        1200,
        Phase(
            epochs=100,
            learning_rate=1e-3,
            schedule="steps",
            drops=(
                (19, 0.5), (30, 0.1), (44, 0.05), (53, 0.01), (66, 0.005), (76, 0.001), (86, 1e-4)
            ),
        ),
        summary="Adam 1e-3, falling in seven steps to 1e-7: Larq Zoo's TrainXNORNet.",
    ),
    _recipe(
        "binary_alexnet",
        512,
        Phase(
            epochs=150,
            learning_rate=1e-2,
            schedule="steps",
            drops=tuple((10 * i, 0.5**i) for i in range(1, 15)),
        ),
        summary="Adam 1e-2, halved every ten epochs: Larq Zoo's TrainBinaryAlexNet.",
    ),
    _recipe(
        "dorefanet",
        256,
        Phase(
            epochs=90,
            learning_rate=2e-4,
            epsilon=1e-5,
            schedule="steps",
            drops=((60, 0.2), (75, 0.04), (82, 4e-3), (84, 4e-4), (86, 4e-5), (88, 4e-6)),
        ),
        summary="Adam 2e-4, times 0.2 at epochs 60 and 75, times 0.1 every second epoch from 82: "
        "Larq Zoo's TrainDoReFaNet.",
    ),
)  # fmt: skip
