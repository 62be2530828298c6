"""The package qonnx and hls4ml read our files. scripts/test_qonnx.sh installs them."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("keras")
pytest.importorskip("qonnx", reason="scripts/test_qonnx.sh installs the package qonnx")

import keras
from keras import layers
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.batchnorm_to_affine import BatchNormToAffine
from qonnx.transformation.fold_constants import FoldConstants
from qonnx.transformation.infer_data_layouts import InferDataLayouts
from qonnx.transformation.infer_datatypes import InferDataTypes
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.transformation.lower_convs_to_matmul import LowerConvsToMatMul
from qonnx.util.cleanup import cleanup_model

import bnnzoo
from bnnzoo import nn
from bnnzoo.formats import packed
from bnnzoo.graph.interpreter import run
from bnnzoo.keras_bridge.from_keras import trace
from tests.architectures.models import MODELS
from tests.data import make_qonnx_goldens as goldens
from tests.data.make_qonnx_goldens import by_qonnx, cost
from tests.formats.onnx_runs import assert_agrees, file_of, to_onnx
from tests.formats.test_qonnx import SHIPPED, inputs_of, source_graph
from tests.keras_bridge.keras_networks import seed_weights

COSTS = json.loads(goldens.COSTS.read_text())


def test_the_committed_outputs_are_what_qonnx_computes():
    with np.load(goldens.OUTPUTS) as committed:
        found = goldens.outputs()
        assert set(found) == set(committed)
        for name, output in found.items():
            assert np.array_equal(output, committed[name]), name


@pytest.mark.parametrize("seed", range(4))
def test_qonnx_runs_random_graphs_as_the_oracle(seed):
    for number in range(15):
        graph = source_graph([seed, number])
        assert_agrees(graph, inputs_of(graph), by_qonnx)


@pytest.fixture(scope="module", params=MODELS)
def architecture(request, traced):
    """An architecture with its smallest images: its name and its properties."""
    return request.param, traced(request.param)


def test_qonnx_runs_every_architecture_as_the_oracle(architecture):
    graph = architecture[1].graph
    assert_agrees(graph, inputs_of(graph), by_qonnx)


def test_qonnx_counts_the_costs_that_summary_has(architecture):
    name, network = architecture
    found = cost(file_of(network.graph), network.pixels)
    assert found == COSTS[name]
    summary = network.summary
    assert found["binary_macs"] == summary.macs_by_bits.get(1, 0)
    assert found["binary_weights"] == summary.params_by_bits[1]
    assert sum(found["macs"].values()) == summary.macs


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_qonnx_classifies_real_images_as_the_oracle(path):
    graph, info = packed.read(path)
    images = [image for image, _, _ in bnnzoo.data.open_source("sample:fashion_mnist")][:20]
    x = bnnzoo.data.preprocessing.get(info.preprocessing, graph.input_shape)(images)
    assert_agrees(graph, x[:1], by_qonnx)
    model = file_of(graph)
    output = graph.outputs[0]
    best = [by_qonnx(model, graph.input, to_onnx(image[None]))[output].argmax() for image in x]
    assert best == run(graph, x)[output].argmax(axis=1).tolist()


# What FINN does first with a network, as far as it is part of qonnx.
FIRST_STEPS = (
    InferShapes(), InferDataTypes(), FoldConstants(exclude_op_types=[]), InferDataLayouts(),
    BatchNormToAffine(), LowerConvsToMatMul(),
)  # fmt: skip


def trained(name: str) -> keras.Model:
    return bnnzoo.load(name, pretrained=True)


BINARY = {
    "input_quantizer": "ste_sign",
    "kernel_quantizer": "ste_sign",
    "kernel_constraint": "weight_clip",
    "use_bias": False,
}


def unpadded() -> keras.Model:
    """A network like FINN's own: without padding, because a bipolar number cannot be 0."""
    inputs = keras.Input((12, 12, 3))
    x = nn.QuantConv2D(8, 3, **{**BINARY, "input_quantizer": None})(inputs)
    x = layers.BatchNormalization()(x)
    x = nn.QuantConv2D(16, 3, **BINARY)(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.BatchNormalization()(x)
    x = nn.QuantConv2D(16, 3, **BINARY)(x)
    x = layers.BatchNormalization()(x)
    x = layers.Flatten()(x)
    x = nn.QuantDense(5, **BINARY)(x)
    return seed_weights(keras.Model(inputs, layers.BatchNormalization()(x)))


FOR_FINN = {"unpadded": unpadded, "binarynet_mlp.mnist": lambda: trained("binarynet_mlp.mnist")}


@pytest.mark.parametrize("name", FOR_FINN)
def test_the_first_steps_of_finn_leave_the_outputs_as_they_are(name):
    graph = trace(FOR_FINN[name]()).graph
    file, x = file_of(graph), to_onnx(inputs_of(graph))
    model = cleanup_model(ModelWrapper(file, make_deepcopy=True))
    for step in FIRST_STEPS:
        model = model.transform(step)
    left = {node.op_type for node in model.graph.node}
    assert not left & {"Conv", "BatchNormalization"} and "MatMul" in left
    bits = [n.output[0] for n in model.graph.node if n.op_type == "BipolarQuant"]
    assert {model.get_tensor_datatype(tensor).name for tensor in bits} == {"BIPOLAR"}
    before = by_qonnx(file, graph.input, x)[graph.outputs[0]]
    after = by_qonnx(model.model, model.graph.input[0].name, x)[model.graph.output[0].name]
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-6)


def test_the_lowered_convolutions_of_finn_know_no_border_of_zeros_in_bits():
    graph = trace(trained("binarynet.fashion_mnist_small")).graph
    model = cleanup_model(ModelWrapper(file_of(graph)))
    for step in FIRST_STEPS:
        model = model.transform(step)
    with pytest.raises(AssertionError, match="Im2Col dtype must allow pad_val"):
        by_qonnx(model.model, model.graph.input[0].name, to_onnx(inputs_of(graph)))


def test_hls4ml_imports_a_trained_network(tmp_path):
    hls4ml = pytest.importorskip("hls4ml")
    from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean

    file = file_of(trace(trained("binarynet_mlp.mnist")).graph)
    model = cleanup_model(ModelWrapper(file, make_deepcopy=True))
    step = ConvertToChannelsLastAndClean(make_input_channels_last=True)
    model = cleanup_model(model.transform(step))
    config = hls4ml.utils.config.config_from_onnx_model(
        model, granularity="name", backend="Vivado", default_precision="fixed<16,6>"
    )
    imported = hls4ml.converters.convert_from_onnx_model(
        model, output_dir=str(tmp_path), io_type="io_parallel", backend="Vivado", hls_config=config
    )
    kinds = [layer.class_name for layer in imported.get_layers()]
    assert kinds.count("Dense") == 4
    # Batch norm and sign became hls4ml's own layer of bits.
    assert kinds.count("BatchNormalizationQuantizedTanh") == 3
    hidden = [layer for layer in imported.get_layers() if "Quantized" in layer.class_name]
    assert {str(layer.get_output_variable().type.precision) for layer in hidden} == {"uint<1>"}
