"""Outputs of the authors' code, for weights that are drawn with seeds from their names.

`tests/data/modern/NAME.npz` has, for a network of the authors' PyTorch code in double precision:

- `about`: JSON with the source, the seed and shape of the images, the number of parameters, and
  `[name, kind, shape, shape in the checkpoint]` of each weight;
- `logits`, the output, and `probe/MODULE`: mean, deviation and 62 numbers of what a module returns;
- the batch norm statistics, by the names of their weights.

Only numbers are stored here, no code of the authors.
"""

from __future__ import annotations

import json
import re
import zlib
from pathlib import Path
from typing import Any

import keras
import numpy as np

from bnnzoo import registry
from bnnzoo.checkpoints.assigning import assign
from tests.checkpoints.files import dictionary, new_file, storage, tensor
from tests.conftest import DATA

__all__ = ["GOLDENS", "Golden"]

FOLDER = DATA / "modern"
GOLDENS = sorted(path.stem for path in FOLDER.glob("*.npz"))
# Module -> the layer that returns the same, as patterns with numbers.
PROBES = {
    "adabin": {r"layer(\d)\.(\d)": "stage{0}_block{1+}_unit2_maxout"},
    "reactnet_resnet": {
        r"maxpool": "stem_pool",
        r"layer(\d)\.(\d)": "stage{0}_block{1+}_rprelu",
    },
    "reactnet_a": {r"feature\.0": "stem_bn", r"feature\.(\d+)": "block{0}_rprelu2"},
    "bnext": {
        r"feature\.0": "stem_bn",
        r"feature\.(\d+)\.Attention": "block{0}_unit1_add",
        r"feature\.(\d+)\.FFN": "block{0}_unit2_add",
        r"feature\.(\d+)\.FFN_(\d)": "block{0}_unit2_{1}_add",
    },
    "groupnet": {r"maxpool": "stem_pool", r"layer(\d)\.(\d)": "stage{0}_block{1+}_mean"},
    "meliusnet": {
        r"features\.9": "stem_pool",
        r"features\.DenseBlock_(\d)\.ImprovementBlock(\d+)": "section{0}_block{1}_improve_add",
    },
}


class Golden:
    """A network of the authors.

    Attributes:
        name: Name of the file: an architecture, with a variant behind a hyphen.
        about: Its description.
        images: The images that its outputs are for.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.architecture = name.partition("-")[0]
        self._arrays = dict(np.load(FOLDER / f"{name}.npz"))
        self.about: dict[str, Any] = json.loads(str(self._arrays["about"]))
        rng = np.random.RandomState(self.about["seed"])
        self.images = rng.standard_normal(self.about["shape"]).astype("float32")

    @property
    def logits(self) -> np.ndarray:
        """The authors' logits."""
        return self._arrays["logits"]

    def checkpoint(self) -> bytes:
        """Returns a file as the authors publish it, with their names, prefix and shapes."""
        values = {
            f"module.{name}": self._drawn(name, kind, shape).reshape(stored or shape)
            for name, kind, shape, stored in self.about["weights"]
        }
        entries = {k: tensor(storage(k, v.size), v.shape) for k, v in values.items()}
        return new_file(dictionary(entries), {k: v.tobytes() for k, v in values.items()})

    def _drawn(self, name: str, kind: str, shape: list[int]) -> np.ndarray:
        rng = np.random.RandomState(zlib.crc32(name.encode()))
        if kind in ("mean", "variance"):
            return self._arrays[name].astype("float32")
        if kind == "kernel":
            value = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        elif kind == "binary":
            value = 0.05 * rng.standard_normal(shape)
            value = value * rng.uniform(0.5, 1.5, (shape[0], 1, 1, 1))
        elif kind == "gamma":
            value = rng.uniform(0.5, 1.5, shape)
            value = value * np.where(rng.uniform(size=shape) < 0.15, -1, 1)
        elif kind in ("beta", "bias", "shift"):
            value = 0.3 * rng.standard_normal(shape)
        elif kind == "gate":
            value = rng.standard_normal(shape)
        else:
            low, high = {
                "slope": (-0.25, 0.75), "mix": (0.05, 0.95), "positive": (0.5, 1.5), "zero": (0, 0)
            }[kind]  # fmt: skip
            value = rng.uniform(low, high, shape)
        return np.asarray(value, "float32")

    def model(self, path: Path) -> keras.Model:
        """Returns our network with the weights of the checkpoint, which is written to a path."""
        arguments = {
            "input_shape": tuple(self.about["shape"][1:]),
            "num_classes": self.logits.shape[1],
        }
        model = registry.builder(self.architecture)(**arguments)
        path.write_bytes(self.checkpoint())
        assign(model, path)
        return model

    def probes(self, model: keras.Model) -> dict[str, tuple[str, np.ndarray]]:
        """Returns the probes of layers that our network has, in order: layer -> module, numbers."""
        patterns = next(v for k, v in PROBES.items() if self.name.startswith(k))
        layers = {layer.name for layer in model.layers}
        found = {}
        for key, numbers in self._arrays.items():
            module = key.removeprefix("probe/")
            for pattern, template in patterns.items():
                match = re.fullmatch(pattern, module)
                if match is None or not key.startswith("probe/"):
                    continue
                layer = template.replace("{1+}", "{1}") if match.groups() else template
                groups = list(match.groups())
                if "{1+}" in template:
                    groups[1] = str(int(groups[1]) + 1)
                layer = layer.format(*groups)
                if layer in layers:
                    found[layer] = (module, numbers)
        return found
