"""A variant has the same variables and quantizes what its phase says."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

import bnnzoo
from bnnzoo import nn
from bnnzoo.model_spec import ModelSpec
from bnnzoo.nn.layers.quantized_layer import QuantizedLayer
from bnnzoo.training import Phase, Recipe
from bnnzoo.training.variants import make_variant, transfer_weights

RECIPE = Recipe("r", "birealnet20", "a", "b", (Phase(epochs=1),))


@pytest.fixture(scope="module")
def network():
    network = bnnzoo.builder("birealnet20")(input_shape=(8, 8, 3), num_classes=3)
    network.model_spec = ModelSpec("birealnet20", (8, 8, 3), 3, preprocessing="scale_pm1")
    return network


def quantized(network):
    return [layer for layer in network.layers if isinstance(layer, QuantizedLayer)]


def variant(network, binarize="everything", **changes):
    recipe = dataclasses.replace(RECIPE, **changes)
    return make_variant(network, recipe, Phase(epochs=1, binarize=binarize))


# What is binarized -> type of the input quantizer, of the kernel quantizer.
BINARIZED = {
    "everything": (nn.ApproxSign, nn.MagnitudeAwareSign),
    "activations": (nn.ApproxSign, type(None)),
    "nothing": (type(nn.hard_tanh), type(None)),
}


@pytest.mark.parametrize("binarize", BINARIZED)
def test_what_is_binarized(network, binarize):
    made = variant(network, binarize)
    types = {(type(q.input_quantizer), type(q.kernel_quantizer)) for q in quantized(made)}
    assert types == {BINARIZED[binarize]}
    assert [v.path for v in made.variables] == [v.path for v in network.variables]
    assert (made.stages, made.model_spec) == (network.stages, network.model_spec)


@pytest.mark.parametrize("activation", ["hard_tanh", "relu"])
def test_the_twin_computes_with_real_values(network, rng, activation):
    twin = variant(network, "nothing", real_activation=activation)
    layer = quantized(twin)[0]
    x = rng.normal(size=(2, 8, 8, 16)).astype(np.float32)
    inside = np.clip(x, -1, 1) if activation == "hard_tanh" else np.maximum(x, 0)
    expected = ops.conv(inside, layer.kernel, padding="same")
    np.testing.assert_allclose(layer(x), ops.convert_to_numpy(expected), atol=1e-5)


def test_weights_pass_from_one_variant_to_the_other(network, rng):
    twin, binary = variant(network, "nothing"), variant(network)
    assert not np.array_equal(twin.get_weights()[0], binary.get_weights()[0])
    transfer_weights(twin, binary)
    for theirs, ours in zip(twin.get_weights(), binary.get_weights(), strict=True):
        np.testing.assert_array_equal(theirs, ours)


def test_a_variant_is_saved_and_loaded(network, rng, tmp_path):
    twin = variant(network, "nothing", real_activation="relu")
    twin.save(tmp_path / "twin.keras")
    x = rng.normal(size=(2, 8, 8, 3)).astype(np.float32)
    loaded = bnnzoo.open_model(tmp_path / "twin.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), twin.predict(x, verbose=0))


def test_batch_norm_momentum(network):
    for momentum, expected in ((0.95, 0.95), (None, 0.8)):
        norms = [
            layer.momentum
            for layer in variant(network, batch_norm_momentum=momentum).layers
            if isinstance(layer, keras.layers.BatchNormalization)
        ]
        assert set(norms) == {expected}


def test_pad_values_of_binary_convolutions(network):
    assert {layer.pad_values for layer in quantized(variant(network, pad_values=1))} == {1.0}
    vgg = bnnzoo.builder("binarynet")(input_shape=(8, 8, 1), width=4)
    padding = {
        layer.name: layer.pad_values
        for layer in quantized(variant(vgg, pad_values=-1))
        if hasattr(layer, "pad_values")
    }
    assert padding.pop("stage1_conv1") == 0.0  # its input is real
    assert set(padding.values()) == {-1.0}


def test_the_clip_moves_gradients_and_latent_weights():
    network = bnnzoo.builder("resnet_e18")(input_shape=(8, 8, 3), num_classes=3)
    layer = quantized(variant(network, clip_value=1.5))[0]
    clips = (layer.input_quantizer, layer.kernel_quantizer, layer.kernel_constraint)
    assert [clip.clip_value for clip in clips] == [1.5] * 3


def test_signs_without_a_clip_stay(network):
    layer = quantized(variant(network, clip_value=1.5))[0]
    assert layer.input_quantizer == nn.ApproxSign()  # its gradient ends at 1 by its formula
    assert layer.kernel_quantizer.clip_value == 1.5


@pytest.mark.parametrize("momentum", [0.0, 0.7, None])
def test_the_momentum_of_batch_norms(network, momentum):
    made = variant(network, batch_norm_momentum=momentum)
    norms = [m for m in made.layers if isinstance(m, keras.layers.BatchNormalization)]
    before = network.get_layer(norms[0].name).momentum
    assert {norm.momentum for norm in norms} == {before if momentum is None else momentum}


def test_a_start_gets_the_precision_of_the_recipe(network):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        fresh = bnnzoo.builder("birealnet20")(input_shape=(8, 8, 3), num_classes=3)
        made = variant(network, start_from="model.keras")
    finally:
        keras.config.set_dtype_policy("float32")
    expected = {layer.name: layer.compute_dtype for layer in fresh.layers[1:]}
    assert {layer.name: layer.compute_dtype for layer in made.layers[1:]} == expected
    assert set(expected.values()) == {"bfloat16", "float32"}


def test_bop_has_no_decay_of_binary_kernels():
    """XNOR-Net decays all kernels; Bop would flip those that nothing else acts on."""
    network = bnnzoo.builder("xnornet_vgg")(input_shape=(8, 8, 3), num_classes=3)
    bop = make_variant(network, RECIPE, Phase(epochs=1, binary_optimizer="bop"))
    decayed = [
        {q.name for q in made.layers if getattr(q, "kernel_regularizer", None) is not None}
        for made in (network, bop)
    ]
    binary = {layer.name for layer in quantized(bop)}
    assert binary and binary < decayed[0]
    assert decayed[1] == decayed[0] - binary != set()
