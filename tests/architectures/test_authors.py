"""Networks of today compute what their authors' PyTorch code computes, for weights drawn by name.

The weights are written as the authors' checkpoints are, and loaded by their names, so that these
tests check the tables of names too.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass

import keras
import numpy as np
import pytest

from bnnzoo import registry
from bnnzoo.checkpoints.assigning import assign
from tests.architectures.models import swept
from tests.checkpoints.files import dictionary, new_file, storage, tensor
from tests.conftest import DATA


@dataclass(frozen=True)
class Golden:
    """What the authors' code returned.

    Attributes:
        file: Name of its files in `tests/data/modern`.
        output: Name of the images and of the outputs.
    """

    file: str
    output: str = "small_logits"


CASES = {
    "adabin_resnet18": Golden("adabin_resnet18"),
    "adabin_resnet20": Golden("adabin_resnet20", "logits"),
    "bnext_tiny": Golden("bnext_t"),
    "bnext_tiny-32px": Golden("bnext_t_10_classes", "logits"),
    "groupnet18": Golden("groupnet18"),
    "meliusnet29": Golden("meliusnet29"),
    "meliusnet42": Golden("meliusnet42"),
    "meliusnet_a": Golden("meliusneta"),
    "meliusnet_c": Golden("meliusnetc"),
    "reactnet_a": Golden("reactnet_a"),
    "reactnet_resnet18": Golden("reactnet_resnet18"),
}
QUICK = ("adabin_resnet20", "reactnet_resnet18")


def drawn(weight, statistics):
    """A weight of the authors' network, drawn from its own name, float32 in its stored shape."""
    rng = np.random.RandomState(zlib.crc32(weight["name"].encode()))
    shape, kind = weight["shape"], weight["kind"]
    match kind:
        case "kernel":
            value = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        case "binary":
            value = 0.05 * rng.standard_normal(shape)
            value = value * rng.uniform(0.5, 1.5, (shape[0], 1, 1, 1))
        case "gamma":  # some are negative
            value = rng.uniform(0.5, 1.5, shape)
            value = value * np.where(rng.uniform(size=shape) < 0.15, -1, 1)
        case "beta" | "bias" | "shift":
            value = 0.3 * rng.standard_normal(shape)
        case "slope":
            value = rng.uniform(-0.25, 0.75, shape)
        case "mix":
            value = rng.uniform(0.05, 0.95, shape)
        case "positive":
            value = rng.uniform(0.5, 1.5, shape)
        case "gate":
            value = rng.standard_normal(shape)
        case "zero":  # a temperature after training
            value = np.zeros(shape)
        case "mean" | "variance":
            value = statistics[weight["name"]]
    return np.asarray(value, "f4").reshape(weight.get("stored_shape", shape))


def checkpoint(weights, statistics) -> bytes:
    values = {weight["name"]: drawn(weight, statistics) for weight in weights}
    entries = {f"module.{k}": tensor(storage(k, v.size), v.shape) for k, v in values.items()}
    return new_file(dictionary(entries), {k: v.tobytes() for k, v in values.items()})


@pytest.mark.parametrize("case", swept(CASES, QUICK))
def test_outputs_are_those_of_the_authors_code(case, tmp_path):
    golden = CASES[case]
    reference = json.loads((DATA / "modern" / f"{golden.file}.json").read_text())
    arrays = np.load(DATA / "modern" / f"{golden.file}.npz")
    images = reference["inputs"][golden.output]
    expected = arrays[golden.output]
    model = registry.builder(case.partition("-")[0])(
        input_shape=tuple(images["shape"][1:]), num_classes=expected.shape[1]
    )
    path = tmp_path / "net.pth.tar"
    path.write_bytes(checkpoint(reference["weights"], arrays))
    assign(model, path)
    x = np.random.RandomState(images["seed"]).standard_normal(images["shape"]).astype("f4")
    network = keras.Model(model.input, model.get_layer("logits").output)
    outputs = keras.ops.convert_to_numpy(network(x))
    # Ports differ by up to 2e-6, AdaBin, whose float32 and float64 differ by 6e-5, by 5e-5. Another
    # padding, epsilon or scale differs by more than 1.
    assert np.abs(outputs - expected).max() < 1e-4 * expected.std()
