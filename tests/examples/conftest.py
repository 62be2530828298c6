"""What the tests of the examples share: real digits, and the examples as modules."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from bnnzoo.data.arrays import from_arrays
from bnnzoo.data.source import Source

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def example() -> Callable[[str], ModuleType]:
    """Imports an example by its name."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def digits() -> tuple[Source, Source]:
    """1,797 handwritten digits of the UCI repository, 8 x 8, enlarged to 28 x 28."""
    images, labels = load_digits(return_X_y=True)
    enlarged = [
        np.array(Image.fromarray((16 * image).clip(0, 255).astype("uint8")).resize((28, 28)))
        for image in images.reshape(-1, 8, 8)
    ]
    order = np.random.default_rng(0).permutation(len(labels))
    x, y = np.stack(enlarged)[order], labels[order]
    return from_arrays(x[:1000], y[:1000]), from_arrays(x[1000:], y[1000:])
