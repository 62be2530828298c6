"""Loss, gradients and moving statistics of the native engine, compared with NumPy in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from bnnzoo import nn
from bnnzoo.architectures.adabin import PadChannels
from bnnzoo.runtime.settings import isas
from bnnzoo.training.native import engine
from bnnzoo.training.native.building import LAYERS, build
from tests.training.native.reference import Reference, cross_entropy

# Float32 sums of thousands of terms: observed at most 4e-6 of the largest gradient of a network.
TOLERANCE = 2e-5


def norm(x: Any) -> Any:
    return layers.BatchNormalization()(x)


def binary(filters: int, size: int = 3, **changes: Any) -> Callable[[Any], Any]:
    settings = {
        "padding": "same",
        "use_bias": False,
        "input_quantizer": nn.ApproxSign(),
        "kernel_quantizer": nn.MagnitudeAwareSign(),
        "kernel_constraint": nn.WeightClip(),
        **changes,
    }
    return lambda x: nn.QuantConv2D(filters, size, **settings)(norm(x))


def residual(x: Any, filters: int = 16) -> Any:
    return layers.Add()([x, norm(binary(filters)(x))])


def downsampled(x: Any) -> Any:
    shortcut = layers.AveragePooling2D(2, padding="same")(x)
    shortcut = norm(layers.Conv2D(32, 1, use_bias=False)(shortcut))
    return layers.Add()([norm(binary(32, strides=2)(x)), shortcut])


def branches(x: Any) -> Any:
    """A sum whose terms have other consumers, before and after it."""
    x = norm(x)
    left, right = binary(16)(x), binary(16, 1)(x)
    both = layers.Add()([left, right, x])
    return layers.Concatenate()([left, both, layers.Add()([both, both])])


def real(x: Any, filters: int = 24, size: int = 3, **settings: Any) -> Any:
    return layers.Conv2D(filters, size, **{"padding": "same", **settings})(x)


INPUT_QUANTIZERS = {
    "ste_sign": nn.SteSign(),
    "ste_sign_unclipped": nn.SteSign(None),
    "swish_sign": nn.SwishSign(2.0),
    "error_decay_sign": nn.ErrorDecaySign(0.5),
    "hard_tanh": nn.hard_tanh,
    "relu": keras.activations.relu,
    "none": None,
}
KERNEL_QUANTIZERS = {
    "ste_sign": nn.SteSign(),
    "magnitude_aware_sign_unclipped": nn.MagnitudeAwareSign(None),
    "magnitude_aware_sign_reactnet": nn.MagnitudeAwareSign(scale_gradient=False),
    "xnor_weight_scale": nn.XnorWeightScale(),
    "dorefa_sign": nn.DoReFaSign(),
    "libra_sign": nn.LibraSign(0.75),
    "centered_sign": nn.CenteredSign(0.75),
    "recu": nn.ReCU(0.6),
    "none": None,
}
CASES: dict[str, tuple[Callable[[Any], Any], tuple[int, int, int]]] = {
    "dense": (lambda x: x, (3, 5, 7)),
    "batch_norm": (norm, (5, 4, 19)),
    "conv3": (lambda x: real(norm(x)), (9, 7, 5)),
    "conv3_valid": (lambda x: real(norm(x), padding="valid"), (9, 7, 16)),
    "conv1": (lambda x: real(norm(x), 40, 1), (5, 6, 33)),
    "conv5_stride2": (lambda x: real(norm(x), 20, 5, strides=2), (9, 8, 5)),
    "conv_2x3": (lambda x: real(norm(x), 17, (2, 3), strides=(1, 2)), (7, 8, 4)),
    "conv_activation": (lambda x: real(norm(x), activation="relu"), (6, 6, 3)),
    "conv_l2": (lambda x: real(norm(x), kernel_regularizer=keras.regularizers.L2(0.1)), (6, 6, 3)),
    "bconv3": (binary(32), (8, 8, 16)),
    "bconv3_odd": (binary(35), (9, 7, 70)),
    "bconv5": (binary(16, 5), (7, 9, 3)),
    "bconv_stride2": (binary(32, strides=2), (8, 8, 64)),
    "bconv_pad_ones": (binary(20, pad_values=1.0), (6, 5, 16)),
    "bconv_explicit_padding": (binary(20, padding=1, strides=2), (7, 8, 16)),
    "bconv_valid": (binary(20, padding="valid"), (7, 8, 20)),
    "bconv_bias": (binary(20, use_bias=True), (4, 4, 20)),
    "quant_dense": (
        lambda x: nn.QuantDense(
            70, use_bias=False, input_quantizer=nn.SteSign(), kernel_quantizer=nn.SteSign(),
            kernel_constraint=nn.WeightClip(),
        )(norm(layers.Flatten()(x))),
        (2, 3, 30),
    ),
    "residual": (lambda x: residual(residual(norm(x))), (6, 6, 16)),
    "downsampled": (lambda x: downsampled(norm(x)), (8, 8, 16)),
    "branches": (branches, (5, 5, 16)),
    "max_pool": (
        lambda x: norm(
            layers.MaxPooling2D(2)(binary(24, kernel_quantizer=nn.SteSign())(x))
        ),
        (7, 8, 16),
    ),
    "max_pool_padded": (lambda x: nn.MaxPooling2D(3, 2, padding=1)(norm(x)), (7, 8, 5)),
    "average_pool": (lambda x: layers.AveragePooling2D(3, 2, padding="same")(norm(x)), (7, 8, 5)),
    "global_pool": (lambda x: layers.GlobalAveragePooling2D()(norm(x)), (3, 4, 18)),
    "prelu": (
        lambda x: layers.PReLU(alpha_initializer="uniform", shared_axes=[1, 2])(norm(x)),
        (4, 4, 9),
    ),
    "rprelu": (lambda x: nn.RPReLU(shift_initializer="random_normal")(norm(x)), (4, 4, 17)),
    "maxout": (lambda x: nn.Maxout()(norm(x)), (4, 4, 8)),
    "shift": (lambda x: binary(16)(nn.LearnableShift("random_normal")(norm(x))), (4, 4, 8)),
    "adaptive_sign": (
        lambda x: binary(16, input_quantizer=nn.AdaptiveSign())(x),
        (5, 5, 8),
    ),
    "relu": (lambda x: layers.ReLU()(norm(x)), (4, 4, 8)),
    "activation": (lambda x: layers.Activation(nn.hard_tanh)(norm(x)), (4, 4, 8)),
    "zero_padding": (lambda x: layers.ZeroPadding2D(((1, 2), (0, 3)))(norm(x)), (4, 4, 5)),
    "pad_channels": (lambda x: PadChannels(3)(norm(x)), (4, 4, 5)),
    **{
        f"input_{name}": (binary(16, input_quantizer=quantizer), (5, 5, 16))
        for name, quantizer in INPUT_QUANTIZERS.items()
    },
    **{
        f"kernel_{name}": (binary(16, kernel_quantizer=quantizer), (5, 5, 16))
        for name, quantizer in KERNEL_QUANTIZERS.items()
    },
}  # fmt: skip


def network(body: Callable[[Any], Any], shape: tuple[int, int, int], rng: Any) -> Any:
    """Returns a classifier of five classes with random values in every variable."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input(shape)
    x = body(inputs)
    if len(x.shape) == 4:
        x = layers.Flatten()(x)
    model = keras.Model(inputs, layers.Activation("softmax")(layers.Dense(5)(x)))
    for variable in model.trainable_variables:
        name = variable.path.rpartition("/")[2]
        if name in ("beta", "bias", "center"):
            variable.assign(rng.normal(0, 0.2, variable.shape))
        elif name in ("gamma", "scale"):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


