"""Builds valid and invalid checkpoints byte by byte, without PyTorch."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

GOLDENS = Path(__file__).parents[1] / "data" / "torch"
MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
STOP = b"."

# Parts of a pickle --------------------------------------------------------------------------------


def named(name: str) -> bytes:
    module, _, attribute = name.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def integer(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def sequence(*parts: bytes) -> bytes:
    """A tuple."""
    return b"(" + b"".join(parts) + b"t"


def counts(*values: int) -> bytes:
    return sequence(*map(integer, values))


def call(name: str, *arguments: bytes) -> bytes:
    return named(name) + sequence(*arguments) + b"R"


def dictionary(entries: Mapping[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in entries.items()) + b"u"


def storage(key: str, elements: int, kind: str = "torch.FloatStorage", *view: bytes) -> bytes:
    parts = text("storage"), named(kind), text(key), text("cpu"), integer(elements), *view
    return sequence(*parts) + b"Q"


def tensor(
    held: bytes, shape: tuple[int, ...], strides: tuple[int, ...] | None = None, offset: int = 0
) -> bytes:
    """A tensor of a storage. Contiguous if no strides are given."""
    if strides is None:
        strides = tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))
    return call(
        "torch._utils._rebuild_tensor_v2",
        held,
        integer(offset),
        counts(*shape),
        counts(*strides),
        b"\x89",
        call("collections.OrderedDict"),
    )


def whole(content: bytes, protocol: int = 2) -> bytes:
    """A whole pickle: PROTO, its content, STOP."""
    return bytes([0x80, protocol]) + content + STOP


# Files --------------------------------------------------------------------------------------------


def zipped(members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return file.getvalue()


def new_file(content: bytes, storages: Mapping[str, bytes] | None = None, **more: bytes) -> bytes:
    """A zip archive of a pickle's content and storages."""
    data = {f"net/data/{key}": numbers for key, numbers in (storages or {}).items()}
    return zipped(
        {"net/data.pkl": whole(content), **{f"net/{k}": v for k, v in more.items()}, **data}
    )


def old_file(content: bytes, storages: Mapping[str, tuple[int, bytes]] | None = None) -> bytes:
    """A file of the legacy format: five pickles, then storages with their number of elements."""
    storages = storages or {}
    head = (pickle.dumps(value, 2) for value in (MAGIC, VERSION, {"little_endian": True}))
    tail = (struct.pack("<q", elements) + numbers for elements, numbers in storages.values())
    return b"".join([*head, whole(content), pickle.dumps(list(storages), 2), *tail])


def ones(elements: int) -> bytes:
    return np.ones(elements, "<f4").tobytes()


def plain_file(*, old: bool = False, **shapes: tuple[int, ...]) -> bytes:
    """A state dict of ones, with a storage for each tensor."""
    sizes = {name: int(np.prod(shape)) for name, shape in shapes.items()}
    view = (b"N",) if old else ()
    content = dictionary(
        {
            name: tensor(storage(name, sizes[name], "torch.FloatStorage", *view), shape)
            for name, shape in shapes.items()
        }
    )
    if old:
        return old_file(content, {name: (n, ones(n)) for name, n in sizes.items()})
    return new_file(content, {name: ones(n) for name, n in sizes.items()})


def of_model(model, names, prefix: str = "module.") -> bytes:
    """A checkpoint with the weights of a Keras model under the authors' names."""
    values = {"epoch": integer(7)}
    storages = {}
    entries = {}
    for weight in model.weights:
        value = np.asarray(weight)
        axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(value.ndim, range(value.ndim))
        value = np.ascontiguousarray(value.transpose(axes), "<f4")
        key = names.source(weight.path)
        storages[key] = value.tobytes()
        entries[prefix + key] = tensor(storage(key, value.size), value.shape)
    return new_file(dictionary({**values, "state_dict": dictionary(entries)}), storages)
