"""Weights as memory images: hex words, one per line, as Verilog's `$readmemh` takes them.

    tensor            a word is                                       order of the words
    kernel of bits    `word_bits` weights of a filter, the first      filter by filter; each begins
                      in the lowest bit; 1 is -1, unused bits 0       with a new word
    kernel in 8 bits  a level, two's complement                       row-major
    its scales        float32                                         output channels
    all else          float32                                         row-major

`index.json` lists the file of each tensor, and the nodes that use it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.errors import ArgumentError
from bnnzoo.formats import Format
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.graph.ir import Graph, Tensor
from bnnzoo.graph.packing import Int8Kernel, PackedSigns, pack

__all__ = ["FORMAT", "INDEX", "MAX_WORD_BITS", "MEM", "WORD_BITS", "to_files"]

# Not in `FORMATS`, since `bnnzoo unpack` writes it from a packed file.
MEM = Format("mem", "", "your own circuits", "bnnzoo.formats.mem")
FORMAT = "bnnzoo-mem/1"
INDEX = "index.json"
WORD_BITS = 32
MAX_WORD_BITS = 4096
_WORD_ORDER = "filter by filter; the first product is the lowest bit of a filter's first word"
_NUMBER_ORDER = "row-major: the last axis runs first"


def to_files(graph: Graph, info: NetworkInfo, word_bits: int = WORD_BITS) -> dict[str, bytes]:
    """Returns the contents of the files by name.

    Args:
        graph: The network; kernels of signs may be packed or not.
        info: Metadata; name, tag and licence are copied to the index.
        word_bits: Bits per word of a binary kernel, a multiple of 4 from 4 to 4096.

    Raises:
        ArgumentError: `word_bits` is out of range.
    """
    if word_bits % 4 or not 4 <= word_bits <= MAX_WORD_BITS:
        raise ArgumentError(
            f"word_bits must be a multiple of 4 from 4 to {MAX_WORD_BITS}, got {word_bits}. "
            "Choose the width of your memory, or the next multiple of 4."
        )
    files: dict[str, bytes] = {}
    entries = []
    for name, tensor in graph.tensors.items():
        for suffix, entry, lines in _words(tensor, word_bits):
            file = _file_name(name + suffix, files)
            files[file] = "".join(f"{line}\n" for line in lines).encode()
            entries.append({"tensor": name, "file": file, **entry, "used_by": _users(graph, name)})
    facts = {key: getattr(info, key) for key in ("name", "tag", "licence")}
    index = {"format": FORMAT, "network": facts, "tensors": entries}
    files[INDEX] = (json.dumps(index, indent=1, ensure_ascii=False) + "\n").encode()
    return files


Part = tuple[str, dict[str, Any], list[str]]


def _words(tensor: Tensor, word_bits: int) -> Iterator[Part]:
    """Yields the files of a tensor: suffix of the name, entry of the index, words."""
    if isinstance(tensor, np.ndarray) and tensor.dtype == np.int8:
        tensor = pack(tensor)
    if isinstance(tensor, PackedSigns):
        lines = _hex_of_bits(tensor, word_bits)
        per_filter = len(lines) // tensor.shape[0]
        yield "", _entry("bits", tensor.shape, word_bits, lines, words_per_filter=per_filter), lines
    elif isinstance(tensor, Int8Kernel):
        lines = [f"{level & 0xFF:02x}" for level in tensor.levels.ravel().tolist()]
        yield "", _entry("int8", tensor.shape, 8, lines), lines
        lines = _hex_of_floats(tensor.scale)
        yield "/int8_scale", _entry("int8_scale", tensor.scale.shape, 32, lines), lines
    else:
        lines = _hex_of_floats(tensor)
        yield "", _entry("float32", tensor.shape, 32, lines), lines


def _entry(
    kind: str, shape: tuple[int, ...], word_bits: int, lines: list[str], **more: int
) -> dict[str, Any]:
    return {
        "kind": kind,
        "shape": list(shape),
        "word_bits": word_bits,
        "words": len(lines),
        **more,
        "order": _WORD_ORDER if kind == "bits" else _NUMBER_ORDER,
    }


def _hex_of_bits(kernel: PackedSigns, word_bits: int) -> list[str]:
    bits = np.unpackbits(kernel.bits, axis=-1, count=kernel.K, bitorder="little")
    words = -(-kernel.K // word_bits)
    nibbles = np.zeros((len(bits), words * word_bits // 4, 4), np.uint8)
    nibbles.reshape(len(bits), -1)[:, : kernel.K] = bits
    digits = nibbles @ np.array([1, 2, 4, 8], np.uint8)
    # The lowest digit comes last in a word.
    digits = digits.reshape(len(bits) * words, word_bits // 4)[:, ::-1]
    characters = np.frombuffer(b"0123456789abcdef", np.uint8)[digits]
    return [row.tobytes().decode() for row in characters]


def _hex_of_floats(array: NDArray[Any]) -> list[str]:
    words = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return [f"{word:08x}" for word in words.ravel().tolist()]


def _file_name(name: str, taken: Iterable[str]) -> str:
    """Returns an unused file name that is valid on every file system."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".")[:120] or "tensor"
    known, found, number = {file.lower() for file in taken}, f"{plain}.mem", 2
    while found.lower() in known:
        found, number = f"{plain}-{number}.mem", number + 1
    return found


def _users(graph: Graph, name: str) -> list[dict[str, str]]:
    return [
        {"node": node.name, "op": node.op, "role": role}
        for node in graph.nodes
        for role, tensor in node.tensors.items()
        if tensor == name
    ]
