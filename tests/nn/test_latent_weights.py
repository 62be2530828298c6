"""`binary_weights` reads signs and scales; `quantized_scope` puts them in and takes them out."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from bnnzoo import nn
from tests.backend import evaluate
from tests.nn.quantizers.formulas import mean_magnitude, sign


def quantized(model):
    """Returns (variable, quantizer) of every quantized kernel of a flat model."""
    pairs = [pair for layer in model.layers for pair in getattr(layer, "quantizers", ())]
    return [(variable, quantizer) for variable, quantizer in pairs if quantizer is not None]


def value(variable):
    return ops.convert_to_numpy(variable)


@pytest.fixture
def model(rng):
    """A kernel of every kind: signs, scales, zero filters, ternary, k bits, none."""
    inputs = keras.Input((5, 5, 2))
    x = nn.QuantConv2D(
        4,
        3,
        input_quantizer="ste_sign",
        kernel_quantizer="ste_sign",
        kernel_constraint="weight_clip",
        name="signs",
    )(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = nn.QuantConv2D(
        3,
        2,
        kernel_quantizer="magnitude_aware_sign",
        kernel_constraint="weight_clip",
        name="scaled",
    )(x)
    x = nn.QuantSeparableConv2D(
        3, 2, depthwise_quantizer="ste_tern", pointwise_quantizer="dorefa_sign", name="separable"
    )(x)
    x = nn.QuantDense(3, kernel_quantizer=nn.DoReFa(2, "weights"), name="two_bits")(x)
    x = nn.QuantDense(3, kernel_quantizer=nn.SteHeaviside(None), name="steps")(x)
    model = keras.Model(inputs, nn.QuantDense(2, name="real")(keras.layers.Flatten()(x)))
    for variable in model.trainable_variables:
        variable.assign(0.5 * rng.standard_normal(variable.shape))
    kernel = value(model.get_layer("scaled").kernel).copy()
    kernel[..., 1] = 0
    kernel[0, 0, 0] = -0.0
    model.get_layer("scaled").kernel.assign(kernel)
    return model


def test_binary_weights(model):
    before = model.get_weights()
    kernels = nn.binary_weights(model)
    steps = kernels.pop("steps/kernel")
    np.testing.assert_array_equal(steps.scale * steps.values + steps.offset, steps.values > 0)
    assert set(kernels) == {"signs/kernel", "scaled/kernel", "separable/pointwise_kernel"}
    for path, kernel in kernels.items():
        assert kernel.offset is None
        latent = next(value(w) for w in model.weights if w.path == path)
        assert kernel.values.dtype == np.int8
        np.testing.assert_array_equal(kernel.values, sign(latent))
    assert kernels["signs/kernel"].scale is None
    scaled = kernels["scaled/kernel"].scale
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(
        scaled, mean_magnitude(value(model.get_layer("scaled").kernel)), rtol=1e-6
    )
    whole = np.abs(value(model.get_layer("separable").pointwise_kernel)).mean()
    np.testing.assert_allclose(kernels["separable/pointwise_kernel"].scale, [whole] * 3, rtol=1e-6)
    for a, b in zip(before, model.get_weights(), strict=True):
        assert a.tobytes() == b.tobytes()


def test_binary_weights_are_what_the_layer_computes_with(model, rng):
    layer = model.get_layer("signs")
    x = rng.standard_normal((2, 5, 5, 2)).astype("float32")
    twin = keras.layers.Conv2D(4, 3)
    twin.build(x.shape)
    twin.set_weights([nn.binary_weights(model)["signs/kernel"].values, value(layer.bias)])
    np.testing.assert_allclose(evaluate(layer, x), evaluate(twin, sign(x)), rtol=1e-5)


@pytest.fixture
def adapted(rng):
    """A convolution and a dense layer whose updates by LoRA turn many signs."""
    model = keras.Sequential([
        keras.Input((5, 5, 2)),
        nn.QuantConv2D(4, 3, kernel_quantizer="dorefa_sign", name="conv"),
        keras.layers.Flatten(),
        nn.QuantDense(3, kernel_quantizer="dorefa_sign", name="dense"),
    ])  # fmt: skip
    for layer in (model.get_layer("conv"), model.get_layer("dense")):
        layer.enable_lora(2)
        layer.lora_kernel_b.assign(rng.normal(size=layer.lora_kernel_b.shape))
    return model


def test_updates_by_lora_are_part_of_the_kernels(adapted, rng):
    kernels = nn.binary_weights(adapted)
    for name in ("conv", "dense"):
        layer = adapted.get_layer(name)
        (kernel,) = (k for path, k in kernels.items() if path.endswith(f"{name}/kernel"))
        np.testing.assert_array_equal(kernel.values, sign(value(layer.kernel)))
        assert (kernel.values != sign(value(layer.quantizers[0][0]))).mean() > 0.1
    x = rng.normal(size=(2, 5, 5, 2)).astype("float32")
    before, latent = evaluate(adapted, x), [value(w) for w in adapted.weights]
    with nn.quantized_scope(adapted):
        np.testing.assert_allclose(evaluate(adapted, x), before, rtol=1e-5, atol=1e-4)
    for variable, old in zip(adapted.weights, latent, strict=True):
        np.testing.assert_array_equal(value(variable), old)


def test_kernels_that_an_optimizer_keeps_binary(rng):
    layer = nn.QuantDense(3, kernel_quantizer=nn.NoOp(bits=1), name="bop")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layer(inputs))
    assert nn.binary_weights(model) == {}
    signs = sign(rng.standard_normal((4, 3)))
    layer.kernel.assign(signs)
    np.testing.assert_array_equal(nn.binary_weights(model)["bop/kernel"].values, signs)


class Block(keras.layers.Layer):
    """A layer with a layer inside."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = nn.QuantDense(4, kernel_quantizer=nn.SteSign(None), name="inner")

    def build(self, input_shape):
        self.inner.build(input_shape)

    def call(self, x):
        return self.inner(x)


