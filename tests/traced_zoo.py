"""Each architecture for its smallest images, traced once per test run."""

from __future__ import annotations

import pickle
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bnnzoo.graph.ir import Graph
from tests.architectures.models import MODELS


@dataclass(frozen=True)
class Traced:
    """What tests of formats need to know of an architecture: with it they need no Keras.

    Attributes:
        pixels: Height and width of its input.
        graph: Seeded weights, 7 classes.
        summary: What `bnnzoo.summary` counts.
    """

    pixels: int
    graph: Graph
    summary: Any


def traced(name: str, folder: Path) -> Traced:
    """Returns what another test, also one of another worker, left in the folder, or traces it."""
    path = folder / f"{name}.pickle"
    if not path.exists():
        part = folder / uuid.uuid4().hex
        part.write_bytes(pickle.dumps(_trace(name)))
        part.rename(path)
    return pickle.loads(path.read_bytes())


def _trace(name: str) -> Traced:
    keras = pytest.importorskip("keras")

    import bnnzoo
    from bnnzoo import registry
    from bnnzoo.keras_bridge.from_keras import trace
    from tests.architectures.conftest import quick_kernel
    from tests.keras_bridge.keras_networks import seed_weights

    pixels = max(8, MODELS[name].least)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.initializers.VarianceScaling, "__call__", quick_kernel)
        model = registry.builder(name)(input_shape=(pixels, pixels, 3), num_classes=7)
    return Traced(pixels, trace(seed_weights(model)).graph, bnnzoo.summary(model))
