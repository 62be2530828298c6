"""The reference of larq-zoo 2.4.0 in `tests/data`, and the weight files that it would publish."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).parents[1] / "data"

# Our name -> larq-zoo's.
MODELS = {
    "binary_alexnet": "BinaryAlexNet",
    "xnornet": "XNORNet",
    "dorefanet": "DoReFaNet",
    "birealnet18": "BiRealNet",
    "resnet_e18": "BinaryResNetE18",
    "binary_densenet28": "BinaryDenseNet28",
    "binary_densenet37": "BinaryDenseNet37",
    "binary_densenet37_dilated": "BinaryDenseNet37Dilated",
    "binary_densenet45": "BinaryDenseNet45",
    "meliusnet22": "MeliusNet22",
    "real_to_binary": "RealToBinaryNet",
    "quicknet": "QuickNet",
    "quicknet_small": "QuickNetSmall",
    "quicknet_large": "QuickNetLarge",
}


@functools.cache
def reference(name: str) -> dict[str, Any]:
    """Returns `totals` and `layers` of a model under our name."""
    return json.loads((DATA / "larq_zoo" / f"{MODELS[name]}.json").read_text())


def weighted_layers(name: str) -> list[dict[str, Any]]:
    """Returns the layers that have weights, in the order of the weight file."""
    return [layer for layer in reference(name)["layers"] if layer["weights"]]


def golden_pixels(name: str) -> int:
    """Returns the height and width of a model's golden input."""
    return 224 if (DATA / "larq_zoo" / f"{MODELS[name]}.npz").exists() else 64


def golden(name: str) -> dict[str, NDArray[np.float32]]:
    """Returns the outputs and the batch-norm statistics of the seeded model."""
    folder = "larq_zoo" if golden_pixels(name) == 224 else "larq_zoo_64px"
    with np.load(DATA / folder / f"{MODELS[name]}.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def images(name: str) -> NDArray[np.float32]:
    """Returns the golden input."""
    pixels = golden_pixels(name)
    return np.random.RandomState(11).standard_normal((2, pixels, pixels, 3)).astype("f")


def seeded_weight(kind: str, index: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Returns weight number `index` of a model, by the recipe of `tests/data/README.md`."""
    rng = np.random.RandomState(1000 + index)
    if kind == "gamma":
        magnitude = rng.uniform(0.5, 1.5, shape).astype("f")
        return magnitude * np.where(rng.uniform(size=shape) < 0.15, -1, 1).astype("f")
    if kind in ("beta", "bias"):
        return (0.3 * rng.standard_normal(shape)).astype("f")
    return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))).astype("f")


def seeded_weights(name: str) -> Iterator[tuple[str, dict[str, NDArray[np.float32]]]]:
    """Yields each layer with its seeded weights: `(layer name, {weight name: array})`."""
    statistics = golden(name)
    index = 0
    for layer in reference(name)["layers"]:
        weights = {}
        for weight in layer["weights"]:
            kind = weight["name"].rpartition("/")[2].removesuffix(":0")
            if kind.startswith("moving_"):
                weights[weight["name"]] = statistics[f"{kind}/{layer['name']}"]
            else:
                weights[weight["name"]] = seeded_weight(kind, index, tuple(weight["shape"]))
            index += 1
        yield layer["name"], weights


def write_weights(name: str, path: Path) -> None:
    """Writes the legacy `.h5` file that larq-zoo would publish for the seeded model."""
    with h5py.File(path, "w") as file:
        names = []
        for layer_name, weights in seeded_weights(name):
            names.append(layer_name.encode())
            group = file.create_group(layer_name)
            group.attrs["weight_names"] = [weight.encode() for weight in weights]
            for weight, value in weights.items():
                group.create_dataset(weight, data=value)
        file.create_group("top_level_model_weights").attrs["weight_names"] = []
        file.attrs["layer_names"] = names
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.15.0"
