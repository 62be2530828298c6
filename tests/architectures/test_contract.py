"""Every built-in model keeps the contract of a builder: shapes, sizes, saving, binary tensors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import bnnzoo
from bnnzoo import nn, registry
from bnnzoo.architectures.assembly import ZooModel
from bnnzoo.architectures.meliusnet import AddToLastChannels, SplitChannels
from bnnzoo.architectures.quicknet import BlurPool
from bnnzoo.catalog import CATALOG
from bnnzoo.errors import ArgumentError
from tests.architectures.models import EVERY, HUGE, KINDS, MODELS, SMALL_STEMS, swept

ROOT = Path(__file__).parents[2]
OPEN_AND_NAME = """
import sys
from bnnzoo.opening import open_model
print(open_model(sys.argv[1]).name)
"""


@pytest.fixture
def small(build):
    """Returns a function that builds a model for the smallest usual images, with 7 classes."""

    def smallest(name):
        least = MODELS[name].least
        shape = (28, 28, 1) if least <= 28 else (least, least, 1)
        return build(name, input_shape=shape, num_classes=7)

    return smallest


def test_every_model_of_the_catalog_has_a_case():
    assert set(MODELS) == set(CATALOG)


@pytest.mark.parametrize("name", EVERY)
def test_catalog_has_the_models_numbers(name, build):
    model, entry = build(name), CATALOG[name]
    assert model.name == name
    assert model.count_params() == entry.params
    summary = bnnzoo.summary(model)
    assert summary.packed_bytes == entry.packed_bytes
    assert summary.macs_by_bits.get(1, 0) == entry.binary_macs
    assert summary.macs == entry.binary_macs + entry.other_macs
    assert model.input_shape == (None, *entry.input_shape)
    pixels = entry.input_shape[:2] if entry.task == "segmentation" else ()
    assert model.output_shape == (None, *pixels, entry.num_classes)
    assert registry.builder(name).__module__ == f"bnnzoo.architectures.{entry.module}"


@pytest.mark.parametrize("name", EVERY)
def test_stages_end_in_the_feature_map(name, build):
    model = build(name)
    assert tuple(stage.reduction for stage in model.feature_info) == MODELS[name].reductions
    notop = build(name, include_top=False)
    assert notop.output_shape == (None, *MODELS[name].feature_map)
    assert notop.feature_info == model.feature_info
    if name != "xnornet":  # whose sixth layer, a 6 x 6 convolution, comes after the last stage
        assert notop.get_layer(notop.stages[-1]).output is notop.output


@pytest.mark.parametrize("name", EVERY)
def test_no_layer_is_a_lambda(name, build):
    assert not any(isinstance(layer, keras.layers.Lambda) for layer in build(name).layers)


@pytest.mark.parametrize("name", EVERY)
def test_least_size_works(name):
    least = MODELS[name].least
    model = registry.builder(name)(input_shape=(least, least + 5, 3), include_top=False)
    assert model.output_shape == (None, *MODELS[name].least_map)


@pytest.mark.parametrize("name", EVERY)
def test_below_the_least_size_the_error_says_it(name):
    least = MODELS[name].least
    rule = f"at least {least} x {least} pixels" if least > 1 else "(height, width, channels)"
    for shape in ((least - 1, least, 3), (least, least - 1, 3)):
        with pytest.raises(ArgumentError, match=rf"input_shape of {name} must be .*{rule}"):
            registry.builder(name)(input_shape=shape)


@pytest.mark.parametrize("name", [name for name in SMALL_STEMS if name not in HUGE])
def test_inputs_below_64_pixels_keep_their_resolution_in_the_stem(name, small):
    model = small(name)
    assert model.feature_info[0].reduction == 1
    first = next(layer for layer in model.layers if layer.weights)
    assert first.kernel_size == (3, 3)
    assert first.strides == (1, 1)


@pytest.mark.parametrize("shape, reduction", [((63, 64, 3), 1), ((64, 63, 3), 1), ((64, 64, 3), 4)])
def test_small_stems_end_at_64_pixels(shape, reduction):
    model = registry.builder("quicknet_small")(input_shape=shape, include_top=False)
    assert model.feature_info[0].reduction == reduction


@pytest.mark.parametrize("name", swept())
def test_inputs_of_binary_layers_are_binary(name, small, rng):
    model = small(name)
    images = rng.standard_normal((2, *model.input_shape[1:])).astype("float32")
    binary = [layer for layer in model.layers if getattr(layer, "input_quantizer", None)]
    assert len(binary) >= 3
    quantized = [keras.layers.Activation(la.input_quantizer)(la.input) for la in binary]
    values, probabilities = keras.Model(model.input, [quantized, model.output]).predict_on_batch(
        images
    )
    allowed = set(np.float32([0, 1 / 3, 2 / 3, 1])) if name == "dorefanet" else {-1, 1}
    seen = [set(np.unique(value)) for value in values]
    for layer, levels in zip(binary, seen, strict=True):
        assert levels <= allowed, layer.name
    assert set.union(*seen) == allowed
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    "name, real", [("binarynet", 0), ("birealnet20", 4), ("quicknet_small", 10), ("xnornet_vgg", 2)]
)
def test_kernels_are_binary_but_the_real_ones(name, real, small):
    model = small(name)
    kernels = nn.binary_weights(model)
    layers = [layer for layer in model.layers if hasattr(layer, "kernel")]
    assert len(kernels) == len(layers) - real
    for path, kernel in kernels.items():
        assert set(np.unique(kernel.values)) == {-1, 1}, path


@pytest.mark.parametrize("name", swept(KINDS))
def test_saved_models_come_back(name, small, tmp_path):
    model = small(name)
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.models.load_model(path)
    path.unlink()
    assert type(loaded) is type(model)
    assert loaded.to_json() == model.to_json()
    assert loaded.feature_info == model.feature_info
    for found, expected in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(found.numpy(), expected.numpy(), err_msg=expected.path)


def _have_equal_json(one, other):
    """Compares out of pytest's sight, which takes minutes to show a difference of long texts."""
    return one.to_json() == other.to_json()


