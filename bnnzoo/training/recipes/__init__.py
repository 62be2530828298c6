"""The recipes by name, `NETWORK.DATA`. Each trains one network of the zoo.

The manifest lists the accuracy, hardware and duration of a recipe in the records that name it. The
recipes for MNIST, for BinaryNet on Fashion-MNIST and for its half-width variant on CIFAR-10 are for
a CPU. The others need a GPU with bfloat16. Recipes for ImageNet are in `training.recipes.imagenet`,
and those for images with masks in `training.recipes.segmentation`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from bnnzoo.errors import ArgumentError, did_you_mean
from bnnzoo.training.recipes.imagenet import IMAGENET_RECIPES
from bnnzoo.training.recipes.schema import Augmentation, Phase, Recipe
from bnnzoo.training.recipes.segmentation import SEGMENTATION_RECIPES

__all__ = ["RECIPES", "recipe"]


def _recipe(name: str, *phases: Phase, summary: str, **fields: Any) -> Recipe:
    """Returns a recipe for `NETWORK.DATA` or `NETWORK.DATA-VARIANT`."""
    network, _, tag = name.partition(".")
    data = tag.partition("-")[0]
    return Recipe(
        name=name,
        network=network,
        data=f"keras:{data}:train",
        test_data=f"keras:{data}:test",
        phases=phases,
        summary=summary,
        **fields,
    )


MNIST = _recipe(
    "binarynet_mlp.mnist",
    Phase(epochs=80, learning_rate=3e-3),
    summary="Half the paper's 2048 units; images shifted by up to 2 pixels, Adam, cosine.",
    arguments={"width": 1024},
    augmentation=Augmentation(pad=2),
)


def _mnist_variant(variant: str, *phases: Phase, summary: str) -> Recipe:
    return dataclasses.replace(
        MNIST, name=f"{MNIST.name}-{variant}", phases=phases, summary=summary
    )


def _cifar10(name: str, *phases: Phase, **fields: Any) -> Recipe:
    """Returns a recipe with crops and flips, in bfloat16."""
    crop_and_flip = Augmentation(pad=4, flip=True)
    return _recipe(name, *phases, augmentation=crop_and_flip, precision="mixed_bfloat16", **fields)


def _sgd(name: str, epochs: int, summary: str, arguments: dict[str, Any] | None = None) -> Recipe:
    """Returns a recipe for CIFAR-10 that trains all weights with SGD, as recent papers do."""
    phase = Phase(
        epochs=epochs,
        learning_rate=0.1,
        binary_optimizer="sgd",
        float_optimizer="sgd",
        weight_decay=1e-4,
        warmup_epochs=5,
    )
    return _cifar10(name, phase, summary=summary, arguments=arguments or {}, batch_size=256)


_ALL = (
    MNIST,
    _mnist_variant(
        "bop",
        Phase(epochs=80, learning_rate=3e-3, binary_optimizer="bop", bop_gamma=1e-3),
        summary="The same with Bop instead of latent weights.",
    ),
    _mnist_variant(
        "twin",
        Phase(epochs=20, binarize="nothing", learning_rate=1e-3),
        Phase(epochs=60, learning_rate=3e-3),
        summary="The same epochs, from the weights of the real-valued twin.",
    ),
    _mnist_variant(
        "two-stage",
        Phase(epochs=20, binarize="activations", learning_rate=1e-3),
        Phase(epochs=60, learning_rate=3e-3),
        summary="The same epochs, binary activations first, then binary weights as well.",
    ),
    _mnist_variant(
        "distilled",
        Phase(epochs=20, binarize="nothing", learning_rate=1e-3),
        Phase(epochs=60, learning_rate=3e-3, teacher="previous", distillation=0.5, temperature=2.0),
        summary="The same epochs, from the weights and the answers of the real-valued twin.",
    ),
    _recipe(
        "binarynet.mnist-small",
        Phase(epochs=60, learning_rate=3e-3, warmup_epochs=1),
        summary="24 filters instead of 128, images shifted by up to 2; for a microcontroller.",
        arguments={"width": 24},
        augmentation=Augmentation(pad=2),
        precision="mixed_bfloat16",
    ),
    _recipe(
        "binarynet.fashion_mnist",
        Phase(epochs=20, learning_rate=3e-3, warmup_epochs=1),
        summary="The paper's CIFAR-10 network on 28 x 28; Adam, cosine, flips.",
        augmentation=Augmentation(flip=True),
        precision="mixed_bfloat16",
    ),
    _recipe(
        "binarynet.fashion_mnist-small",
        Phase(epochs=40, learning_rate=3e-3, warmup_epochs=1),
        summary="24 filters instead of 128, twice the epochs; for a microcontroller.",
        arguments={"width": 24},
        augmentation=Augmentation(flip=True),
        precision="mixed_bfloat16",
    ),
    _recipe(
        "birealnet18.fashion_mnist",
        Phase(epochs=100, learning_rate=3e-3, warmup_epochs=2),
        summary="Small-input stem; Adam, cosine, shifts and flips.",
        augmentation=Augmentation(pad=2, flip=True),
        precision="mixed_bfloat16",
    ),
    _cifar10(
        "binarynet.cifar10",
        Phase(epochs=200, learning_rate=3e-3, warmup_epochs=2),
        summary="The paper trains 500 epochs without augmentation; here crops and flips, cosine.",
    ),
    _recipe(
        "binarynet.cifar10-half",
        Phase(epochs=8, learning_rate=3e-3, warmup_epochs=1),
        summary="64 filters instead of 128, flips only, few epochs; for a CPU.",
        arguments={"width": 64},
        augmentation=Augmentation(flip=True),
        batch_size=64,
    ),
    _cifar10(
        "xnornet_vgg.cifar10",
        Phase(epochs=200, learning_rate=2e-3, warmup_epochs=2),
        summary="BinaryNet's network with scales, first and last layer real; Adam, cosine.",
    ),
    _cifar10(
        "birealnet18.cifar10",
        Phase(epochs=200, learning_rate=3e-3, warmup_epochs=3),
        summary="Small-input stem; Adam as in the paper, cosine instead of linear decay.",
    ),
    _cifar10(
        "birealnet18.cifar10-two-stage",
        Phase(epochs=80, binarize="activations", learning_rate=2e-3, warmup_epochs=3),
        Phase(epochs=160, learning_rate=2e-3),
        summary="Binary activations first, then binary weights as well.",
    ),
    _cifar10(
        "resnet_e18.cifar10",
        Phase(epochs=200, learning_rate=3e-3, warmup_epochs=3),
        summary="The paper's Adam for ImageNet, cosine; crops and flips.",
    ),
    _cifar10(
        "binary_densenet28.cifar10",
        Phase(epochs=160, learning_rate=3e-3, warmup_epochs=3),
        summary="The paper's Adam for ImageNet, cosine; crops and flips.",
    ),
    _cifar10(
        "birealnet20.cifar10",
        Phase(epochs=300, learning_rate=3e-3, warmup_epochs=3),
        summary="The 20-layer network of CIFAR tables; Adam, cosine, crops and flips.",
    ),
    _recipe(
        "reactnet_cifar.cifar10",
        Phase(epochs=42, learning_rate=3e-3, warmup_epochs=1),
        summary="For a CPU, two hours on two cores; Adam, cosine, shifts by 2 and flips.",
        augmentation=Augmentation(pad=2, flip=True),
        batch_size=64,
    ),
    _sgd(
        "birealnet20.cifar10-irnet",
        epochs=400,
        summary="IR-Net's quantizers, annealed; SGD, cosine, crops and flips.",
        arguments={"input_quantizer": "error_decay_sign", "kernel_quantizer": "libra_sign"},
    ),
    _sgd(
        "birealnet20.cifar10-recu",
        epochs=600,
        summary="ReCU's kernels, annealed; SGD, cosine, crops and flips.",
        arguments={"kernel_quantizer": "recu"},
    ),
    _sgd(
        "adabin_resnet20.cifar10",
        epochs=400,
        summary="The authors' network; SGD, cosine, crops and flips.",
    ),
    _cifar10(
        "birealnet20.cifar10-two-stage",
        Phase(epochs=150, binarize="activations", learning_rate=2e-3, warmup_epochs=3),
        Phase(epochs=250, learning_rate=2e-3),
        summary="Binary activations first, then binary weights as well.",
    ),
)

RECIPES: dict[str, Recipe] = {
    found.name: found for found in (*_ALL, *SEGMENTATION_RECIPES, *IMAGENET_RECIPES)
}


def recipe(name: str) -> Recipe:
    """Returns a recipe by name.

    Raises:
        ArgumentError: There is no such recipe.
    """
    if name in RECIPES:
        return RECIPES[name]
    hint = did_you_mean(name, RECIPES)
    raise ArgumentError(f"Unknown recipe '{name}'.{hint} `bnnzoo recipes` lists them.")