@pytest.fixture
def nested():
    dense = nn.QuantDense(4, kernel_quantizer=nn.SteSign(None), name="deep")
    backbone = keras.Sequential([keras.Input((4,)), dense], name="backbone")
    inputs = keras.Input((3, 4))
    x = keras.layers.TimeDistributed(backbone)(inputs)
    return keras.Model(inputs, Block(name="block")(x))


def test_nested_models_wrappers_and_blocks(nested):
    assert sorted(nn.binary_weights(nested)) == ["backbone/deep/kernel", "block/inner/kernel"]
    with nn.quantized_scope(nested):
        for weights in nested.get_weights()[::2]:
            assert set(np.unique(weights)) <= {-1, 1}


def test_a_shared_layer_counts_once():
    """Called twice, and in two nested models."""
    layer = nn.QuantDense(4, kernel_quantizer=nn.SteSign(None), name="shared")
    inputs, inner = keras.Input((4,)), keras.Input((4,))
    part = keras.Model(inner, layer(layer(inner)))
    model = keras.Model(inputs, layer(part(inputs)))
    assert list(nn.binary_weights(model)) == ["shared/kernel"]


def test_equal_paths_are_refused():
    def part():
        layer = nn.QuantDense(4, kernel_quantizer=nn.SteSign(None), name="same")
        inputs = keras.Input((4,))
        return keras.Model(inputs, layer(inputs))

    inputs = keras.Input((4,))
    model = keras.Model(inputs, part()(part()(inputs)))
    with pytest.raises(ValueError, match=r"must be unique, got 'same/kernel' twice"):
        nn.binary_weights(model)


def test_scope_shows_quantized_values_and_restores_every_bit(model, tmp_path):
    before = model.get_weights()
    expected = [value(quantizer(value(variable))) for variable, quantizer in quantized(model)]
    with nn.quantized_scope(model) as same:
        assert same is model
        for (variable, _), values in zip(quantized(model), expected, strict=True):
            np.testing.assert_array_equal(value(variable), values)
        model.save_weights(tmp_path / "model.weights.h5")
        model.save(tmp_path / "model.keras")
    for a, b in zip(before, model.get_weights(), strict=True):
        assert a.tobytes() == b.tobytes()
    saved = keras.saving.load_model(tmp_path / "model.keras")
    for (variable, _), values in zip(quantized(saved), expected, strict=True):
        np.testing.assert_array_equal(value(variable), values)
    model.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(value(quantized(model)[0][0]), expected[0])


def test_scope_leaves_other_models_and_weights_alone(model):
    other = keras.models.clone_model(model)
    kernels = {variable.path for variable, _ in quantized(model)}
    rest = {w.path: value(w) for w in model.weights if w.path not in kernels}
    others = other.get_weights()
    with nn.quantized_scope(model):
        for a, b in zip(others, other.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        for w in model.weights:
            if w.path in rest:
                np.testing.assert_array_equal(value(w), rest[w.path])


def test_scope_restores_after_an_exception(model):
    before = model.get_weights()
    with pytest.raises(RuntimeError, match="inside"), nn.quantized_scope(model):
        raise RuntimeError("inside")
    for a, b in zip(before, model.get_weights(), strict=True):
        assert a.tobytes() == b.tobytes()


def test_scope_restores_after_a_quantizer_fails():
    def broken(x):
        raise ArithmeticError("broken")

    layers = [
        nn.QuantDense(3, kernel_quantizer=nn.SteSign(None)),
        nn.QuantDense(3),
    ]
    model = keras.Sequential([keras.Input((4,)), *layers])
    layers[1].kernel_quantizer = broken
    before = model.get_weights()
    with pytest.raises(ArithmeticError, match="broken"), nn.quantized_scope(model):
        pass
    for a, b in zip(before, model.get_weights(), strict=True):
        assert a.tobytes() == b.tobytes()


def test_scopes_nest(model):
    before = model.get_weights()
    with nn.quantized_scope(model):
        outer = model.get_weights()
        with nn.quantized_scope(model):
            pass
        for a, b in zip(outer, model.get_weights(), strict=True):
            assert a.tobytes() == b.tobytes()
    for a, b in zip(before, model.get_weights(), strict=True):
        assert a.tobytes() == b.tobytes()


def test_predictions_inside_are_those_outside(rng):
    inputs = keras.Input((6,))
    x = nn.QuantDense(8, input_quantizer="ste_sign", kernel_quantizer=nn.SteSign(None))(inputs)
    model = keras.Model(inputs, nn.QuantDense(2, kernel_quantizer=nn.SteTern())(x))
    batch = rng.standard_normal((3, 6)).astype("float32")
    expected = model.predict(batch, verbose=0)
    with nn.quantized_scope(model):
        np.testing.assert_array_equal(model.predict(batch, verbose=0), expected)
    np.testing.assert_array_equal(model.predict(batch, verbose=0), expected)


def test_binary_weights_of_centered_signs_have_an_offset(rng):
    layer = nn.QuantDense(3, kernel_quantizer="centered_sign")
    layer.build((None, 8))
    layer.kernel.assign(rng.standard_normal((8, 3)) + 0.5)
    (kernel,) = nn.binary_weights(keras.Sequential([layer])).values()
    w = value(layer.kernel).astype("float64")
    np.testing.assert_array_equal(kernel.values, sign(w - w.mean(axis=0)))
    np.testing.assert_allclose(kernel.scale, w.std(axis=0), rtol=1e-6)
    np.testing.assert_allclose(kernel.offset, w.mean(axis=0), rtol=1e-5)
