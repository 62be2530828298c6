"""The two containers of `torch.save`.

Since PyTorch 1.6, a zip archive of uncompressed members in one folder:

    NAME/data.pkl     the pickle; a storage in it is ("storage", type, key, device, elements)
    NAME/byteorder    "little" or "big"; little-endian if it is missing
    NAME/data/KEY     the bytes of a storage

Before PyTorch 1.6, the legacy format: five consecutive pickles, followed by the storages:

    a magic number
    the version of the format
    properties of the machine
    the object; a storage in it is ("storage", type, key, device, elements, view), where view is
    None or (key, offset, elements)
    the keys of the storages in the order of the file
    for each key:
        8 bytes     number of elements, little-endian
        elements    little-endian
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from os import PathLike
from typing import Any, Literal

from bnnzoo.checkpoints.allowed_names import NameRefusedError
from bnnzoo.checkpoints.inert_pickle import read_pickle
from bnnzoo.checkpoints.tensors import Dtype, Storage, described
from bnnzoo.errors import WeightsError, first_line
from bnnzoo.formats.strict_json import shown
from bnnzoo.snapshot import Snapshot

__all__ = ["from_bytes", "read"]

# A tensor takes about 200 bytes in a pickle, and the state of its optimizer 400.
MAX_PICKLE_BYTES = 2**22
MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
_ZIP, _TAR, _HDF5, _PICKLE = b"PK\3\4", b"ustar", b"\x89HDF\r\n\x1a\n", b"\x80"
_ZIP_ERRORS = (
    zipfile.BadZipFile, EOFError, NotImplementedError, OverflowError, ValueError, struct.error,
)  # fmt: skip
_BYTE_ORDERS: dict[bytes, Literal["<", ">"]] = {b"little": "<", b"big": ">"}
_TOO_LONG = f"its pickle must have at most {MAX_PICKLE_BYTES} bytes"
_ALONE = "Save the state dict alone, without the optimizer."
_DAMAGED = "The file is damaged; download it again."
_TRUNCATED = "It is truncated; download it again."
_DISTRUST = "Do not trust this file, or ask its author for torch.save(model.state_dict(), PATH)."
_SAVE = "Save its weights in PyTorch with torch.save(model.state_dict(), PATH)."


def read(path: str | PathLike[str]) -> Any:
    """Returns the object in a file written by `torch.save`; see `from_bytes`."""
    file = Snapshot.of(path)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise WeightsError(f"{file} cannot be read: {error.strerror}. Check the path.") from error
    try:
        return from_bytes(data)
    except NameRefusedError as error:
        whole = f"It is a whole model. {_SAVE}" if b"torch.nn.modules" in data else _DISTRUST
        raise WeightsError(f"{file}: {error} {whole}") from error
    except WeightsError as error:
        raise WeightsError(f"{file}: {error}") from error


def from_bytes(data: bytes) -> Any:
    """Returns the object in the bytes of a file written by `torch.save`; see `read_pickle`.

    Raises:
        WeightsError: The file is of another kind or damaged, or its pickle is refused.
    """
    if data.startswith(_ZIP):
        return _Archive(data).load()
    if data.startswith(_PICKLE):
        return _LegacyFile(data).load()
    if data[257:262] == _TAR:
        raise WeightsError(
            "it is a tar archive, the format of the first versions of PyTorch. Load it with "
            "PyTorch and save it again."
        )
    kind = "an HDF5 file" if data.startswith(_HDF5) else "another file"
    raise WeightsError(f"it must be a zip archive or a pickle of torch.save, got {kind}. {_SAVE}")


class _Archive:
    """A zip archive."""

    def __init__(self, data: bytes) -> None:
        self.members = _members(data)
        roots = [name[: -len("/data.pkl")] for name in self.members if name.endswith("/data.pkl")]
        if len(roots) != 1 or "/" in roots[0]:
            raise WeightsError(
                f"it must have one member NAME/data.pkl, got {len(roots)}. Save it with torch.save "
                "in PyTorch."
            )
        self.root = roots[0]
        self.verified: set[str] = set()

    def load(self) -> Any:
        """Returns the object."""
        content = self.read("data.pkl")
        if len(content) > MAX_PICKLE_BYTES:
            raise WeightsError(f"{_TOO_LONG}, got {len(content)}. {_ALONE}")
        order = bytes(self.read("byteorder")) if self.has("byteorder") else b"little"
        if order not in _BYTE_ORDERS:
            raise WeightsError(f"byteorder must be little or big, got {shown(order)}. {_DAMAGED}")
        self.byte_order = _BYTE_ORDERS[order]
        return read_pickle(io.BytesIO(content), self.storage)

    def has(self, name: str) -> bool:
        """Returns whether the folder has a member."""
        return f"{self.root}/{name}" in self.members

    def read(self, name: str) -> memoryview:
        """Returns the bytes of a member. Verifies their checksum on the first read."""
        content, checksum = self.members[f"{self.root}/{name}"]
        if name not in self.verified and zlib.crc32(content) != checksum:
            raise WeightsError(f"the checksum of {shown(name)} is wrong. {_DAMAGED}")
        self.verified.add(name)
        return content

    def storage(self, id: Any) -> Storage:
        """Returns the storage of a persistent id."""
        dtype, key, elements = _check_id(id, 5)
        name = f"data/{key}"
        if not self.has(name):
            raise WeightsError(f"it has no storage {shown(key)}. {_DAMAGED}")
        held = len(self.members[f"{self.root}/{name}"][0])
        if held != elements * dtype.bytes:
            raise WeightsError(
                f"storage {shown(key)} must have {elements * dtype.bytes} bytes for its {elements} "
                f"elements, got {held}. {_DAMAGED}"
            )
        return Storage(dtype, elements, lambda: self.read(name), byte_order=self.byte_order)


def _members(data: bytes) -> dict[str, tuple[memoryview, int]]:
    """Returns the bytes and the checksum of each member by name.

    Nothing is decompressed: members must be stored uncompressed, without overlaps.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
    except _ZIP_ERRORS as error:
        raise WeightsError(
            f"its zip directory is broken: {first_line(error)}. {_TRUNCATED}"
        ) from error
    if any(entry.orig_filename.endswith("/constants.pkl") for entry in entries):
        raise WeightsError(f"it is a TorchScript program. {_SAVE}")
    members: dict[str, tuple[memoryview, int]] = {}
    position = 0
    for entry in entries:
        name = entry.orig_filename
        what = f"member {shown(name)}"
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise WeightsError(
                f"{what} must be stored uncompressed and unencrypted, as torch.save does. Do not "
                "trust this file."
            )
        if name in members:
            raise WeightsError(f"{what} occurs twice. Do not trust this file.")
        begin = _content_begin(data, entry.header_offset, what)
        end = begin + entry.file_size
        if entry.header_offset < position or end > len(data):
            raise WeightsError(
                f"{what} overlaps another member or the end of the file. {_TRUNCATED}"
            )
        members[name] = memoryview(data)[begin:end], entry.CRC
        position = end
    return members


