"""The container: a `.safetensors` file, whose header is JSON and whose data is plain arrays.

    8 bytes     length of the header, little endian
    header      {"__metadata__": {...}, name: {"dtype", "shape", "data_offsets"}, ...}
    data        the arrays, one after the other, without gaps

The safetensors library reads it, with its own checks. The checks here come first: they report which
rule a file breaks, and refuse what the library accepts, namely repeated keys.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.errors import ModelFormatError
from bnnzoo.formats.strict_json import decode, encode, expect_keys, expect_list, shown

__all__ = ["DTYPES", "MAX_HEADER_BYTES", "Contents", "parse", "serialize"]

Array = NDArray[Any]

# The largest types first, so that arrays are aligned to their item size.
DTYPES = {"F32": np.float32, "F16": np.float16, "I8": np.int8, "U8": np.uint8}
MAX_HEADER_BYTES = 4 * 2**20
_MAX_AXES = 8
_DAMAGED = "The file is damaged; download or convert it again."
_TRUNCATED = "It is truncated; download or convert it again."


@dataclass(frozen=True)
class Contents:
    """The contents of a file.

    Attributes:
        metadata: Key -> text.
        arrays: Name -> array.
        header_bytes: Length of the header with the eight bytes before it.
    """

    metadata: Mapping[str, str]
    arrays: Mapping[str, Array]
    header_bytes: int


def serialize(metadata: Mapping[str, str], arrays: Mapping[str, Array]) -> bytes:
    """Returns the bytes of a file; the same contents give the same bytes.

    The library is not used, since it writes metadata in random order.
    """
    order = list(DTYPES.values())
    names = sorted(arrays, key=lambda name: (order.index(arrays[name].dtype.type), name))
    codes = {np.dtype(type_): code for code, type_ in DTYPES.items()}
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in names:
        begin, end = end, end + arrays[name].nbytes
        header[name] = {
            "dtype": codes[arrays[name].dtype],
            "shape": list(arrays[name].shape),
            "data_offsets": [begin, end],
        }
    text = encode(header).encode()
    text += b" " * (-len(text) % 8)
    little = (arrays[name].astype(arrays[name].dtype.newbyteorder("<")) for name in names)
    return b"".join([struct.pack("<Q", len(text)), text, *(array.tobytes() for array in little)])


def parse(data: bytes) -> Contents:
    """Parses the bytes of a file.

    Raises:
        ModelFormatError: The file is not valid safetensors, its header is larger than 4 MiB, a key
            is repeated, or a type is not in `DTYPES`.
    """
    import safetensors

    length = _header_length(data)
    header = _header(data[8 : 8 + length])
    metadata = _metadata(header.pop("__metadata__", {}))
    _check_layout(header, 8 + length, len(data))
    try:
        views = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as error:
        raise ModelFormatError(f"safetensors rejects it: {error}. {_DAMAGED}") from error
    arrays = {
        name: np.frombuffer(view["data"], np.dtype(DTYPES[view["dtype"]]).newbyteorder("<"))
        .astype(DTYPES[view["dtype"]], copy=False)
        .reshape(view["shape"])
        for name, view in views
    }
    return Contents(metadata, arrays, 8 + length)


def _header_length(data: bytes) -> int:
    if len(data) < 8:
        raise ModelFormatError(
            f"it must begin with 8 bytes of length, but the file has {len(data)}. {_TRUNCATED}"
        )
    length: int = struct.unpack("<Q", data[:8])[0]
    if length > MAX_HEADER_BYTES:
        raise ModelFormatError(
            f"its header must have at most {MAX_HEADER_BYTES} bytes, got {length}. "
            "It is not a bnnzoo-packed file, or it is damaged; download or convert it again."
        )
    if length > len(data) - 8:
        raise ModelFormatError(
            f"its header ends at byte {8 + length} but the file has {len(data)}. {_TRUNCATED}"
        )
    return length


def _header(data: bytes) -> dict[str, Any]:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ModelFormatError(f"its header is not UTF-8. {_DAMAGED}") from error
    header = decode(text, "its header")
    if not isinstance(header, dict):
        raise ModelFormatError(f"its header must be an object, got {shown(header)}. {_DAMAGED}")
    return header


def _metadata(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ModelFormatError(f"__metadata__ must be an object of strings. {_DAMAGED}")
    return value


def _check_layout(header: Mapping[str, Any], start: int, file_bytes: int) -> None:
    """Checks that the tensors fill the file from `start` without gap or overlap."""
    position = start
    for (begin, end), name in sorted((_place(name, value), name) for name, value in header.items()):
        if start + begin != position:
            raise ModelFormatError(
                f"tensor {shown(name)} begins at byte {start + begin} but the data before it ends "
                f"at {position}. {_DAMAGED}"
            )
        position = start + end
        if position > file_bytes:
            raise ModelFormatError(
                f"tensor {shown(name)} ends at byte {position} but the file has {file_bytes}. "
                f"{_TRUNCATED}"
            )
    if position < file_bytes:
        raise ModelFormatError(
            f"its last tensor ends at byte {position} but the file has {file_bytes}. {_DAMAGED}"
        )


def _place(name: str, value: Any) -> tuple[int, int]:
    what = f"tensor {shown(name)}"
    value = expect_keys(value, what, ("dtype", "shape", "data_offsets"))
    if not isinstance(value["dtype"], str) or value["dtype"] not in DTYPES:
        raise ModelFormatError(
            f"the dtype of {what} must be one of {', '.join(DTYPES)}, got {shown(value['dtype'])}."
        )
    shape = expect_list(value["shape"], f"the shape of {what}", _MAX_AXES)
    offsets = expect_list(value["data_offsets"], f"the data_offsets of {what}", 2)
    if not all(type(n) is int and n >= 0 for n in (*shape, *offsets)):
        raise ModelFormatError(
            f"the shape and data_offsets of {what} must be integers of at least 0. {_DAMAGED}"
        )
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ModelFormatError(f"the data_offsets of {what} must be begin and end. {_DAMAGED}")
    needed = math.prod(shape) * np.dtype(DTYPES[value["dtype"]]).itemsize
    if offsets[1] - offsets[0] != needed:
        raise ModelFormatError(
            f"{what} must have {needed} bytes for its shape {tuple(shape)}, "
            f"got {offsets[1] - offsets[0]}. {_DAMAGED}"
        )
    return offsets[0], offsets[1]
