"""Compares training techniques: the variants of one recipe, with several seeds.

    python examples/compare_techniques.py RUNS_FOLDER

Latent weights, Bop, initialization from a real-valued twin, two stages and distillation train the
same network for the same number of epochs: BinaryNet's MNIST network with 256 units per layer, 20
epochs. Finished runs are not repeated, and interrupted ones are resumed.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from bnnzoo import training
from bnnzoo.training import Recipe

BASE = "binarynet_mlp.mnist"
WIDTH = 256
SHORTER = 4  # the recipes train 80 epochs


def shortened(recipe: Recipe, seed: int) -> Recipe:
    """Returns the recipe for a smaller network and fewer epochs."""
    phases = tuple(
        dataclasses.replace(phase, epochs=phase.epochs // SHORTER) for phase in recipe.phases
    )
    return dataclasses.replace(recipe, arguments={"width": WIDTH}, phases=phases, seed=seed)


def main() -> None:
    """Trains the missing runs and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    print("| recipe | mean top-1, % | lowest | highest |\n|---|--:|--:|--:|")
    for name in training.RECIPES:
        if name != BASE and not name.startswith(f"{BASE}-"):
            continue
        reached = []
        for seed in range(options.seeds):
            run = options.folder / f"{name}-{seed}"
            recipe = shortened(training.recipe(name), seed)
            report = training.train(recipe, run, resume=run.exists())
            reached.append(report["evaluation"]["top1"])
        print(f"| {name} | {np.mean(reached):.2f} | {min(reached):.2f} | {max(reached):.2f} |")


if __name__ == "__main__":
    main()