def compare(model: Any, rng: Any, isa: str, threads: int = 2, images: int = 5) -> None:
    """Runs a step of both, and compares loss, gradients and moving statistics."""
    x = rng.normal(0.1, 1, (images, *model.input_shape[1:])).astype(np.float32)
    labels = rng.integers(0, 5, images).astype(np.int32)
    reference = Reference(model)
    loss, upstream = cross_entropy(reference.forward(x), labels, 0.1)
    reference.backward(upstream)
    made = build(model, images, isa, threads)
    engine.load(made)
    engine.quantize(made)
    got, _ = made.network.train(made.output, x, labels, 0.1, None, 0.0, 1.0)
    engine.pass_gradients(made)
    got += engine.add_penalties(made)
    loss += reference.penalty
    # An input of a sign this close to 0 has another sign in float32.
    assert reference.smallest > 1e-6, "draw other numbers"
    assert got == pytest.approx(loss, rel=1e-5)
    largest = max(np.abs(gradient).max() for gradient in reference.gradients.values())
    for binding in made.bindings:
        shape = binding.variable.shape
        if binding.trained:
            result = made.network.gradients[binding.place].reshape(shape)
            expected, scale = reference.gradients[id(binding.variable)], largest
        else:
            result = made.network.state[binding.place].reshape(shape)
            expected = reference.statistics[id(binding.variable)]
            scale = np.abs(expected).max()
        np.testing.assert_allclose(
            result, expected, rtol=0, atol=TOLERANCE * scale, err_msg=binding.variable.path
        )


