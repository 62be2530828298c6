"""Every operation on every instruction set equals the reference, on sizes that leave tails."""

from __future__ import annotations

import numpy as np
import pytest

from bnnzoo.graph.ops import OPS
from tests.runtime.engine_runs import ISAS, assert_equal, engine_values, reference_values
from tests.runtime.op_cases import CASES, ROUNDED, build

# Kernels work on 64 channels and on tiles of some pixels: one less, one more, and single ones.
CHANNELS = (1, 2, 3, 15, 16, 17, 63, 64, 65, 130)
MAPS = ((7, 9), (1, 7), (5, 1), (1, 1), (2, 16))


def shapes_for(name: str) -> list[tuple[int, int, int]]:
    """Every number of channels, and every map."""
    return [(*MAPS[i % 2], c) for i, c in enumerate(CHANNELS)] + [(*m, 5) for m in MAPS]


def images(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(3).integers(-3, 4, (2, *shape)).astype(np.float32)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", CASES)
def test_exact(name, isa):
    for shape in shapes_for(name):
        assert_equal(build(name, shape), images(shape), isa)


# Levels of an input in 8 bits are the reference interpreter's, one more would be off by 1e-4 at
# least. Four or five roundings, each at most 2^-24 of the number; exponentials of libm are as good.
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ROUNDED)
def test_rounded(name, isa):
    for shape in shapes_for(name):
        graph, x = build(name, shape), images(shape)
        (actual,), (expected,) = engine_values(graph, x, isa), reference_values(graph, x)
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6 * scale, err_msg=str(shape))


def test_every_operation_has_a_case():
    covered = {node.op for name in (*CASES, *ROUNDED) for node in build(name, (7, 9, 6)).nodes}
    assert covered == set(OPS)
