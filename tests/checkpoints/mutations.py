"""Mutations of valid checkpoints.

Case i of a run depends only on `np.random.default_rng([run, i])`. Half of the files have changed
bytes. In the other half the container is valid, and the pickle has other opcodes, numbers or names,
or a storage has other bytes.
"""

from __future__ import annotations

import functools
import io
import pickletools
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from bnnzoo.checkpoints.allowed_names import _NAMES
from tests.checkpoints.files import GOLDENS, integer, named, text, zipped
from tests.formats.mutations import cut, flip_bits, insert, pick, remove

Rng = np.random.Generator

INTEGERS = (-1, 0, 1, 2, 3, 7, 8, 9, 255, 256, 2**15, 2**31, 2**40, 2**63, 2**100, 2**200)
STRINGS = ("", "0", "storage", "state_dict", "module.", "../0", "\0", "\ud800", "x" * 300)
OTHER_NAMES = ("os.system", "builtins.eval", "torch.nn.modules.linear.Linear", "torch.Size.x", "x.")
SIZES = (0, 1, 3, 4, 7, 100)
_INTEGERS = ("BININT", "BININT1", "BININT2", "LONG1")
_STRINGS = ("BINUNICODE", "SHORT_BINUNICODE", "SHORT_BINSTRING")


@functools.cache
def seeds() -> tuple[bytes, ...]:
    """Returns the files that PyTorch wrote."""
    return tuple(path.read_bytes() for path in sorted(GOLDENS.glob("*.pth")))


def opcodes(content: bytes) -> list[bytes]:
    """Returns the opcodes of a pickle with their arguments; the last is STOP."""
    places = [place for *_, place in pickletools.genops(content)]
    return [content[a:b] for a, b in zip(places, [*places[1:], places[-1] + 1], strict=True)]


def _kinds(code: list[bytes], names: tuple[str, ...]) -> list[int]:
    known = {
        opcode.code.encode("latin-1") for opcode in pickletools.opcodes if opcode.name in names
    }
    return [i for i, part in enumerate(code) if part[:1] in known]


# Edits of opcodes ---------------------------------------------------------------------------------


def drop(rng: Rng, code: list[bytes]) -> None:
    del code[int(rng.integers(len(code)))]


def repeat(rng: Rng, code: list[bytes]) -> None:
    i = int(rng.integers(len(code)))
    code[i:i] = [code[i]] * int(rng.integers(1, 4))


def swap(rng: Rng, code: list[bytes]) -> None:
    i, j = rng.integers(len(code), size=2)
    code[i], code[j] = code[j], code[i]


def borrow(rng: Rng, code: list[bytes]) -> None:
    """Copies some opcodes to another position in the pickle."""
    i, j = (int(n) for n in rng.integers(len(code), size=2))
    code[j : j + int(rng.integers(4))] = code[i : i + int(rng.integers(1, 12))]


def any_opcode(rng: Rng, code: list[bytes]) -> None:
    code[int(rng.integers(len(code)))] = bytes([int(rng.integers(256))])


def number(rng: Rng, code: list[bytes]) -> None:
    places = _kinds(code, _INTEGERS)
    if places:
        code[pick(rng, places)] = integer(pick(rng, INTEGERS))


def string(rng: Rng, code: list[bytes]) -> None:
    places = _kinds(code, _STRINGS)
    if places:
        code[pick(rng, places)] = text(pick(rng, STRINGS))


def name(rng: Rng, code: list[bytes]) -> None:
    places = _kinds(code, ("GLOBAL", "STACK_GLOBAL"))
    if places:
        chosen = pick(rng, OTHER_NAMES if rng.random() < 0.1 else tuple(_NAMES))
        code[pick(rng, places)] = named(chosen)


CODE: tuple[Callable[[Rng, list[bytes]], None], ...] = (
    drop, repeat, swap, borrow, any_opcode, number, string, name,
)  # fmt: skip


def edited(rng: Rng, content: bytes) -> tuple[bytes, str]:
    """Returns a pickle with one to three edits, and the name of the first."""
    code, edits = opcodes(content), [pick(rng, CODE) for _ in range(pick(rng, (1, 1, 1, 2, 3)))]
    for edit in edits:
        edit(rng, code)
    return b"".join(code), edits[0].__name__


# Files --------------------------------------------------------------------------------------------


def of_zip(rng: Rng, seed: bytes) -> tuple[bytes, str]:
    """Changes the pickle or another member, with valid checksums."""
    with zipfile.ZipFile(io.BytesIO(seed)) as archive:
        members = {entry: archive.read(entry) for entry in archive.namelist()}
    (main,) = (entry for entry in members if entry.endswith("/data.pkl"))
    if rng.random() < 0.8:
        members[main], edit = edited(rng, members[main])
        return zipped(members), edit
    chosen = pick(rng, tuple(members))
    content = members.pop(chosen)
    way = pick(rng, ("lost", "size", "bytes", "renamed"))
    if way == "size":
        members[chosen] = content[: pick(rng, SIZES)] + rng.bytes(pick(rng, SIZES))
    elif way == "bytes":
        members[chosen] = rng.bytes(len(content))
    elif way == "renamed":
        members[pick(rng, (f"{chosen}x", f"x/{chosen}", chosen.rpartition("/")[2]))] = content
    return zipped(members), way


def of_sequence(rng: Rng, seed: bytes) -> tuple[bytes, str]:
    """Changes one of the five pickles, or the size of a storage."""
    file = io.BytesIO(seed)
    pickles = []
    for _ in range(5):
        begin = file.tell()
        for _ in pickletools.genops(file):
            pass
        pickles.append(seed[begin : file.tell()])
    rest = seed[file.tell() :]
    if rng.random() < 0.1:
        size = struct.pack("<q", pick(rng, (-1, 0, 1, 2, 2**40)))
        return b"".join([*pickles, size, rest[8:]]), "size"
    i = 3 if rng.random() < 0.8 else int(rng.integers(5))
    pickles[i], edit = edited(rng, pickles[i])
    return b"".join([*pickles, rest]), edit


RAW: tuple[Callable[[Rng, bytearray], bytes], ...] = (flip_bits, cut, remove, insert)


def mutated(run: int, case: int) -> tuple[bytes, str]:
    """Returns a mutated file and the name of the mutation."""
    rng: Any = np.random.default_rng([run, case])
    seed = pick(rng, seeds())
    if case % 2:
        edit = pick(rng, RAW)
        return bytes(edit(rng, bytearray(seed))), edit.__name__
    return (of_zip if seed.startswith(b"PK") else of_sequence)(rng, seed)
