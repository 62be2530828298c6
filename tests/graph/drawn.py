"""Graphs that hypothesis draws: where a property fails, it finds a small graph that breaks it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from bnnzoo.graph.ir import Graph

# The same examples in every run: a test that fails, fails again.
settings.register_profile("bnnzoo", derandomize=True, deadline=None, database=None)
settings.load_profile("bnnzoo")


class DrawnGenerator:
    """Takes the choices of NumPy's generator from hypothesis, as far as builders of graphs need it.

    Parameters of layers are arrays; those come from a seed, since no smaller ones are simpler.
    """

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(20)

    def integers(self, low: Any, high: Any = None, size: Any = None) -> Any:
        if _is_parameter(size):
            return self.rng.integers(low, high, size)
        low, high = (0, low) if high is None else (low, high)
        lows, highs = (np.broadcast_to(end, size or np.shape(low)) for end in (low, high))
        pairs = zip(lows.ravel().tolist(), highs.ravel().tolist(), strict=True)
        values = [self.draw(st.integers(least, end - 1)) for least, end in pairs]
        return np.array(values) if lows.shape else values[0]

    def random(self) -> float:
        return self.draw(st.sampled_from([k / 20 for k in range(20)]))

    def choice(self, options: Sequence[Any], size: Any = None) -> Any:
        if _is_parameter(size):
            return self.rng.choice(options, size)
        values = [self.draw(st.sampled_from(list(options))) for _ in range(size or 1)]
        return values[0] if size is None else np.array(values)

    def permutation(self, values: Sequence[Any]) -> Any:
        return np.array(self.draw(st.permutations(list(values))))

    def __getattr__(self, name: str) -> Any:
        """Distributions of parameters."""
        return getattr(self.rng, name)


def _is_parameter(size: Any) -> bool:
    return isinstance(size, tuple) or (size is not None and size > 3)


@st.composite
def drawn(draw: Any, make: Callable[..., Graph], blocks: int = 6) -> Graph:
    """Draws what `make` makes of a generator and a number of blocks."""
    return make(DrawnGenerator(draw), blocks=draw(st.integers(1, blocks)))
