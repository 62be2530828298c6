"""One build of each model for all tests, quick on every backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest

from bnnzoo import registry
from tests.architectures import larq_zoo

MAX_KEPT_WEIGHTS = 40_000_000
# As many that filters of no usual size begin with the same: 2^17 - 1 is a prime.
NORMAL = np.random.default_rng(0).standard_normal(2**17 - 1, dtype="float32")


def quick_kernel(self: Any, shape: tuple[int, ...], dtype: str | None = None) -> Any:
    """Returns random numbers, the same again and again, of a deviation of `1 / sqrt(fan in)`."""
    kernel = np.resize(NORMAL / np.sqrt(np.prod(shape[:-1]), dtype="float32"), shape)
    return keras.ops.convert_to_tensor(kernel, dtype=dtype)


@pytest.fixture(scope="module", autouse=True)
def quick_initializers() -> Iterator[None]:
    """Draws no kernel: JAX compiles one program per shape, minutes for 19 models.

    For one file at a time: what is imported elsewhere must not outlast the file that imports it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.initializers.VarianceScaling, "__call__", quick_kernel)
        yield


@pytest.fixture(scope="package")
def build() -> Iterator[Callable[..., keras.Model]]:
    """Builds a model by name, or returns the one that an earlier test has built.

    The largest are not kept: with them, a run would hold more than ten gigabytes.
    """
    models: dict[Any, keras.Model] = {}

    def cached(name: str, **arguments: Any) -> keras.Model:
        key = (name, *sorted(arguments.items()))
        if key in models:
            return models[key]
        model = registry.builder(name)(**arguments)
        if model.count_params() < MAX_KEPT_WEIGHTS:
            models[key] = model
        return model

    yield cached
    models.clear()


@pytest.fixture(params=larq_zoo.MODELS)
def zoo_model(request: pytest.FixtureRequest, build: Callable[..., keras.Model]) -> Any:
    """Each of larq-zoo's models under our name, as `(name, model)`."""
    return request.param, build(request.param)
