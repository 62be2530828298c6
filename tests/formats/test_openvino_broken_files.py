"""OpenVINO files with one error are refused with a line that names it."""

from __future__ import annotations

import collections
import time
import tracemalloc
import warnings
from typing import Any

import numpy as np
import pytest

from bnnzoo.errors import ModelFormatError
from bnnzoo.formats import openvino
from tests.conftest import DATA
from tests.formats.openvino_files import Ir
from tests.formats.openvino_mutations import mutated
from tests.formats.test_fuzz import RUNTIME, fuzz_packed

__all__ = ["fuzz_packed"]  # a fixture

FOLDER = DATA / "openvino"


def files(name: str = "residual") -> tuple[bytes, bytes]:
    xml, weights = ((FOLDER / f"{name}.{suffix}").read_bytes() for suffix in ("xml", "bin"))
    return xml, weights


ENTITIES = b"""<?xml version="1.0"?>
<!DOCTYPE net [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<net name="&b;" version="11"><layers/></net>"""
OTHER_FILE = b"""<!DOCTYPE net [<!ENTITY a SYSTEM "file:///etc/passwd">]><net name="&a;"/>"""

XML = {
    "nothing": (b"", "it is not XML, or it is damaged"),
    "another file": (b"PK\x03\x04" + bytes(50), "it is not XML"),
    "entities": (ENTITIES, "it has a document type, which networks do not need"),
    "another file's text": (OTHER_FILE, "it has a document type"),
    "an unknown entity": (b'<net name="&x;" version="11"/>', "it is not XML.*undefined entity"),
    "cut": (files()[0][:3000], "it is not XML, or it is damaged"),
    "another encoding": (b'<?xml version="1.0" encoding="utf-16"?><net version="7"/>', "version"),
    "an old version": (b'<net name="a" version="7"/>', "its IR version must be 10 or 11, got '7'"),
    "empty": (b'<net name="a" version="11"/>', "it must have 1 to 64 inputs, got 0"),
    "deep": (b"<net>" * 100_000, "it is not XML"),
    "many layers": (b'<net version="11"><layers>' + b"<layer/>" * 10_001, "at most 10,000 layers"),
}


@pytest.mark.parametrize("name", XML)
def test_malformed_xml_is_refused(name: str) -> None:
    xml, message = XML[name]
    with pytest.raises(ModelFormatError, match=message) as caught:
        openvino.from_bytes(xml, b"")
    assert "\n" not in str(caught.value)


CHANGES = {
    "layer": (b'type="SoftMax"', b'type="LSTMCell"', "it has unsupported layers: 'LSTMCell'"),
    "version": (b'type="SoftMax" version="opset1"', b'type="SoftMax" version="extension"',
                "its version must be an opset, got 'extension'"),
    "mode": (b'mode="xnor-popcount"', b'mode="and"', "mode must be xnor-popcount, got"),
    "border": (b'pad_value="1"', b'pad_value="0.5"', "pad_value must be -1, 0 or 1, got 0.5"),
    "levels": (b'levels="2"', b'levels="3"', r"it must have 2\^bits levels .* got 3 levels"),
    "number": (b'levels="2"', b'levels="two"', "levels must be an integer, got 'two'"),
    "broadcast": (b'auto_broadcast="numpy"', b'auto_broadcast="pdpd"', "numpy or none, got"),
    "pads": (b'pads_end="1, 1"', b'pads_end="1, 1, 1"', "pads must be four integers"),
    "type": (b'element_type="u1"', b'element_type="bf16"', "must be numeric, got 'bf16'"),
    "size": (b'size="288"', b'size="287"', "must have 288 bytes, got 287"),
    "place": (b'offset="0"', b'offset="999999"', "must be in the .bin file, which has 5,"),
    "input": (b'element_type="f32" />', b'element_type="u8" />', "it must be floating point, got"),
    "edge": (b'<edge from-layer="0"', b'<edge from-layer="x"', "edges must start at outputs"),
    "two edges": (b"</edges>", b'<edge from-layer="0" from-port="0" to-layer="2" to-port="0"/>'
                  b"</edges>", "each input must have one edge, got two"),
    "dim": (b"<dim>5</dim>", b"<dim>6</dim>", r"output must have the computed shape \(1, 5\), got"),
    "order": (b'from-layer="0" from-port="0"', b'from-layer="6" from-port="2"', "not form a cycle"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_malformed_layers_are_refused(name: str) -> None:
    old, new, message = CHANGES[name]
    xml, weights = files()
    assert old in xml
    with pytest.raises(ModelFormatError, match=message) as caught:
        openvino.from_bytes(xml.replace(old, new), weights)
    assert "\n" not in str(caught.value)


def test_the_weights_must_be_in_the_same_folder(tmp_path: Any) -> None:
    path = tmp_path / "net.xml"
    path.write_bytes(files()[0])
    with pytest.raises(
        ModelFormatError, match=r"net\.xml: its weights must be in net\.bin in the same"
    ):
        openvino.read(path)
    path.with_suffix(".bin").write_bytes(files()[1][:-1])
    with pytest.raises(ModelFormatError, match=r"net\.xml: layer .* must be in the \.bin file"):
        openvino.read(path)


def test_binary_convolutions_read_bits() -> None:
    for end, message in ((-1.0, "the 2 levels 0 and 1"), (None, "the 2 levels 0 and 1")):
        ir = Ir()
        value = ir.input
        if end is not None:
            limits = [ir.const(np.float32(limit)) for limit in (0, 0, end, 1)]
            value = ir.layer("FakeQuantize", value, *limits, levels=2)
        kernel = ir.const(np.ones((4, 3, 1, 1), np.uint8), "u1")
        conv = ir.layer("BinaryConvolution", value, kernel, strides="1,1", pads_begin="0,0",
                        pads_end="0,0", mode="xnor-popcount", pad_value=0)  # fmt: skip
        with pytest.raises(ModelFormatError, match=message):
            openvino.from_bytes(*ir.files(conv))


def test_small_files_need_little_memory() -> None:
    """Constants may share bytes, but only up to a limit."""
    ir = Ir()
    ir.const(np.zeros(2**20, np.float32))
    value = ir.input
    for _ in range(200):
        value = ir.layer(
            "Add", value, ir.const(np.zeros(0), offset=0, size=2**22, shape=str(2**20))
        )
    xml, weights = ir.files(value)
    tracemalloc.start()
    begin = time.monotonic()
    with pytest.raises(ModelFormatError, match="constants need far more memory"):
        openvino.from_bytes(xml, weights)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 17 * 2**22 + 2**24 and time.monotonic() - begin < 5


def test_mutated_files_are_refused_or_run(fuzz_packed: Any) -> None:
    stages: collections.Counter[str] = collections.Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for case in range(600):
            outcome = fuzz_packed.examine(1, case, runtime=RUNTIME, format="openvino")
            assert outcome.problem is None, outcome
            stages[outcome.stage] += 1
    assert stages["container"] > 100 and stages["validation"] > 50
    assert sum(stages[stage] for stage in ("engine", "predict", "result", "reference")) > 50
    assert stages["reference"] > 10 or not RUNTIME


def test_a_case_depends_only_on_its_two_numbers() -> None:
    assert [mutated(3, case) for case in range(30)] == [mutated(3, case) for case in range(30)]
