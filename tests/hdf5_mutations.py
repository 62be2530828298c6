"""Mutations of valid HDF5 weight files.

Case i of a run depends only on `np.random.default_rng([run, i])`. Half of the files
have changed bytes, the other half an array, a list of names or a link of another kind.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from tests.formats.mutations import cut, flip_bits, insert, pick, remove

Rng = np.random.Generator

UNITS = (4, 3)  # of the dense layers of `network`
SHAPES: tuple[Any, ...] = ((), (0,), (3,), (4, 3), (12,), (4, 4), (10**5, 10**5), (2**31,))
KINDS = ("f4", "f8", "f2", "i8", "u1", "S3", "V4", "f4,i4", "c8", "?")
NAMES: tuple[Any, ...] = (
    5, "d0", np.array([b"d0"]), np.array([b"d0", b"d0"]), np.array([b"x", b"d1"]), ["d0", "d1"],
    np.array([b""]), np.array([b"d0/", b"."]), np.zeros((2, 2)), h5py.Empty("S1"),
    np.array([b"kernel:0", b"bias:0"]), np.array([b"bias:0", b"kernel:0"]),
)  # fmt: skip


def network() -> Any:
    """Returns the Keras model that the right files are of."""
    import keras

    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(UNITS[0], name="d0")(inputs)
    return keras.Model(inputs, keras.layers.Dense(UNITS[1], name="d1")(hidden))


@functools.cache
def seeds() -> tuple[bytes, ...]:
    """Returns files of Keras 2, as they are and compressed."""
    return _seed({}), _seed({"compression": "gzip", "shuffle": True})


def _seed(settings: dict[str, Any]) -> bytes:
    rng, file = np.random.default_rng(0), io.BytesIO()
    with h5py.File(file, "w") as opened:
        opened.attrs["layer_names"] = np.array([b"d0", b"d1"])
        for i, units in enumerate(UNITS):
            group = opened.create_group(f"d{i}")
            group.attrs["weight_names"] = np.array([b"kernel:0", b"bias:0"])
            for name, shape in (("kernel:0", (4, units)), ("bias:0", (units,))):
                group.create_dataset(name, data=rng.random(shape, "float32"), **settings)
    return file.getvalue()


def array(rng: Rng, file: h5py.File) -> None:
    """Puts an array of another kind in the place of one."""
    name = f"d{rng.integers(2)}/{pick(rng, ('kernel:0', 'bias:0'))}"
    shape, kind = pick(rng, SHAPES), pick(rng, KINDS)
    packed = {"compression": "gzip"} if shape and 0 not in shape and rng.random() < 0.5 else {}
    del file[name]
    file.create_dataset(name, shape, kind, **packed)


def names(rng: Rng, file: h5py.File) -> None:
    """Changes a list of names."""
    group, key = pick(rng, ((file, "layer_names"), (file["d0"], "weight_names")))
    group.attrs[key] = pick(rng, NAMES)


def link(rng: Rng, file: h5py.File) -> None:
    """Makes a group or an array a link."""
    name = pick(rng, ("d0", "d1", "d1/bias:0"))
    del file[name]
    other = file["d1" if name == "d0" else "d0"]
    file[name] = pick(rng, (h5py.SoftLink("/d0"), h5py.ExternalLink("other.h5", "/"), other))


def loss(rng: Rng, file: h5py.File) -> None:
    """Removes a group, an array or a list."""
    place = pick(rng, ("d0", "d1/kernel:0", "layer_names"))
    del (file.attrs if place == "layer_names" else file)[place]


RAW: tuple[Callable[[Rng, bytearray], bytes], ...] = (flip_bits, cut, remove, insert)
STRUCTURED = (array, names, link, loss)


def mutated(run: int, case: int) -> tuple[bytes, str]:
    """Returns a mutated file and the name of the mutation."""
    rng = np.random.default_rng([run, case])
    seed = pick(rng, seeds())
    if case % 2:
        edit = pick(rng, RAW)
        return bytes(edit(rng, bytearray(seed))), edit.__name__
    file, structured = io.BytesIO(seed), pick(rng, STRUCTURED)
    with h5py.File(file, "r+") as opened:
        structured(rng, opened)
    return file.getvalue(), structured.__name__
