"""A Keras model with the weights of a PyTorch checkpoint computes the same as in PyTorch."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from bnnzoo import nn
from bnnzoo.architectures.channels_last import Conv2D, DepthwiseConv2D
from bnnzoo.checkpoints.assigning import _check_binary, assign, names_of
from bnnzoo.checkpoints.naming import Names
from bnnzoo.checkpoints.tensors import DTYPES, Storage, stored_tensor
from bnnzoo.errors import ArgumentError, WeightsError
from tests.checkpoints.files import dictionary, new_file, storage, tensor

NAMES = Names(
    {
        "conv": "conv1",
        "bn": "bn1",
        "shift": "move",
        "depthwise": "dw",
        "prelu": "prelu",
        "logits": "fc",
    },
    variables={"shift": "bias"},
    unused=("old.*",),
    below={"*.temperature": 1e-7},
)


def network():
    inputs = x = keras.Input((5, 5, 3))
    x = Conv2D(4, 3, use_bias=False, name="conv")(x)
    x = keras.layers.BatchNormalization(epsilon=1e-5, name="bn")(x)
    x = nn.LearnableShift(name="shift")(x)
    x = DepthwiseConv2D(2, depth_multiplier=2, name="depthwise")(x)
    x = keras.layers.PReLU(shared_axes=[1, 2], name="prelu")(x)
    x = keras.layers.GlobalAveragePooling2D(data_format="channels_last")(x)
    return keras.Model(inputs, keras.layers.Dense(2, name="logits")(x), name="net")


SHAPES = {
    "conv1.weight": (4, 3, 3, 3),
    "bn1.weight": (4,),
    "bn1.bias": (4,),
    "bn1.running_mean": (4,),
    "bn1.running_var": (4,),
    "move.bias": (1, 4, 1, 1),
    "dw.weight": (8, 1, 2, 2),
    "dw.bias": (8,),
    "prelu.weight": (8,),
    "fc.weight": (2, 8),
    "fc.bias": (2,),
}


@pytest.fixture(scope="module")
def model():
    return network()


def drawn() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    values = {name: rng.standard_normal(shape).astype("f4") for name, shape in SHAPES.items()}
    values["bn1.running_var"] = np.abs(values["bn1.running_var"]) + 0.1
    return {**values, "q.temperature": np.float32([1e-8]), "bn1.num_batches_tracked": np.float32(9)}


def written(tmp_path, values):
    """The path of a checkpoint with these tensors under `module.`."""
    entries = {
        f"module.{name}": tensor(storage(name, value.size), value.shape)
        for name, value in values.items()
    }
    path = tmp_path / "net.pth"
    path.write_bytes(new_file(dictionary(entries), {k: v.tobytes() for k, v in values.items()}))
    return path


def computed(values, x):
    """The network in NumPy, in the layout of PyTorch: `(n, c, h, w)`."""

    def convolved(x, kernel, groups):
        n, c_in, size = x.shape[0], kernel.shape[1], kernel.shape[2]
        out = x.shape[2] - size + 1
        result = np.zeros((n, kernel.shape[0], out, out))
        for o in range(kernel.shape[0]):
            first = o // (kernel.shape[0] // groups) * c_in
            for i in range(out):
                for j in range(out):
                    patch = x[:, first : first + c_in, i : i + size, j : j + size]
                    result[:, o, i, j] = (patch * kernel[o]).sum(axis=(1, 2, 3))
        return result

    def channels(vector):
        return vector.reshape(1, -1, 1, 1)

    v = {name: value.astype("f8") for name, value in values.items()}
    x = convolved(x, v["conv1.weight"], 1)
    x = (x - channels(v["bn1.running_mean"])) / np.sqrt(channels(v["bn1.running_var"]) + 1e-5)
    x = x * channels(v["bn1.weight"]) + channels(v["bn1.bias"]) + v["move.bias"]
    x = convolved(x, v["dw.weight"], 4) + channels(v["dw.bias"])
    x = np.where(x >= 0, x, channels(v["prelu.weight"]) * x)
    return x.mean(axis=(2, 3)) @ v["fc.weight"].T + v["fc.bias"]


def test_the_model_computes_what_the_tensors_mean(model, tmp_path, rng):
    values = drawn()
    done = assign(model, written(tmp_path, values), NAMES)
    x = rng.standard_normal((2, 5, 5, 3)).astype("f4")
    expected = computed(values, x.transpose(0, 3, 1, 2))
    # Sums of at most 27 float32 products of size 1; a wrong axis is off by 1.
    np.testing.assert_allclose(np.asarray(model(x)), expected, atol=1e-4)
    assert {(a.source, a.target) for a in done.assignments} >= {
        ("conv1.weight", "conv/kernel"),
        ("bn1.running_var", "bn/moving_variance"),
        ("move.bias", "shift/shift"),
    }
    assert len(done.assignments) == len(SHAPES)
    assert done.unused == ("bn1.num_batches_tracked", "q.temperature")
    assert done.state.prefix == "module."


def test_flat_kernels_are_in_the_order_of_pytorch(model, tmp_path):
    values = drawn()
    assign(model, written(tmp_path, values), NAMES)
    expected = [np.asarray(w) for w in model.weights]
    values["conv1.weight"] = values["conv1.weight"].reshape(-1, 1)
    assign(model, written(tmp_path, values), NAMES)
    for one, two in zip(model.weights, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(one), two)


def without(*names):
    return lambda values: [values.pop(name) for name in names]


def setting(name, value):
    return lambda values: values.update({name: np.asarray(value, "f4")})


WRONG = {
    "missing": (
        without("bn1.bias", "fc.weight"),
        "must have the weights of net, but it lacks bn1.bias, fc.weight. Choose the network",
    ),
    "left_over": (setting("x.y", [1.0]), "of net, but it has the unexpected x.y. Choose the"),
    "both": (
        lambda values: values.update({"fc2.bias": values.pop("fc.bias")}),
        "it lacks fc.bias, and it has the unexpected fc2.bias",
    ),
    "many": (
        lambda values: values.update({f"x{i}": np.ones(1, "f4") for i in range(20)}),
        "the unexpected x0, x1, x10, x11, x12, x13 and 14 more",
    ),
    "classes": (
        setting("fc.weight", np.ones((5, 8))),
        r"fc.weight must have shape \(2, 8\), got \(5, 8\). Check the network, its number of cl",
    ),
    "transposed": (setting("fc.weight", np.ones((8, 2))), r"shape \(2, 8\), got \(8, 2\)"),
    "keras_layout": (setting("conv1.weight", np.ones((3, 3, 3, 4))), r"got \(3, 3, 3, 4\)"),
    "flat_of_another": (setting("conv1.weight", np.ones((107, 1))), r"got \(107, 1\)"),
    "not_finite": (setting("bn1.bias", [0, np.nan, 1, 2]), "bn1.bias must be finite, got values"),
    "real_valued": (
        setting("q.temperature", [0.35]),
        "the network is not binary yet: q.temperature must be below 1e-07, got 0.35. Use",
    ),
    "just_above": (setting("q.temperature", [1e-8, 1.1e-7]), "not binary yet.*got 1.1e-07"),
    "nan": (setting("q.temperature", [np.nan]), "not binary yet.*got nan"),
    "unknown": (without("q.temperature"), r"it must have tensors \*.temperature, which show"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_checkpoint_of_another_network_is_refused(name, model, tmp_path):
    edit, message = WRONG[name]
    before = [np.asarray(weight) for weight in model.weights]
    values = drawn()
    edit(values)
    path = written(tmp_path, values)
    with pytest.raises(WeightsError, match=rf"net\.pth: .*{message}") as caught:
        assign(model, path, NAMES)
    assert "\n" not in str(caught.value)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(np.asarray(weight), value)


def test_temperatures_may_be_integers():
    storage = Storage(DTYPES["int64"], 1, lambda: memoryview(bytes(8)))
    integer = stored_tensor(storage, 0, (1,), (1,))
    _check_binary({"q.temperature": integer}, {"*.temperature": 1e-7})
    with pytest.raises(WeightsError, match="q.temperature must be below 0, got 0"):
        _check_binary({"q.temperature": integer}, {"*.temperature": 0})


def test_the_names_of_an_architecture_must_be_known():
    with pytest.raises(ArgumentError, match="known names .*, got 'quicknet'. Known: adabin_"):
        names_of("quicknet")
