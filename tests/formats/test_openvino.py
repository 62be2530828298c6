"""Networks read from OpenVINO compute the same as its CPU plugin, and follow its specification."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from bnnzoo.cli.main import main
from bnnzoo.errors import ArgumentError, ModelFormatError
from bnnzoo.formats import openvino, packed
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.graph import interpreter
from bnnzoo.model_source import resolve_model
from bnnzoo.runtime import load
from tests.conftest import DATA
from tests.formats.openvino_files import Ir

FOLDER = DATA / "openvino"
# Rounding of float32 in sums of at most 300 products, relative to the largest output.
RELATIVE = 2e-6
IMAGES = (np.random.default_rng(4).integers(-12, 13, (2, 6, 5, 3)) / 8).astype(np.float32)


def expected(name: str) -> tuple[np.ndarray, np.ndarray]:
    with np.load(FOLDER / "outputs.npz") as archive:
        images, outputs = archive["images"], archive[name]
    return images.transpose(0, 2, 3, 1), (
        outputs.transpose(0, 2, 3, 1) if outputs.ndim == 4 else outputs
    )


def ops(graph: Any) -> list[str]:
    return [node.op for node in graph.nodes]


def computed(ir: Ir, output: str) -> np.ndarray:
    graph, _ = openvino.from_bytes(*ir.files(output))
    return interpreter.run(graph, IMAGES)[graph.outputs[0]]


@pytest.mark.parametrize(("name", "binary"), [("residual", 4), ("levels", 2), ("parts", 0)])
def test_networks_compute_what_the_cpu_plugin_computes(name: str, binary: int) -> None:
    graph, info = openvino.read(FOLDER / f"{name}.xml")
    images, outputs = expected(name)
    assert info == NetworkInfo(name) and graph.input_shape == (16, 16, 3)
    assert ops(graph).count("bconv2d") == binary
    found = interpreter.run(graph, images)[graph.outputs[0]]
    np.testing.assert_allclose(found, outputs, rtol=0, atol=RELATIVE * np.abs(outputs).max())


def test_the_command_line_converts(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "net.safetensors"
    assert main(["convert", str(FOLDER / "residual.xml"), str(target)]) == 0
    both = sum((FOLDER / f"residual.{suffix}").stat().st_size for suffix in ("xml", "bin"))
    assert re.search(rf"before +{both:,}", capsys.readouterr().out)
    images, outputs = expected("residual")
    np.testing.assert_allclose(load(target)(images), outputs, rtol=0, atol=RELATIVE)
    assert main(["inspect", str(target)]) == 0
    assert "bconv2d" in capsys.readouterr().out
    assert packed.read(target)[1].name == "residual"


def test_other_functions_say_how_to_convert_a_file() -> None:
    advice = r"bnnzoo convert NAME\.xml NAME\.safetensors"
    for suffix in (".xml", ".bin"):
        with pytest.raises(ArgumentError, match=advice):
            resolve_model(f"net{suffix}")
    with pytest.raises(ModelFormatError, match=rf"it is XML, as .*{advice}"):
        packed.open_file(FOLDER / "residual.xml")


def test_openvino_cannot_be_written(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(FOLDER / "residual.xml")
    assert main(["convert", source, str(tmp_path / "net.xml")]) == 2
    assert "path must end in .safetensors, .tflite, .onnx" in capsys.readouterr().err


def test_files_of_the_model_optimizer_are_read() -> None:
    """IR version 10 has its layers in any order, and another name for epsilon."""
    xml, weights = ((FOLDER / f"parts.{suffix}").read_bytes() for suffix in ("xml", "bin"))
    layers = re.findall(rb"<layer .*?</layer>", xml, re.DOTALL)
    for old, new in zip(layers, reversed(layers), strict=True):
        xml = xml.replace(old, b"<!--" + new[1:] + b"-->", 1)
    xml = xml.replace(b"<!--", b"<").replace(b"-->", b"")
    xml = xml.replace(b'version="11"', b'version="10"').replace(b"epsilon=", b"eps=")
    graph, _ = openvino.from_bytes(xml, weights)
    images, outputs = expected("parts")
    found = interpreter.run(graph, images)[graph.outputs[0]]
    np.testing.assert_allclose(found, outputs, rtol=0, atol=RELATIVE)


# Layers ------------------------------------------------------------------------------------------


def quantized(ir: Ir, value: str, low: Any, high: Any, least: Any, most: Any, levels: int) -> str:
    ends = [ir.const(np.asarray(end, np.float32)) for end in (low, high, least, most)]
    return ir.layer("FakeQuantize", value, *ends, levels=levels, auto_broadcast="numpy")


def of_plugin(x: np.ndarray, kernel: np.ndarray, border: int) -> np.ndarray:
    """Convolves -1 and +1 `(n, h, w, c)` with 0 and 1 `(c_out, c, 3, 3)`, padded by one pixel."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=border)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    return np.einsum("nijcyx,ocyx->nijo", windows, 2.0 * kernel - 1)


