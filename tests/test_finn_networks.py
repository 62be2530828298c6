"""Claim: trained binary networks of others score as measured elsewhere, in Keras and packed.

The networks are Xilinx's BNN-PYNQ CNV and LFC and the QONNX model zoo's TFC; the expected numbers
of right images are those of their published weights on the complete test sets. Their arithmetic
is exact in float32 (CNV, LFC) or far from ties (TFC), so not one image may differ, between Keras
and the native runtime either.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest

import bnnzoo
from bnnzoo import nn
from bnnzoo.data.arrays import data_folder
from bnnzoo.data.preprocessing import Preprocessing
from tests.architectures.models import swept

WEIGHTS = Path(__file__).parents[2] / "shared" / "data" / "peer_weights"
Arrays = dict[str, np.ndarray]


def finn_preprocessing(id: str, formula: Callable[[np.ndarray], np.ndarray]) -> Preprocessing:
    return Preprocessing(
        id=id,
        description="input of a FINN network",
        mean=(0.0,),
        std=(1.0,),
        size=None,
        channels=None,
        fit=lambda image, height, width: formula(image).astype(np.float32),
    )


BILEVEL = finn_preprocessing("finn_bilevel", lambda v: np.where(v >= 128, 1.0, -1.0))
FIXED_POINT = finn_preprocessing(
    "finn_fixed_point",
    lambda v: np.clip(np.floor((v * (2 / 255) - 1) * 128) / 128, -1, 127 / 128),
)


def binary_dense(units: int, use_bias: bool) -> keras.layers.Layer:
    return nn.QuantDense(
        units,
        use_bias=use_bias,
        input_quantizer=nn.SteSign(),
        kernel_quantizer=nn.SteSign(),
        kernel_constraint=nn.WeightClip(),
    )


def lfc(arrays: Arrays) -> keras.Model:
    """dense(1024) x 3, dense(10): 784 pixels of +-1; batch norm is folded into the biases."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Flatten(),
            *(binary_dense(units, use_bias=True) for units in (1024, 1024, 1024, 10)),
        ]
    )


def tfc(arrays: Arrays) -> keras.Model:
    """[dense(64), batch norm] x 3, dense(10): the same with its batch norms kept."""
    hidden = [
        layer
        for epsilon in arrays["bn_eps"]
        for layer in (
            binary_dense(64, use_bias=False),
            keras.layers.BatchNormalization(epsilon=float(epsilon)),
        )
    ]
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Flatten(),
            *hidden,
            binary_dense(10, use_bias=False),
        ]
    )


def cnv(arrays: Arrays) -> keras.Model:
    """2 x conv(64), pool, 2 x conv(128), pool, 2 x conv(256), dense(512) x 2, dense(10)."""

    def conv(filters: int, first: bool = False) -> keras.layers.Layer:
        return nn.QuantConv2D(
            filters,
            3,
            input_quantizer=None if first else nn.SteSign(),
            kernel_quantizer=nn.SteSign(),
            kernel_constraint=nn.WeightClip(),
        )

    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            conv(64, first=True),
            conv(64),
            keras.layers.MaxPooling2D(),
            conv(128),
            conv(128),
            keras.layers.MaxPooling2D(),
            conv(256),
            conv(256),
            keras.layers.Flatten(),
            binary_dense(512, use_bias=True),
            binary_dense(512, use_bias=True),
            binary_dense(10, use_bias=False),
        ]
    )


@dataclass(frozen=True)
class Network:
    file: str
    build: Callable[[Arrays], keras.Model]
    dataset: str
    preprocessing: Preprocessing
    right: int  # of 10,000


NETWORKS = {
    "cnv": Network("finn_cnv_w1a1_cifar10.npz", cnv, "cifar10", FIXED_POINT, 7937),
    "lfc": Network("finn_lfc_w1a1_mnist.npz", lfc, "mnist", BILEVEL, 9834),
    "tfc": Network("finn_tfc_w1a1_mnist.npz", tfc, "mnist", BILEVEL, 9296),
}
PARTS = {"QuantConv2D": "conv", "QuantDense": "dense", "BatchNormalization": "bn"}
VARIABLES = {"kernel": "kernel", "bias": "bias", "gamma": "gamma", "beta": "beta"} | {
    "moving_mean": "mean",
    "moving_variance": "var",
}


def set_weights(model: keras.Model, arrays: Arrays) -> None:
    """Fills every variable: the file counts conv and dense together, batch norms apart."""
    counts = {"bn": 0, "product": 0}
    for layer in model.layers:
        part = PARTS.get(type(layer).__name__)
        if part is None:
            continue
        counter = "bn" if part == "bn" else "product"
        name = f"{part}{counts[counter]}"
        counts[counter] += 1
        layer.set_weights([arrays[f"{name}/{VARIABLES[v.name]}"] for v in layer.weights])