def _content_begin(data: bytes, header: int, what: str) -> int:
    """Returns the position of a member's content, which follows its local header."""
    fields = data[header : header + 30]
    if len(fields) < 30 or not fields.startswith(_ZIP):
        raise WeightsError(f"the header of {what} is broken. {_TRUNCATED}")
    name, extra = struct.unpack("<HH", fields[26:])
    return header + 30 + int(name) + int(extra)


class _LegacyFile:
    """Five consecutive pickles, followed by storages."""

    def __init__(self, data: bytes) -> None:
        self.data = memoryview(data)
        self.storages: dict[str, Storage] = {}
        self.contents: dict[str, memoryview] = {}

    def load(self) -> Any:
        """Returns the object."""
        file = io.BytesIO(self.data[:MAX_PICKLE_BYTES])
        try:
            loaded = self._object(file)
            keys = read_pickle(file, self.storage)
        except WeightsError:
            if file.tell() < MAX_PICKLE_BYTES:
                raise
            raise WeightsError(f"{_TOO_LONG}. {_ALONE}") from None
        self._find(keys, file.tell())
        return loaded

    def _object(self, file: io.BytesIO) -> Any:
        for expected in (MAGIC, VERSION):
            if read_pickle(file, self.storage) != expected:
                raise WeightsError(
                    "it is a pickle that torch.save did not write. Save it with torch.save in "
                    "PyTorch."
                )
        read_pickle(file, self.storage)  # properties of the machine
        return read_pickle(file, self.storage)

    def storage(self, id: Any) -> Storage:
        """Returns the storage of a persistent id. Its bytes are located after all pickles."""
        dtype, key, elements = _check_id(id, 6)
        storage = self.storages.setdefault(
            key, Storage(dtype, elements, lambda: self.contents[key])
        )
        if (storage.dtype, storage.elements) != (dtype, elements):
            raise WeightsError(f"storage {shown(key)} has two types or sizes. {_DAMAGED}")
        if id[5] is None:
            return storage
        if not isinstance(id[5], tuple) or len(id[5]) != 3:
            raise WeightsError(
                f"a view must be a tuple of three values, got {described(id[5])}. {_DAMAGED}"
            )
        _, offset, length = id[5]
        if not all(type(n) is int for n in (offset, length)):
            raise WeightsError(f"a view must have an offset and a size. {_DAMAGED}")
        return storage.view(offset, length)

    def _find(self, keys: Any, begin: int) -> None:
        """Locates the bytes of each storage."""
        known = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
        if not known or len(keys) != len(self.storages) or set(keys) != set(self.storages):
            raise WeightsError(f"its list of storages does not match its tensors. {_DAMAGED}")
        for key in keys:
            storage = self.storages[key]
            end = begin + 8 + storage.elements * storage.dtype.bytes
            if end > len(self.data):
                raise WeightsError(
                    f"storage {shown(key)} ends at byte {end} but the file has {len(self.data)}. "
                    f"{_TRUNCATED}"
                )
            (elements,) = struct.unpack("<q", self.data[begin : begin + 8])
            if elements != storage.elements:
                raise WeightsError(
                    f"storage {shown(key)} must have {storage.elements} elements, got {elements}. "
                    f"{_DAMAGED}"
                )
            self.contents[key] = self.data[begin + 8 : end]
            begin = end
        if begin != len(self.data):
            raise WeightsError(
                f"its last storage ends at byte {begin} but the file has {len(self.data)}. "
                f"{_DAMAGED}"
            )


def _check_id(id: Any, length: int) -> tuple[Dtype, str, int]:
    """Returns the type, key and number of elements in the persistent id of a storage."""
    if not isinstance(id, tuple) or len(id) != length or id[0] != "storage":
        raise WeightsError(
            f"a persistent id must be a tuple of {length} values for a storage, got "
            f"{described(id)}. {_DAMAGED}"
        )
    _, dtype, key, _, elements = id[:5]
    if not isinstance(dtype, Dtype) or not isinstance(key, str):
        raise WeightsError(
            f"a storage must have a type and a key, got {described(dtype)} and {described(key)}."
        )
    if type(elements) is not int or elements < 0:
        raise WeightsError(f"a storage must have a size, got {described(elements)}. {_DAMAGED}")
    return dtype, key, elements
