"""The inputs on which layers are compared."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bnnzoo.data.prefetch import batches
from bnnzoo.data.preprocessing import Preprocessing
from bnnzoo.data.sources import Data, as_source
from bnnzoo.errors import DataError

__all__ = ["first_images", "random_inputs"]

_SEED = 11


def random_inputs(
    inputs: Mapping[str, tuple[int, ...]], count: int
) -> dict[str, NDArray[np.float32]]:
    """Returns standard normal inputs `(count, *shape)`, equal for every call.

    Args:
        inputs: Shape by name.
        count: Number of examples.
    """
    state = np.random.RandomState(_SEED)
    return {
        name: state.standard_normal((count, *shape)).astype(np.float32)
        for name, shape in inputs.items()
    }


def first_images(data: Data, preprocessing: Preprocessing, count: int) -> NDArray[np.float32]:
    """Returns the first images of a data set, preprocessed.

    Raises:
        DataError: The data set is empty, or an image cannot be used.
    """
    source = as_source(data)
    with contextlib.closing(batches(source, preprocessing, count, limit=count)) as stream:
        for batch in stream:
            if batch.images is not None:
                return batch.images
    raise DataError(f"{source.name} has no usable images. Check the path.")
