"""Mutations of valid OpenVINO files.

Case i of a run depends only on `np.random.default_rng([run, i])`. A third of the files have changed
bytes, the others changed elements. The two files are joined to one: the `.xml`, a zero byte, the
`.bin`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np

from bnnzoo.formats.openvino.translating import LAYERS
from tests.conftest import DATA
from tests.formats.mutations import (
    NothingToChangeError,
    cut,
    flip_bits,
    insert,
    near,
    pick,
    remove,
)
from tests.formats.openvino_files import Ir

Rng = np.random.Generator
Net = ElementTree.Element

RAW: list[Callable[[Rng, bytearray], bytes]] = [flip_bits, flip_bits, cut, remove, insert]
_WORDS = ["", "0", "1", "-1", "true", "false", "ceil", "same_upper", "valid", "explicit", "numpy",
          "none", "f16", "f32", "i64", "u1", "u8", "xnor-popcount", "1, 1", "0, 0", "2, 1", "nan",
          "inf", "1e30", "-0.5", "9" * 30, "\u0660", "[N,H,W,C]", "opset1", "opset8"]  # fmt: skip


@functools.cache
def seeds() -> tuple[tuple[bytes, bytes], ...]:
    """Returns the files that OpenVINO wrote, and a network of integers."""
    written = (
        (path.read_bytes(), path.with_suffix(".bin").read_bytes())
        for path in sorted((DATA / "openvino").glob("*.xml"))
    )
    return (*written, integers())


def integers() -> tuple[bytes, bytes]:
    """Returns a network in which nothing is rounded."""
    ir, rng = Ir("1,3,8,8"), np.random.default_rng(6)
    value, channels = ir.input, 3
    for border in (0, 1, -1):
        threshold = ir.const(rng.integers(-2, 3, (1, channels, 1, 1)).astype(np.float32))
        ends = [ir.const(np.float32(end)) for end in (0, 1)]
        bits = ir.layer("FakeQuantize", value, threshold, threshold, *ends, levels=2)
        kernel = ir.const(rng.integers(0, 2, (8, channels, 3, 3)).astype(np.uint8), "u1")
        value, channels = ir.layer(
            "BinaryConvolution", bits, kernel, strides="1,1", pads_begin="1,1", pads_end="1,1",
            dilations="1,1", mode="xnor-popcount", pad_value=border,
        ), 8  # fmt: skip
        value = ir.layer("PReLU", value, ir.const(np.full(8, -1, np.float32)))
    pool = {"kernel": "3,3", "strides": "2,2", "pads_begin": "0,0", "pads_end": "1,1"}
    return ir.files(ir.layer("MaxPool", value, rounding_type="floor", **pool))


def parted(data: bytes) -> tuple[bytes, bytes]:
    """Returns the two files of a case."""
    xml, _, weights = data.partition(b"\0")
    return xml, weights


def _changed(rng: Rng, text: str) -> str:
    """Returns another string, often with numbers near those in the original."""
    if rng.random() < 0.3:
        return str(pick(rng, _WORDS))
    parts = text.split(",")
    place = int(rng.integers(len(parts)))
    try:
        parts[place] = str(near(rng, int(parts[place])))
    except ValueError:
        return str(pick(rng, _WORDS))
    if rng.random() < 0.15:
        del parts[place]
    return ",".join(parts)


def _an_attribute(rng: Rng, element: Net) -> str:
    if not element.attrib:
        raise NothingToChangeError
    return str(pick(rng, sorted(element.attrib)))


def setting(rng: Rng, net: Net) -> None:
    """Changes a setting of a layer."""
    data = pick(rng, net.findall("./layers/layer/data"))
    name = _an_attribute(rng, data)
    data.set(name, _changed(rng, data.get(name, "")))


def less_setting(rng: Rng, net: Net) -> None:
    data = pick(rng, net.findall("./layers/layer/data"))
    del data.attrib[_an_attribute(rng, data)]


def new_setting(rng: Rng, net: Net) -> None:
    """Adds a setting that the layer may or may not have."""
    layer = pick(rng, net.findall("./layers/layer"))
    data = layer.find("data")
    data = ElementTree.SubElement(layer, "data") if data is None else data
    name = pick(rng, ["axis", "auto_pad", "dilations", "rounding_type", "transpose_a",
                      "transpose_b", "keep_dims", "special_zero", "layout", "eps"])  # fmt: skip
    data.set(name, pick(rng, _WORDS))


def layer(rng: Rng, net: Net) -> None:
    """Changes the type, name, id or version of a layer."""
    entry = pick(rng, net.findall("./layers/layer"))
    if rng.random() < 0.5:
        entry.set("type", pick(rng, sorted([*LAYERS, "If", "Loop", "Const", "Result"])))
    else:
        entry.set(_an_attribute(rng, entry), pick(rng, [*_WORDS, "images", "a\u2028b"]))


def dim(rng: Rng, net: Net) -> None:
    element = pick(rng, net.findall(".//dim"))
    element.text = _changed(rng, element.text or "")


def edge(rng: Rng, net: Net) -> None:
    """Changes a connection."""
    entry = pick(rng, net.findall("./edges/edge"))
    other = pick(rng, net.findall("./edges/edge"))
    for name in ("from-layer", "from-port") if rng.random() < 0.7 else ("to-layer", "to-port"):
        entry.set(name, other.get(name, ""))


def less(rng: Rng, net: Net) -> None:
    """Removes an element."""
    parent = pick(rng, [element for element in net.iter() if len(element)])
    parent.remove(pick(rng, list(parent)))


def twice(rng: Rng, net: Net) -> None:
    """Repeats an element."""
    parent = pick(rng, [element for element in net.iter() if len(element)])
    parent.insert(int(rng.integers(len(parent) + 1)), pick(rng, list(parent)))


def ends(rng: Rng, net: Net) -> None:
    """Changes the stored shape of the input."""
    entry = pick(rng, net.findall("./layers/layer[@type='Parameter']"))
    for data in entry.findall("data"):
        shape = _changed(rng, data.get("shape", ""))
        data.set("shape", shape)
        if rng.random() < 0.8:  # as OpenVINO would write it
            for element in net.findall(".//output/port/dim"):
                element.text = "-1"


STRUCTURED: list[Callable[[Rng, Net], None]] = [
    *[setting] * 5, less_setting, new_setting, *[layer] * 2, dim, *[edge] * 2, less, twice,
    *[ends] * 2,
]  # fmt: skip


def mutated(run: int, case: int) -> tuple[bytes, str]:
    """Returns a mutated file and the name of the mutation."""
    rng = np.random.default_rng([run, case])
    xml, weights = seeds()[int(rng.integers(len(seeds())))]
    if case % 3 == 0:
        edit = pick(rng, RAW)
        changed = bytes(edit(rng, bytearray(xml))).replace(b"\0", b" ")
        return changed + b"\0" + weights, edit.__name__
    net = ElementTree.fromstring(xml)
    edits = [pick(rng, STRUCTURED) for _ in range(int(rng.choice([1, 1, 2])))]
    for structured in edits:
        try:
            structured(rng, net)
        except NothingToChangeError:
            continue
    if rng.random() < 0.1:
        weights = weights[: int(rng.integers(len(weights)))]
    names = "+".join(structured.__name__ for structured in edits)
    return ElementTree.tostring(net, "utf-8") + b"\0" + weights, names
