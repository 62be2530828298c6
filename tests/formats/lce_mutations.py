"""Mutations of valid `.tflite` files.

Case i of a run depends only on `np.random.default_rng([run, i])`. Half of the files
have changed bytes, the other half changed plain data under a right container.
"""

from __future__ import annotations

import dataclasses
import functools
import struct
from typing import Any

import numpy as np

from bnnzoo.formats import Network, lce
from bnnzoo.formats.lce.model_file import (
    DTYPES,
    ModelFile,
    OperatorEntry,
    Quantization,
    TensorEntry,
)
from bnnzoo.formats.lce.parsing import parse
from bnnzoo.formats.lce.reading_operators import READ
from bnnzoo.formats.lce.serializing import serialize
from bnnzoo.formats.network_info import NetworkInfo
from tests.conftest import DATA
from tests.formats.lce_networks import images, network
from tests.formats.mutations import (
    INTEGERS,
    REALS,
    SIZES,
    NothingToChangeError,
    cut,
    flip_bits,
    insert,
    near,
    pick,
    remove,
)

Rng = np.random.Generator

WRITTEN = ("minus-padding", "groups", "concatenation", "bits pooled", "flatten of parts of words",
           "real operations", "sums pooled", "relu6")  # fmt: skip
WORDS = (
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    0x7F,
    0xFF,
    2**15,
    2**16,
    2**20,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32 - 4,
)


@functools.cache
def seeds() -> tuple[bytes, ...]:
    """Returns files of two converters and of the writer."""
    graphs = [network(name) for name in WRITTEN]
    info = NetworkInfo("seed")
    written = [lce.write(Network(g, info, images(g, 1))).files[""] for g in graphs]
    paths = [*(DATA / "lce").glob("*.tflite"), *(DATA / "tflite").glob("*.tflite")]
    # What is not read cannot be written from plain data either.
    read = [path for path in sorted(paths) if path.stem != "gelu"]
    return (*(path.read_bytes() for path in read), *written)


@functools.cache
def parsed() -> tuple[ModelFile, ...]:
    return tuple(parse(data) for data in seeds())


# Raw: bytes that know nothing of the format ----------------------------------------------------


