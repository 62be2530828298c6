"""Networks equal the authors' code: logits within 1e-4 standard deviations, and block by block."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.architectures.authors import GOLDENS, Golden
from tests.architectures.models import swept

# Of the logits' standard deviation. The authors' code in float32 is up to 6e-5 from itself in
# float64 (AdaBin on ImageNet); a batch norm epsilon of 1e-3 is off by 1.2, Keras's padding by 1.4.
BOUND = 1e-4


@pytest.mark.parametrize("name", swept(GOLDENS, ["adabin_resnet20", "reactnet_resnet18"]))
def test_logits_are_the_authors(name, tmp_path):
    golden = Golden(name)
    model = golden.model(tmp_path / "net.pth.tar")
    probes = golden.probes(model)
    assert len(probes) >= 8
    outputs = [model.get_layer(layer).output for layer in (*probes, "logits")]
    *found, logits = keras.Model(model.input, outputs).predict_on_batch(golden.images)
    for (layer, (module, expected)), value in zip(probes.items(), found, strict=True):
        # The first layer that differs tells where a structure is wrong.
        np.testing.assert_allclose(
            summary(value), expected, rtol=0, atol=20 * BOUND * expected[1],
            err_msg=f"{layer} is not {module} of the authors",
        )  # fmt: skip
    assert np.abs(logits - golden.logits).max() <= BOUND * golden.logits.std()


def summary(value):
    """Returns mean, deviation and 62 numbers of an output, as the probes have them."""
    value = np.asarray(value, np.float64)
    places = np.linspace(0, value.size - 1, 62).astype(int)
    return np.array([value.mean(), value.std(), *value.reshape(-1)[places]])


@pytest.mark.parametrize("name", swept(GOLDENS, ["adabin_resnet20", "reactnet_resnet18"]))
def test_parameters_are_those_of_the_authors_network(name, tmp_path):
    """All weights except those that the authors' network has but does not use."""
    golden = Golden(name)
    statistics = ("mean", "variance", "zero")
    sizes = {n: np.prod(shape, dtype=int) for n, kind, shape, _ in golden.about["weights"]
             if kind not in statistics}  # fmt: skip
    assert sum(sizes.values()) == golden.about["parameters"]
    ours = sum(
        int(np.prod(v.shape)) for v in golden.model(tmp_path / "net.pth.tar").trainable_weights
    )
    unused = {
        n for n in sizes
        if n.startswith(("bn3.", "nonlinear2.", "feature.0.prelu")) or ".activation1." in n
    }  # fmt: skip
    used_after_all = {
        n for n in unused if ".Attention.activation1." in n and int(n.split(".")[1]) % 2 == 0
    }
    expected = golden.about["parameters"] - sum(sizes[n] for n in unused - used_after_all)
    assert ours == expected
