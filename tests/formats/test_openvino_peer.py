"""OpenVINO's CPU plugin computes the same. scripts/test_openvino.sh installs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openvino", reason="scripts/test_openvino.sh installs the package openvino")

import openvino as ov
from openvino import opset1

from bnnzoo.formats import openvino
from bnnzoo.graph import interpreter
from tests.data import make_openvino_goldens as goldens
from tests.formats.test_openvino import RELATIVE

PIXELS = (29, 23)


def pair(rng: np.random.Generator, *choices: int) -> list[int]:
    return rng.choice(choices, 2).tolist()


def block(rng: np.random.Generator, x: ov.Node, channels: int) -> ov.Node:
    """A binary convolution with any window, and layers that may follow it."""
    shape = (channels, x.get_output_shape(0)[1], *pair(rng, 1, 2, 3))
    packed = np.packbits(rng.integers(0, 2, shape, np.uint8), bitorder="little")
    kernel = ov.op.Constant(ov.Tensor(packed, list(shape), ov.Type.u1))
    ends = (0.0, 1.0) if rng.random() < 0.5 else (1.0, 0.0)
    x = opset1.binary_convolution(
        goldens.bits(x, shape[1], ends), kernel, pair(rng, 1, 1, 2), pair(rng, 1, 2),
        pair(rng, 1, 2), pair(rng, 1, 1, 2), "xnor-popcount", float(rng.integers(-1, 2)),
        str(rng.choice(["explicit", "explicit", "same_upper", "same_lower"])),
    )  # fmt: skip
    x = opset1.add(opset1.multiply(x, goldens.constant(1 / 16)), goldens.per_channel(channels))
    if rng.random() < 0.5:
        x = opset1.prelu(x, goldens.drawn(channels))
    pool = pair(rng, 1, 2), pair(rng, 0, 1), pair(rng, 0, 1), pair(rng, 2, 3)
    if min(x.get_output_shape(0)[2:]) < 3:  # smaller than a window
        return x
    if (choice := rng.random()) < 0.3:
        x = opset1.max_pool(x, *pool)
    elif choice < 0.6:
        x = opset1.avg_pool(x, *pool, bool(rng.integers(2)))
    return x


@pytest.mark.parametrize("case", range(40))
def test_drawn_networks(case: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(case)
    x = images = opset1.parameter([1, 8, *PIXELS], np.float32)
    for channels in 8 * rng.integers(1, 5, rng.integers(1, 4)):
        if min(x.get_output_shape(0)[2:]) > 2:
            x = block(rng, x, int(channels))
    ov.save_model(ov.Model([x], [images], "net"), tmp_path / "net.xml", bool(rng.integers(2)))
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = ov.Core().compile_model(tmp_path / "net.xml", "CPU", settings)
    image = (rng.integers(-24, 25, (1, 8, *PIXELS)) / 16).astype(np.float32)
    expected = compiled(image)[0]
    graph, _ = openvino.read(tmp_path / "net.xml")
    found = interpreter.run(graph, image.transpose(0, 2, 3, 1))[graph.outputs[0]]
    atol = RELATIVE * max(1, np.abs(expected).max())
    np.testing.assert_allclose(found.transpose(0, 3, 1, 2), expected, rtol=0, atol=atol)