@pytest.mark.parametrize("name", swept(NETWORKS, {*NETWORKS} - {"cnv"}))
def test_accuracy_to_the_image(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]
    data = data_folder() / f"{network.dataset}.npz"
    for path in (WEIGHTS / network.file, data):
        if not path.is_file():
            pytest.skip(f"{path} is not there: the data are not part of the repository")
    with np.load(WEIGHTS / network.file, allow_pickle=False) as archive:
        arrays = dict(archive)
    model = network.build(arrays)
    set_weights(model, arrays)
    packed = tmp_path / "packed.safetensors"
    bnnzoo.convert(model, packed)
    reports = [
        bnnzoo.evaluate(subject, data, preprocessing=network.preprocessing, batch_size=250)
        for subject in (model, packed)
    ]
    assert [report.runtime for report in reports] == ["keras", "packed"]
    for report in reports:
        assert report.n == 10_000
        assert report.predictions.hits(1) == network.right
    best = [report.predictions.top_indices[:, 0] for report in reports]
    np.testing.assert_array_equal(*best)


def finn_graph(name: str, arrays: Arrays) -> onnx.ModelProto:
    """Returns a network as FINN has it: channels first, thresholds behind products of signs."""
    nodes, constants, x = [], {}, "images"

    def add(op: str, *operands: str | np.ndarray, **attributes: Any) -> None:
        nonlocal x
        place, inputs = len(nodes), [x]
        for i, operand in enumerate(operands):
            constants[f"c{place}_{i}"] = np.asarray(operand)
            inputs.append(f"c{place}_{i}")
        x = f"t{place}"
        domain = "qonnx.custom_op.general" if op in ("MultiThreshold", "BipolarQuant") else ""
        nodes.append(onnx.helper.make_node(op, inputs, [x], domain=domain, **attributes))

    if name != "cnv":
        add("Flatten")
    last = max(key for key in arrays if key.endswith("/kernel"))
    for key in sorted(key for key in arrays if key.endswith("/kernel")):
        layer, kernel = key.removesuffix("/kernel"), arrays[key].astype(np.float32)
        if kernel.ndim == 4:
            add("Conv", kernel.transpose(3, 2, 0, 1))
        else:
            if kernel.shape[0] == 256:  # of one pixel
                add("Flatten")
            add("MatMul", kernel)
        bias = arrays.get(f"{layer}/bias")
        if f"bn{layer[-1]}/gamma" in arrays and key != last:
            norm = [arrays[f"bn{layer[-1]}/{part}"] for part in ("gamma", "beta", "mean", "var")]
            epsilon = float(arrays["bn_eps"][int(layer[-1])])
            add("BatchNormalization", *norm, epsilon=epsilon)
            bias = np.zeros(kernel.shape[-1])
        if key == last:
            add("Add", np.zeros(10, np.float32) if bias is None else bias.astype(np.float32))
        else:
            add("MultiThreshold", -bias.astype(np.float32)[:, None], out_scale=2.0, out_bias=-1.0)
        if layer in ("conv1", "conv3"):
            add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    shape = [1, 3, 32, 32] if name == "cnv" else [1, 1, 28, 28]
    tensor = functools.partial(onnx.helper.make_tensor_value_info, elem_type=1)
    graph = onnx.helper.make_graph(
        nodes,
        name,
        [tensor("images", shape=shape)],
        [tensor(x, shape=[1, 10])],
        [onnx.numpy_helper.from_array(array, key) for key, array in constants.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)])


@pytest.mark.parametrize("name", swept(NETWORKS, {*NETWORKS} - {"tfc"}))
def test_accuracy_of_the_file_of_finn(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]
    data = data_folder() / f"{network.dataset}.npz"
    for path in (WEIGHTS / network.file, data):
        if not path.is_file():
            pytest.skip(f"{path} is not there: the data are not part of the repository")
    with np.load(WEIGHTS / network.file, allow_pickle=False) as archive:
        source = finn_graph(name, dict(archive))
    (tmp_path / "finn.onnx").write_bytes(source.SerializeToString())
    packed = tmp_path / "packed.safetensors"
    bnnzoo.convert(tmp_path / "finn.onnx", packed)
    options = {"preprocessing": network.preprocessing, "batch_size": 250}
    report = bnnzoo.evaluate(packed, data, **options)
    assert (report.n, report.predictions.hits(1)) == (10_000, network.right)
