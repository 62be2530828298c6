"""Trains as one of several processes and keeps its weights; test_distribution runs it.

python -m tests.training.distributed_training RECIPE FOLDER PROCESS ADDRESS [ADDRESS ...]
"""

from __future__ import annotations

import os
import sys

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"
sys.modules["tensorflow"] = None  # Keras would spend seconds on it
# ruff: noqa: E402

from pathlib import Path
from typing import Any

import keras
import numpy as np

import bnnzoo
from bnnzoo import training
from bnnzoo.training import Augmentation, Phase, checkpoints
from bnnzoo.training.distributed.cluster import Cluster
from bnnzoo.training.distributed.distribution import joined
from tests.training.tiny import tiny_recipe

SAMPLE = "sample:fashion_mnist"
PACKED = Path(bnnzoo.__file__).parent / "pretrained/binarynet.fashion_mnist_small.safetensors"
RECIPES: dict[str, tuple[tuple[Phase, ...], dict[str, Any]]] = {
    # 64 images are one step.
    "one_step": ((Phase(epochs=1, learning_rate=0.01, schedule="constant"),), {"batch_size": 64}),
    # A teacher, Bop, a real-valued twin.
    "techniques": (
        (
            Phase(epochs=1, binarize="nothing", learning_rate=0.01),
            Phase(
                epochs=2, learning_rate=0.01, binary_optimizer="bop", bop_gamma=1e-2,
                teacher="previous", distillation=0.5,
            ),
        ),
        {},
    ),
    # Weights from a packed file, which has batch norms to be calibrated.
    "packed_start": (
        (Phase(epochs=1, freeze_backbone=True),),
        {
            "data": SAMPLE, "test_data": SAMPLE, "network": "binarynet", "arguments": {},
            "start_from": str(PACKED), "batch_size": 200,
        },
    ),
    # Random parts of images that are not in memory.
    "files": (
        (Phase(epochs=1, binarize="nothing"),),
        {
            "data": SAMPLE, "test_data": SAMPLE, "arguments": {"width": 32}, "batch_size": 500,
            "images": "files", "augmentation": Augmentation(flip=True, min_area=0.5),
        },
    ),
    # Real images: 40 steps of 50.
    "real": (
        (Phase(epochs=1, learning_rate=0.01),),
        {"data": SAMPLE, "test_data": SAMPLE, "arguments": {"width": 128}, "batch_size": 50},
    ),
}  # fmt: skip


def main(name: str, folder: Path, process: int, addresses: tuple[str, ...]) -> None:
    phases, changes = RECIPES[name]
    write_state = checkpoints.write_state

    def write_and_keep(run: Any, network: Any, optimizer: Any, rows: list[Any]) -> None:
        values = {v.path: np.asarray(keras.ops.convert_to_numpy(v)) for v in network.variables}
        np.savez(folder / f"process{process}-epoch{len(rows)}.npz", **values)
        write_state(run, network, optimizer, rows)

    checkpoints.write_state = write_and_keep
    cluster = Cluster(addresses, process) if len(addresses) > 1 else None
    with joined(cluster):
        # The others have no folder: nothing is read or written there.
        run = folder / "run" if process == 0 else folder / "no" / "such" / "folder"
        report = training.train(tiny_recipe(folder, *phases, **changes), run)
        assert bool(report) == (process == 0)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), tuple(sys.argv[4:]))
