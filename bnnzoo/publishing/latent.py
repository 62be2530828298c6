"""Writes a network's latent weights, for fine-tuning, in a compact form that Keras reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

__all__ = ["to_float16", "write_latent"]


def write_latent(network: Any, path: Path, *, as_float16: bool) -> None:
    """Writes a file for `network.load_weights`, with compressed kernels.

    Args:
        network: A Keras model.
        path: The file, `.weights.h5`.
        as_float16: Whether to round kernels to float16, which halves the file.
    """
    network.save_weights(path)
    smaller = path.with_suffix(".smaller")
    with h5py.File(path) as old, h5py.File(smaller, "w") as new:

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Group):
                new.require_group(name).attrs.update(item.attrs)
            elif item.ndim > 1:
                kernel = to_float16(item[()]) if as_float16 else item[()]
                new.create_dataset(name, data=kernel, compression=9, shuffle=True)
            else:
                new.create_dataset(name, data=item[()])

        old.visititems(copy)
        new.attrs.update(old.attrs)
    smaller.replace(path)


def to_float16(kernel: NDArray[np.floating[Any]]) -> NDArray[np.float16]:
    """Rounds to float16; values that would underflow to zero keep their sign."""
    least = np.finfo(np.float16).smallest_subnormal
    lost = (kernel != 0) & (np.abs(kernel) < least)
    return np.where(lost, np.copysign(least, kernel), kernel).astype(np.float16)