def word(rng: Rng, data: bytearray) -> bytes:
    """Writes an offset, a count or a number that is on the edge of something."""
    for _ in range(int(rng.integers(1, 4))):
        place = 4 * int(rng.integers(len(data) // 4))
        (old,) = struct.unpack_from("<I", data, place)
        values = (*WORDS, len(data), len(data) - place, old + 4, old - 4, old * 2, old + 1)
        struct.pack_into("<I", data, place, pick(rng, values) % 2**32)
    return data


def structure(rng: Rng, data: bytearray) -> bytes:
    """The same, near the end of the file, where the writer has its tables."""
    begin = int(rng.integers(len(data) // 2, len(data) - 4))
    end = min(len(data), begin + int(rng.integers(1, 16)))
    data[begin:end] = rng.bytes(end - begin)
    return data


def moved(rng: Rng, data: bytearray) -> bytes:
    """Copies a stretch over another place."""
    length = int(rng.integers(1, 257))
    begin, target = (4 * int(rng.integers(len(data) // 4)) for _ in range(2))
    piece = bytes(data[begin : begin + length])[: len(data) - target]
    data[target : target + len(piece)] = piece
    return data


RAW = [flip_bits, flip_bits, cut, remove, insert, word, word, structure, moved]

# Structured: right as flatbuffers --------------------------------------------------------------


def _with(file: ModelFile, what: str, index: int, item: Any) -> ModelFile:
    items = list(getattr(file, what))
    items[index] = item
    return dataclasses.replace(file, **{what: tuple(items)})


def _an_operator(rng: Rng, file: ModelFile) -> tuple[int, OperatorEntry]:
    index = int(rng.integers(len(file.operators)))
    return index, file.operators[index]


def _a_constant(rng: Rng, file: ModelFile) -> tuple[int, TensorEntry]:
    found = [i for i, entry in enumerate(file.tensors) if entry.values is not None]
    index = pick(rng, found)
    return index, file.tensors[index]


def option(rng: Rng, file: ModelFile) -> ModelFile:
    index, entry = pick(rng, [p for p in enumerate(file.operators) if p[1].options])
    name = pick(rng, sorted(entry.options))
    value = entry.options[name]
    if isinstance(value, bool):
        changed: Any = not value
    elif isinstance(value, float):
        changed = float(pick(rng, REALS))
    else:
        changed = int(np.clip(near(rng, int(value)), -128, 127))  # some are bytes
    return _with(file, "operators", index, dataclasses.replace(
        entry, options={**entry.options, name: changed}))  # fmt: skip


def kind(rng: Rng, file: ModelFile) -> ModelFile:
    index, entry = _an_operator(rng, file)
    changed = OperatorEntry(pick(rng, sorted(READ)), entry.inputs, entry.outputs, {})
    return _with(file, "operators", index, changed)


def operands(rng: Rng, file: ModelFile) -> ModelFile:
    index, entry = _an_operator(rng, file)
    what = "outputs" if rng.random() < 0.2 else "inputs"
    places = list(getattr(entry, what))
    choice = rng.random()
    if choice < 0.6 and places:
        places[int(rng.integers(len(places)))] = int(rng.integers(-1, len(file.tensors) + 1))
    elif choice < 0.8:
        places.append(int(rng.integers(-1, len(file.tensors))))
    else:
        places = places[:-1]
    return _with(file, "operators", index, dataclasses.replace(entry, **{what: tuple(places)}))


def order(rng: Rng, file: ModelFile) -> ModelFile:
    operators = list(file.operators)
    index = int(rng.integers(len(operators)))
    if rng.random() < 0.5:
        operators.insert(int(rng.integers(len(operators))), operators.pop(index))
    else:
        del operators[index]
    return dataclasses.replace(file, operators=tuple(operators))


def ends(rng: Rng, file: ModelFile) -> ModelFile:
    what = pick(rng, ["inputs", "outputs"])
    places = [int(rng.integers(-1, len(file.tensors) + 1)) for _ in range(int(rng.integers(0, 3)))]
    return dataclasses.replace(file, **{what: tuple(places)})


def shape(rng: Rng, file: ModelFile) -> ModelFile:
    """Gives a value another shape; a constant with its numbers."""
    index = int(rng.integers(len(file.tensors)))
    entry = file.tensors[index]
    sizes = [max(0, int(n)) for n in near(rng, list(entry.shape))]
    if rng.random() < 0.2:
        sizes = sizes[:-1] if rng.random() < 0.5 else [*sizes, int(pick(rng, SIZES))]
    if np.prod(sizes, dtype=object) > 200_000 and entry.values is not None:
        raise NothingToChangeError
    values = None if entry.values is None else np.resize(entry.values, sizes)
    return _with(file, "tensors", index,
                 dataclasses.replace(entry, shape=tuple(sizes), values=values))  # fmt: skip


def lie(rng: Rng, file: ModelFile) -> ModelFile:
    """Gives a constant another shape, without its numbers, or the type of others."""
    index, entry = _a_constant(rng, file)
    if rng.random() < 0.7:
        sizes = tuple(max(0, min(int(n), 2**31 - 1)) for n in near(rng, list(entry.shape)))
        return _with(file, "tensors", index, dataclasses.replace(entry, shape=sizes))
    dtype = pick(rng, [*DTYPES, "STRING"])
    return _with(file, "tensors", index, dataclasses.replace(entry, dtype=dtype))


def numbers(rng: Rng, file: ModelFile) -> ModelFile:
    index, entry = _a_constant(rng, file)
    assert entry.values is not None
    values = entry.values.copy()
    if values.size == 0:
        raise NothingToChangeError
    choices = REALS if values.dtype.kind == "f" else (*INTEGERS, -(2**31), 2**31 - 1)
    with np.errstate(over="ignore"):  # of float16
        changed = np.asarray(pick(rng, choices)).astype(values.dtype, casting="unsafe")
    values.flat[int(rng.integers(values.size))] = changed
    return _with(file, "tensors", index, dataclasses.replace(entry, values=values))


def quantization(rng: Rng, file: ModelFile) -> ModelFile:
    """Gives a tensor another meaning of its integers, or one that it did not have."""
    index = int(rng.integers(len(file.tensors)))
    entry = file.tensors[index]
    count = int(pick(rng, [0, 1, 1, *entry.shape]))
    if count > 100_000:
        raise NothingToChangeError
    scale = np.full(count, pick(rng, REALS), np.float32)
    zero_point = np.full(max(0, count + int(rng.integers(-1, 2))), pick(rng, INTEGERS))
    changed = Quantization(scale, zero_point, int(rng.integers(-1, len(entry.shape) + 1)))
    return _with(file, "tensors", index, dataclasses.replace(entry, quantization=changed))


def facts(rng: Rng, file: ModelFile) -> ModelFile:
    texts = [b"", b"{}", b'{"name": 1}', b"\xff", b'{"name": "a", "labels": ["b"]}', b"[[[["]
    return dataclasses.replace(file, metadata={"bnnzoo_info": pick(rng, texts)})


STRUCTURED = [option, option, kind, operands, operands, order, ends, shape, shape, lie, numbers,
              numbers, quantization, facts]  # fmt: skip


def mutated(run: int, case: int) -> tuple[bytes, str]:
    """Returns a mutated file and the name of the mutation."""
    rng = np.random.default_rng([run, case])
    index = int(rng.integers(len(seeds())))
    if case % 2:
        edit = pick(rng, RAW)
        return bytes(edit(rng, bytearray(seeds()[index]))), edit.__name__
    file = parsed()[index]
    edits = [pick(rng, STRUCTURED) for _ in range(int(rng.choice([1, 1, 2])))]
    for structured in edits:
        try:
            file = structured(rng, file)
        except NothingToChangeError:
            continue
    return serialize(file), "+".join(structured.__name__ for structured in edits)