@pytest.mark.parametrize("case", CASES)
def test_gradients(rng, case):
    body, shape = CASES[case]
    compare(network(body, shape, rng), rng, isas()[0])


@pytest.mark.parametrize("isa", isas()[1:])
@pytest.mark.parametrize("case", ["branches", "bconv3_odd", "downsampled", "rprelu", "max_pool"])
def test_gradients_of_every_isa(rng, case, isa):
    body, shape = CASES[case]
    compare(network(body, shape, rng), rng, isa, threads=3)


def random_body(rng: Any) -> Callable[[Any], Any]:
    """Returns a random graph: each layer takes a random earlier map of its size."""

    def body(x: Any) -> Any:
        x = norm(x)
        maps = [x]
        for _ in range(int(rng.integers(3, 9))):
            x = maps[int(rng.integers(len(maps)))]
            filters = x.shape[-1]
            kind = rng.choice(["binary", "real", "sum", "slopes", "concatenate", "shift"])
            same = [other for other in maps if other.shape == x.shape]
            other = same[int(rng.integers(len(same)))]
            if kind == "binary":
                x = norm(binary(int(rng.choice([filters, 20])), int(rng.choice([1, 3])))(x))
            elif kind == "real":
                x = norm(real(x, filters, int(rng.choice([1, 2, 3])), use_bias=False))
            elif kind == "sum":
                x = layers.Add()([x, other])
            elif kind == "slopes":
                x = nn.RPReLU()(x)
            elif kind == "shift":
                x = nn.LearnableShift()(x)
            elif filters < 100:
                x = layers.Concatenate()([x, other])
            maps.append(x)
        pooled = [layers.GlobalAveragePooling2D()(x) for x in maps[-2:]]
        return layers.Concatenate()(pooled)

    return body


@pytest.mark.parametrize("seed", range(12))
def test_gradients_of_random_graphs(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(int(size) for size in rng.integers(3, 8, 2))
    model = network(random_body(rng), (*shape, int(rng.choice([3, 16, 18]))), rng)
    compare(model, rng, isas()[seed % len(isas())], threads=int(rng.integers(1, 4)))


def test_every_layer_has_a_case(rng):
    covered = {
        type(layer) for body, shape in CASES.values() for layer in network(body, shape, rng).layers
    }
    assert LAYERS.keys() - covered <= {layers.Reshape}
