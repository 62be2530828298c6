"""`load`: weights, heads, features, errors."""

from __future__ import annotations

import json
import logging
import shutil

import h5py
import numpy as np
import pytest

import bnnzoo
from bnnzoo import manifest
from bnnzoo.errors import ArgumentError, UnknownModelError, WeightsError
from tests.small_zoo import SHAPE


def weighted(model):
    return [layer for layer in model.layers if layer.weights]


def assert_same_weights(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert a.name == b.name
        for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
            np.testing.assert_array_equal(x, y)


def test_pretrained_model_has_the_weights_and_the_spec(trained):
    model = bnnzoo.load("binarynet", pretrained=True)
    assert_same_weights(weighted(model), weighted(trained))
    spec = model.model_spec
    assert (spec.name, spec.tag, spec.num_classes) == ("binarynet", "small", 10)
    assert (spec.preprocessing, spec.labels) == ("scale_pm1", "cifar10")
    assert spec.weights_sha256 == manifest.load().weights["binarynet.small"].files[0].sha256


def test_spec_preprocesses_and_decodes(trained, rng):
    spec = bnnzoo.load("binarynet.small", pretrained=True).model_spec
    image = rng.integers(0, 256, SHAPE, dtype=np.uint8)
    np.testing.assert_allclose(spec.preprocess(image)[0], image / 127.5 - 1, atol=1e-6)
    best = spec.decode_predictions(np.eye(10)[[3]], top=2)[0]
    assert best[0] == (3, "cat", 1.0) and len(best) == 2


def test_a_tag_without_pretrained_builds_its_shape_with_random_weights(trained):
    model = bnnzoo.load("binarynet.small")
    assert model.input_shape == (None, *SHAPE)
    assert model.model_spec.tag is None and model.model_spec.weights_sha256 is None
    kernel = weighted(model)[0].get_weights()[0]
    assert not np.array_equal(kernel, weighted(trained)[0].get_weights()[0])


def test_a_random_model_takes_over_what_fits_it(trained):
    spec = bnnzoo.load("binarynet.small").model_spec
    assert (spec.preprocessing, spec.labels) == ("scale_pm1", "cifar10")
    # The builder's defaults make another network than the one that the weights are of.
    spec = bnnzoo.load("binarynet").model_spec
    assert (spec.preprocessing, spec.labels, spec.num_classes) == (None, None, 10)
    path = manifest.manifest_path()
    records = json.loads(path.read_text())
    records["weights"]["binarynet.small"]["arguments"] = {}
    path.write_text(json.dumps(records))
    spec = bnnzoo.load("binarynet").model_spec
    assert (spec.preprocessing, spec.labels, spec.tag) == ("scale_pm1", "cifar10", None)


def test_another_number_of_classes_replaces_the_head_and_says_so(trained, caplog):
    with caplog.at_level(logging.WARNING, logger="bnnzoo"):
        model = bnnzoo.load("binarynet", pretrained=True, num_classes=3)
    assert model.output_shape == (None, 3)
    assert model.model_spec.num_classes == 3 and model.model_spec.labels is None
    assert "for 3 classes. Layers with random weights: logits, logits_bn." in caplog.text
    assert_same_weights(weighted(model)[:-2], weighted(trained)[:-2])


def test_no_top_has_the_backbone_of_the_full_file(trained):
    model = bnnzoo.load("binarynet", pretrained=True, include_top=False)
    assert model.output_shape == (None, 2, 2, 8)
    backbone = weighted(model)
    assert_same_weights(backbone, weighted(trained)[: len(backbone)])
    assert model.model_spec.num_classes is None


@pytest.mark.parametrize("pooling, reduce", [("avg", np.mean), ("max", np.max)])
def test_pooling(trained, rng, pooling, reduce):
    x = rng.standard_normal((2, *SHAPE)).astype("float32")
    maps = bnnzoo.load("binarynet", True, include_top=False).predict(x, verbose=0)
    pooled = bnnzoo.load("binarynet", True, include_top=False, pooling=pooling)
    # Equal up to the order of a float32 sum of four numbers.
    np.testing.assert_allclose(
        pooled.predict(x, verbose=0), reduce(maps, axis=(1, 2)), rtol=1e-5, atol=1e-5
    )


def test_features_only_returns_the_stages(trained, rng):
    x = rng.standard_normal((2, *SHAPE)).astype("float32")
    model = bnnzoo.load("binarynet", True, features_only=True)
    outputs = model.predict(x, verbose=0)
    assert [info[1:] for info in model.feature_info] == [(2, 2), (4, 4), (8, 8)]
    assert [y.shape for y in outputs] == [(2, 8, 8, 2), (2, 4, 4, 4), (2, 2, 2, 8)]
    chosen = bnnzoo.load("binarynet", True, features_only=True, out_indices=(0, -1))
    first, last = chosen.predict(x, verbose=0)
    np.testing.assert_array_equal(first, outputs[0])
    np.testing.assert_array_equal(last, outputs[2])
    assert [info.reduction for info in chosen.feature_info] == [2, 8]


def test_own_weight_file(trained, tmp_path):
    model = bnnzoo.load("binarynet.small", weights=tmp_path / "binarynet_small.weights.h5")
    assert_same_weights(weighted(model), weighted(trained))
    assert model.model_spec.tag is None


MISTAKES = {
    "both": ({"pretrained": True, "weights": "a.h5"}, ArgumentError, "weights must be None with"),
    "suffix": ({"weights": "a.ckpt"}, ArgumentError, ".safetensors or .pth file, got"),
    "classes": ({"num_classes": 0}, ArgumentError, "num_classes must be a positive integer"),
    "bool": ({"num_classes": True}, ArgumentError, "must be a positive integer, got True"),
    "classes_alone": (
        {"num_classes": 3, "include_top": False},
        ArgumentError,
        "num_classes must be None without a classifier, got 3",
    ),
    "classes_features": (
        {"num_classes": 3, "features_only": True},
        ArgumentError,
        "num_classes must be None without a classifier, got 3",
    ),
    "pretrained": ({"pretrained": "no"}, ArgumentError, "must be True or False, got 'no'"),
    "pooling": ({"pooling": "mean", "include_top": False}, ArgumentError, "'avg', 'max' or None"),
    "pooling_top": ({"pooling": "avg"}, ArgumentError, "Pass include_top=False"),
    "pooling_features": (
        {"pooling": "avg", "features_only": True, "include_top": False},
        ArgumentError,
        "pooling must be None with features_only",
    ),
    "indices": ({"out_indices": (0,)}, ArgumentError, "Pass features_only=True"),
    "indices_range": (
        {"features_only": True, "out_indices": (3,)},
        ArgumentError,
        r"out_indices must be between 0 and 2, got \[3\]",
    ),
    "index": (
        {"features_only": True, "out_indices": 1},
        ArgumentError,
        "out_indices must be a sequence of integers, got 1",
    ),
    "side": ({"input_shape": 32}, ArgumentError, r"\(height, width, channels\), got 32"),
    "text": ({"input_shape": "8x8"}, ArgumentError, r"\(height, width, channels\), got '8x8'"),
    "shape": ({"input_shape": (32, 32)}, ArgumentError, r"must be \(height, width, channels\)"),
    "small": ({"input_shape": (4, 4, 3)}, ArgumentError, "must be at least 8 x 8 pixels, got 4"),
    "missing": ({"weights": "none.h5"}, WeightsError, "Cannot read the weight file none.h5"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_one_clear_error(trained, name):
    arguments, error, message = MISTAKES[name]
    with pytest.raises(error, match=message) as caught:
        bnnzoo.load("binarynet", **arguments)
    assert "\n" not in str(caught.value)


def test_integers_of_numpy_are_integers(trained):
    model = bnnzoo.load("binarynet", num_classes=np.int64(3), input_shape=np.array([8, 8, 3]))
    assert model.output_shape == (None, 3)
    assert model.input_shape == (None, 8, 8, 3)
    assert [type(n) for n in model.model_spec.input_shape] == [int] * 3


@pytest.mark.parametrize("call", [bnnzoo.load, bnnzoo.info, bnnzoo.builder])
def test_a_name_is_text(call):
    with pytest.raises(ArgumentError, match="name must be the name of a model, got None"):
        call(None)


def test_pooling_needs_a_feature_map(trained):
    with pytest.raises(ArgumentError, match="pooling requires a feature map, got output"):
        bnnzoo.load("binarynet_mlp", include_top=False, pooling="avg")


def test_pretrained_never_ends_in_random_weights(trained):
    with pytest.raises(UnknownModelError, match="'binarynet_mlp' has no pretrained weights"):
        bnnzoo.load("binarynet_mlp", pretrained=True)
    message = r"does not contain weights of binarynet with input \(32, 32, 3\): "
    with pytest.raises(WeightsError, match=message):
        bnnzoo.load("binarynet", pretrained=True, input_shape=(32, 32, 3))


def test_weights_of_another_network_are_an_error(trained, tmp_path):
    with pytest.raises(WeightsError, match="does not contain weights of binarynet_mlp"):
        bnnzoo.load("binarynet_mlp", weights=tmp_path / "binarynet_small.weights.h5")
    (tmp_path / "broken.h5").write_bytes(b"no HDF5")
    with pytest.raises(WeightsError, match=r"broken.h5 cannot be read: ") as caught:
        bnnzoo.load("binarynet", weights=tmp_path / "broken.h5")
    assert "\n" not in str(caught.value)


def test_a_weight_file_points_to_no_other_file(trained, tmp_path):
    path = tmp_path / "linked.weights.h5"
    shutil.copy(tmp_path / "binarynet_small.weights.h5", path)
    with h5py.File(path, "a") as file:
        name = next(iter(file["layers"]))
        del file["layers"][name]
        file["layers"][name] = h5py.ExternalLink("binarynet_small.weights.h5", f"/layers/{name}")
    with pytest.raises(WeightsError, match=f"'{name}' is a link. Do not trust"):
        bnnzoo.load("binarynet.small", weights=path)