@pytest.mark.parametrize("name", swept(KINDS))
def test_clones_are_equal(name, small):
    model = small(name)
    clone = keras.models.clone_model(model)
    copy = type(model).from_config(model.get_config())
    # Keras hands the tensors to a clone, but not the stages.
    assert clone.stages == ()
    clone.stages = model.stages
    assert _have_equal_json(copy, model)
    assert _have_equal_json(clone, model) or name == "groupnet18"
    for other in (clone, copy):
        assert type(other) is type(model)
        assert [weight.shape for weight in other.weights] == [w.shape for w in model.weights]


@pytest.mark.slow
def test_a_clone_that_calls_shared_layers_in_another_order_computes_the_same(small):
    model = small("groupnet18")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    image = np.random.default_rng(0).normal(size=(1, *model.input_shape[1:])).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(clone(image)), np.asarray(model(image)))


@pytest.mark.parametrize("name", ["binarynet", "xnornet_vgg", "binarynet_mlp"])
def test_width_scales_every_layer(name):
    narrow = registry.builder(name)(width=24)
    hidden = [layer.output.shape[-1] for layer in narrow.layers if hasattr(layer, "kernel")][:-1]
    expected = [24] * 3 if name == "binarynet_mlp" else [24, 24, 48, 48, 96, 96, 192, 192]
    assert hidden == expected
    for width in (0, -1, 2.5, True):
        with pytest.raises(ArgumentError, match="width must be a positive integer, got"):
            registry.builder(name)(width=width)


def test_binarynet_has_a_batch_norm_after_every_layer(build):
    kinds = [type(layer).__name__ for layer in build("binarynet").layers]
    computing = [kind for kind in kinds if kind.startswith("Quant") or kind.startswith("Batch")]
    assert computing == (["QuantConv2D", "BatchNormalization"] * 6) + (
        ["QuantDense", "BatchNormalization"] * 3
    )


def test_dorefanet_takes_other_activation_bits():
    model = registry.builder("dorefanet")((44, 44, 3), 7, activation_bits=1)
    assert model.get_layer("conv2").input_quantizer.bits == 1


@pytest.mark.parametrize("name", ["birealnet34", "birealnet20"])
def test_birealnets_have_the_depth_of_their_name(name, build):
    layers = build(name).layers
    shortcuts = sum(layer.name.endswith("_shortcut_conv") for layer in layers)
    assert sum(hasattr(layer, "kernel") for layer in layers) - shortcuts == int(name[-2:])


def test_layers_of_single_papers_open_in_a_fresh_interpreter(tmp_path):
    """Only their paper's file registers them, which a saved model must not need to import."""
    inputs = keras.Input((4, 4, 6))
    halves = SplitChannels(2)(inputs)
    blurred = keras.layers.DepthwiseConv2D(3, depthwise_initializer=BlurPool())(inputs)
    model = ZooModel(inputs, [AddToLastChannels()([inputs, halves[1]]), blurred], name="papers")
    model.save(tmp_path / "papers.keras")
    command = [sys.executable, "-c", OPEN_AND_NAME, tmp_path / "papers.keras"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["papers"]


def test_channels_are_split_in_order_and_added_at_the_end(rng):
    x = rng.standard_normal((2, 3, 3, 6)).astype("float32")
    parts = [keras.ops.convert_to_numpy(part) for part in SplitChannels(3)(x)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=-1), x)
    found = keras.ops.convert_to_numpy(AddToLastChannels()([x, parts[0]]))
    np.testing.assert_array_equal(found[..., :4], x[..., :4])
    np.testing.assert_array_equal(found[..., 4:], x[..., 4:] + parts[0])
