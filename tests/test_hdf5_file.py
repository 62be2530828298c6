"""HDF5 files of weights: plain ones pass, and what points elsewhere or asks for memory does not."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from bnnzoo.errors import WeightsError
from bnnzoo.hdf5_file import check_hdf5

MOST = 1000
KERNEL = np.arange(12, dtype="f4").reshape(4, 3)


def written(path: Path, edit: Callable[[h5py.File], Any] = lambda file: None) -> Path:
    """A file as Keras 2 wrote it, and what `edit` adds."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([b"d"])
        file.attrs["keras_version"] = "2.4.0"
        group = file.create_group("d")
        group.attrs["weight_names"] = np.array([b"d/kernel:0", b"d/bias:0"])
        group["d/kernel:0"], group["d/bias:0"] = KERNEL, np.zeros(3, "f4")
        edit(file)
    return path


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"compression": "gzip"},
        {"compression": "gzip", "shuffle": True, "fletcher32": True},
        {"chunks": (2, 3)},
    ],
)
def test_plain_files_pass(tmp_path, settings):
    path = written(
        tmp_path / "x.h5", lambda file: file.create_dataset("k", data=KERNEL, **settings)
    )
    assert check_hdf5(path, "x.h5", MOST) == 12 + 3 + 12
    assert check_hdf5(io.BytesIO(path.read_bytes()), "x.h5", MOST) == 27


def external_storage(file: h5py.File) -> None:
    file.create_dataset("k", (4, 3), "f4", external=[("other.bin", 0, 48)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4, 3), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "k", (4, 3))
    file.create_virtual_dataset("k", layout)


def inflating(file: h5py.File) -> None:
    """A chunk of 12 numbers whose bytes unpack to a megabyte."""
    array = file.create_dataset("k", (4, 3), "f4", chunks=(4, 3), compression="gzip")
    array.id.write_direct_chunk((0, 0), zlib.compress(bytes(2**20)))


def names(group: str, key: str, value: Any) -> Callable[[h5py.File], None]:
    return lambda file: file[group].attrs.__setitem__(key, value)


REFUSED: dict[str, tuple[Callable[[h5py.File], Any], str]] = {
    "external link": (
        lambda file: file.__setitem__("k", h5py.ExternalLink("other.h5", "/k")),
        "'k' is a link",
    ),
    "soft link": (
        lambda file: file.__setitem__("k", h5py.SoftLink("/d")),
        "'k' is a link",
    ),
    "external group": (
        lambda file: file["d"].__setitem__("e", h5py.ExternalLink("other.h5", "/")),
        "'e' is a link",
    ),
    "virtual data set": (virtual, "array '/k' is in another file"),
    "external storage": (external_storage, "array '/k' is in another file"),
    "group inside itself": (
        lambda file: file["d"].__setitem__("again", file["d"]),
        "contains itself or has two names",
    ),
    "deep groups": (lambda file: file.create_group("a/" * 100), "contains itself"),
    "named type": (lambda file: file.__setitem__("k", np.dtype("f4")), "neither a group nor an"),
    "no space": (
        lambda file: file.__setitem__("k", h5py.Empty("f4")),
        "array '/k' must contain numbers, got float32 of shape None",
    ),
    "pairs": (
        lambda file: file.__setitem__("k", np.zeros(3, "f4,i4")),
        "array '/k' must contain numbers",
    ),
    "texts": (lambda file: file.__setitem__("k", ["a", "b"]), "array '/k' must contain numbers"),
    "numbers that are not stored": (
        lambda file: file.create_dataset("k", (20000, 20000), "f4", compression="gzip"),
        r"must declare at most 1,000 numbers, got 400,000,0\d\d or more",
    ),
    "many arrays of one": (
        lambda file: [file.__setitem__(f"k{i}", file["d/d/kernel:0"]) for i in range(100)],
        "must declare at most 1,000 numbers",
    ),
    "a chunk larger than its array": (
        lambda file: file.create_dataset("k", (1,), "f4", maxshape=(None,), chunks=(10**8,)),
        "must declare at most 1,000 numbers",
    ),
    "a chunk that unpacks to more": (
        inflating,
        "array '/k' unpacks to more than its declared size",
    ),
    "another compression": (
        lambda file: file.create_dataset("k", data=KERNEL, compression="lzf"),
        "array '/k' has an unknown compression. Use gzip",
    ),
    "a number for names": (names("/", "layer_names", 5), "'layer_names' of '/' must be a list"),
    "names of any length": (names("d", "weight_names", ["a", "b"]), "must be a list of names"),
    "one name twice": (
        names("d", "weight_names", np.array([b"d/bias:0", b"d/bias:0"])),
        "'weight_names' of '/d' must be unique plain names",
    ),
    "a name in two spellings": (
        names("d", "weight_names0", np.array([b"d/bias:0", b"d//bias:0"])),
        "must be unique plain names",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_weights_do_not_need_is_refused(tmp_path, what):
    edit, message = REFUSED[what]
    path = written(tmp_path / "x.h5", edit)
    with pytest.raises(WeightsError, match=f"x.h5 is not a plain weight file: .*{message}"):
        check_hdf5(path, "x.h5", MOST)


@pytest.mark.parametrize("data", [b"", b"no file", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_broken_files_are_named(tmp_path, data):
    (tmp_path / "x.h5").write_bytes(data)
    with pytest.raises(WeightsError, match="x.h5 cannot be read: "):
        check_hdf5(tmp_path / "x.h5", "x.h5", MOST)
