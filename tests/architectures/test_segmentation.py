"""Heads for segmentation, and Group-Net with BPAC."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import bnnzoo
from bnnzoo import registry
from bnnzoo.architectures.segmentation import HEADS
from bnnzoo.errors import ArgumentError
from tests.architectures.models import MODELS, swept

SHAPE = (64, 96, 3)


def segments(name="quicknet_small", **arguments):
    arguments = {"num_classes": 5, "input_shape": SHAPE, **arguments}
    return bnnzoo.load(name, task="segmentation", **arguments)


def rates(model, part):
    return [
        layer.dilation_rate[0]
        for layer in model.layers
        if part in layer.name and hasattr(layer, "kernel") and layer.kernel_size == (3, 3)
    ]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_every_pixel_gets_probabilities_from_the_stage_of_the_stride(head, stride, rng):
    model = segments(head=head, output_stride=stride)
    assert model.name == f"quicknet_small_{head}"
    assert model.feature_info[-1].reduction == stride
    images = rng.standard_normal((2, *SHAPE)).astype("float32")
    found = model.predict_on_batch(images)
    assert found.shape == (2, 64, 96, 5)
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-5)


def test_the_default_stride_is_that_of_the_last_stage():
    assert segments().feature_info[-1].reduction == 32
    dilated = segments("binary_densenet37_dilated")
    assert [info.reduction for info in dilated.feature_info] == [4, 8, 8, 8]
    assert dilated.get_layer("pixel_head_conv").input.shape[1:] == (8, 12, 640)


@pytest.mark.parametrize("name", swept(n for n in MODELS if n != "binarynet_mlp"))
def test_every_network_gets_a_head(name):
    least = max(MODELS[name].least, 32)
    arguments = {"input_shape": (least, least, 3), "num_classes": 3}
    if bnnzoo.info(name).task == "classification":
        arguments |= {"task": "segmentation", "head": "aspp"}
    model = bnnzoo.load(name, **arguments)
    assert model.output_shape == (None, least, least, 3)
    assert model.model_spec.task == "segmentation"


def test_rates_of_aspp_are_those_of_the_paper():
    """DeepLabv3: (6, 12, 18) at an output stride of 16, doubled at 8."""
    for stride, expected in ((16, [6, 12, 18]), (8, [12, 24, 36]), (32, [3, 6, 9])):
        assert rates(segments(head="aspp", output_stride=stride), "pixel_head_atrous") == expected


@pytest.mark.parametrize("head", HEADS)
def test_keras_interpreter_and_runtime_agree_and_the_task_is_kept(head, tmp_path, rng):
    model = segments(head=head, output_stride=16)
    model.model_spec = replace(model.model_spec, labels=tuple("abcde"))
    report = bnnzoo.convert(model, tmp_path / "model.safetensors")
    assert report.check.failure is None and report.output_difference < 1e-4
    model.save(tmp_path / "model.keras")
    for name in ("model.safetensors", "model.keras"):
        opened = bnnzoo.open_model(tmp_path / name)
        spec = opened.model_spec
        assert (spec.task, spec.num_classes, spec.labels) == ("segmentation", 5, tuple("abcde"))
    packed = bnnzoo.runtime.load(tmp_path / "model.safetensors")
    assert packed.info.task == "segmentation"
    images = rng.standard_normal((1, *SHAPE)).astype("float32")
    assert packed(images).shape == (1, 64, 96, 5)


def group_net(name, **arguments):
    return registry.builder(name)(SHAPE, num_classes=4, **arguments)


@pytest.mark.parametrize(
    "stride, third, fourth",
    [
        (8, [2, 3, 4, 5, 6], [6, 7, 8, 9, 10]),
        (16, [1] * 5, [2, 3, 4, 5, 6]),
        (32, [1] * 5, [1] * 5),
    ],
)
def test_the_bases_of_group_net_have_the_rates_of_the_paper(stride, third, fourth):
    model = group_net("groupnet18_segmentation", output_stride=stride)
    assert model.output_shape == (None, *SHAPE[:2], 4)
    assert model.feature_info[-1].reduction == stride
    assert rates(model, "stage1") + rates(model, "stage2") == [1] * 40
    for stage, expected in (("stage3", third), ("stage4", fourth)):
        for base, rate in enumerate(expected, start=1):
            convs = (f"{stage}_block{b}_base{base}_unit{u}_conv" for b in (1, 2) for u in (1, 2))
            assert [model.get_layer(name).dilation_rate for name in convs] == [(rate, rate)] * 4


def test_weights_of_a_classifier_fit_the_network_for_segmentation(rng):
    """Without dilation both compute the same features; with it, the weights still fit."""
    classifier = group_net("groupnet18", include_top=False, bases=2)
    images = rng.standard_normal((1, *SHAPE)).astype("float32")
    expected = classifier.predict_on_batch(images)
    for stride in (32, 8):
        model = group_net(
            "groupnet18_segmentation", output_stride=stride, include_top=False, bases=2
        )
        assert [w.path for w in model.weights] == [w.path for w in classifier.weights]
        model.set_weights(classifier.get_weights())
        if stride == 32:
            np.testing.assert_array_equal(model.predict_on_batch(images), expected)
        else:
            assert model.output_shape == (None, 8, 12, 512)


@pytest.mark.slow
def test_a_packed_group_net_of_the_builder_knows_its_task(tmp_path):
    path = tmp_path / "model.safetensors"
    report = bnnzoo.convert(group_net("groupnet18_segmentation"), path, check=1)
    assert report.check.failure is None and report.top1_agreement is not None
    spec = bnnzoo.open_model(path).model_spec
    assert (spec.task, spec.num_classes) == ("segmentation", 4)
    assert bnnzoo.runtime.load(path).info.architecture["name"] == "groupnet18_segmentation"


def test_group_net_takes_its_output_stride_from_load():
    arguments = {"input_shape": (64, 64, 3), "num_classes": 3}
    model = bnnzoo.load("groupnet18_segmentation", output_stride=16, **arguments)
    assert model.feature_info[-1].reduction == 16
    assert model.model_spec.task == "segmentation"
    assert bnnzoo.load("quicknet_small").model_spec.task == "classification"


MISTAKES = {
    "task": ({"task": "detection"}, "task must be one of"),
    "head": ({"task": "segmentation", "num_classes": 3, "head": "unet"}, "head must be one of"),
    "a head alone": ({"head": "fcn"}, "Pass task='segmentation'"),
    "a stride alone": ({"output_stride": 8}, "Pass task='segmentation'"),
    "no classes": ({"task": "segmentation"}, "num_classes must be given for task='segmentation'"),
    "no such stride": (
        {"task": "segmentation", "num_classes": 3, "output_stride": 64},
        r"output_stride of quicknet_small must be one of \(4, 8, 16, 32\)",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_one_clear_error(name):
    arguments, message = MISTAKES[name]
    with pytest.raises(ArgumentError, match=message) as caught:
        bnnzoo.load("quicknet_small", **arguments)
    assert "\n" not in str(caught.value)


def test_group_net_for_segmentation_has_its_own_head():
    for arguments in ({"head": "fcn"}, {"task": "classification"}):
        with pytest.raises(ArgumentError, match="segments images with its own head"):
            bnnzoo.load("groupnet18_segmentation", **arguments)
    with pytest.raises(ArgumentError, match="output_stride must be one of"):
        bnnzoo.load("groupnet18_segmentation", output_stride=4)


def test_vectors_have_no_pixels():
    with pytest.raises(ArgumentError, match="must be one of \\(\\), the reductions"):
        segments("binarynet_mlp", input_shape=(28, 28, 1))