@pytest.mark.parametrize("border", [-1, 0, 1])
@pytest.mark.parametrize("ends", [(0, 1), (1, 0)])
@pytest.mark.parametrize("kind", ["u1", "u8", "f32"])
def test_binary_convolution(border: int, ends: tuple[int, int], kind: str) -> None:
    """A value equal to the threshold counts as below it. Padding has the units of the input."""
    ir, thresholds = Ir(), np.reshape([0.5, -0.25, 0.0], (1, 3, 1, 1))
    kernel = np.random.default_rng(1).integers(0, 2, (4, 3, 3, 3)).astype(np.uint8)
    bits = quantized(ir, ir.input, thresholds, thresholds, *ends, 2)
    weights = ir.const(kernel.astype(np.float32) if kind == "f32" else kernel, kind)
    conv = ir.layer(
        "BinaryConvolution", bits, weights, strides="1,1", pads_begin="1,1", pads_end="1,1",
        dilations="1,1", mode="xnor-popcount", pad_value=border, auto_pad="explicit",
    )  # fmt: skip
    graph, _ = openvino.from_bytes(*ir.files(conv))
    assert ops(graph).count("bconv2d") == 1 and "conv2d" not in ops(graph)
    signs = np.where(thresholds.reshape(3) < IMAGES, 1, -1) * (1 if ends == (0, 1) else -1)
    found = interpreter.run(graph, IMAGES)[graph.outputs[0]]
    np.testing.assert_array_equal(found, of_plugin(signs, kernel, border))


def specified(x: Any, low: Any, high: Any, least: Any, most: Any, levels: int) -> np.ndarray:
    """FakeQuantize according to its specification."""
    with np.errstate(all="ignore"):
        steps = np.rint((x - low) / (high - low) * (levels - 1)) / (levels - 1)
    inside = np.where(x > np.maximum(low, high), most, steps * (most - least) + least)
    return np.where(x <= np.minimum(low, high), least, inside)


# Limits for which no eighth is halfway between two levels, except with 2 levels.
QUANTIZERS = {
    "equal": (0.25, 0.25, -1.0, 1.0, 2),
    "equal, reversed": (0.0, 0.0, 3.0, 1.0, 2),
    "per channel": (np.reshape([0.5, -0.5, 0], (1, 3, 1, 1)),) * 2 + (0.0, 1.0, 2),
    "apart": (-0.5, 1.0, 0.0, 1.5, 2),
    "2 bits": (0.0, 1.1, 0.0, 1.1, 4),
    "8 bits": (-1.03, 1.1, -1.0, 1.0, 256),
}


@pytest.mark.parametrize("name", QUANTIZERS)
def test_fake_quantize(name: str) -> None:
    low, high, least, most, levels = QUANTIZERS[name]
    ir = Ir()
    found = computed(ir, quantized(ir, ir.input, low, high, least, most, levels))
    limits = (np.asarray(limit).reshape(-1) for limit in (low, high, least, most))
    formula = specified(IMAGES.astype(np.float64), *limits, levels)
    # Two roundings of numbers below 4.
    np.testing.assert_allclose(found, formula, rtol=0, atol=2.0**-21)
    ir = Ir()
    kernel = quantized(
        ir, ir.const(IMAGES[:1].transpose(0, 3, 1, 2)), low, high, least, most, levels
    )
    difference = computed(ir, ir.layer("Add", ir.input, kernel)) - IMAGES
    np.testing.assert_allclose(difference, np.repeat(formula[:1], 2, 0), rtol=0, atol=2.0**-21)


def test_a_convolution_of_two_levels_is_binary() -> None:
    """Training tools export both as quantizers of real numbers."""
    ir = Ir()
    x = quantized(ir, ir.input, 0.0, 0.0, -1.0, 1.0, 2)
    kernel = quantized(ir, ir.const(np.linspace(-1, 1, 108).reshape(4, 3, 3, 3)), 0.0, 0.0, -0.5,
                       0.5, 2)  # fmt: skip
    conv = ir.layer("Convolution", x, kernel, strides="1,1", pads_begin="1,1", pads_end="1,1")
    graph, _ = openvino.from_bytes(*ir.files(conv))
    assert "bconv2d" in ops(graph) and "conv2d" not in ops(graph)
    bits = (np.arange(108).reshape(4, 3, 3, 3) >= 54).astype(np.uint8)
    signs = np.where(IMAGES > 0, 1, -1)
    found = interpreter.run(graph, IMAGES)[graph.outputs[0]]
    np.testing.assert_array_equal(found, of_plugin(signs, bits, 0) / 2)


def test_a_vector_of_slopes_has_one_per_channel() -> None:
    """Even if another axis has the same size."""
    for shape in ((3,), (1, 3, 1, 1)):
        ir = Ir("1,3,6,3")
        slopes = ir.const(np.reshape([0.5, -1.0, 2.0], shape))
        graph, _ = openvino.from_bytes(*ir.files(ir.layer("PReLU", ir.input, slopes)))
        x = IMAGES[:, :, :3]
        found = interpreter.run(graph, x)[graph.outputs[0]]
        np.testing.assert_array_equal(found, np.where(x < 0, x * [0.5, -1.0, 2.0], x))


def test_images_may_be_channels_last() -> None:
    ir = Ir("1,6,5,3", layout="[N,H,W,C]")
    order = ir.const(np.array([0, 3, 1, 2]))
    moved = ir.layer("Transpose", ir.input, order)
    graph, _ = openvino.from_bytes(*ir.files(ir.layer("ReLU", moved)))
    assert graph.input_shape == (6, 5, 3)


def test_the_batch_may_be_dynamic() -> None:
    ir = Ir("?,3,6,5")
    np.testing.assert_array_equal(computed(ir, ir.layer("ReLU", ir.input)), np.maximum(IMAGES, 0))


def test_layers_may_share_a_name() -> None:
    """Constants with the same name, or a name that another one would get, are not confused."""
    ir = Ir()
    sums = [ir.const(np.full((1, 3, 1, 1), number)) for number in (1.0, 2.0, 4.0)]
    value = ir.input
    for number in sums:
        value = ir.layer("Add", value, number)
    for layer, name in zip(ir.layers.findall("layer[@type='Const']"), "aba", strict=True):
        layer.set("name", {"b": "a_2"}.get(name, name))
    np.testing.assert_array_equal(computed(ir, value), IMAGES + 7)
