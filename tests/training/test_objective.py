"""The losses are their formulas, restated in NumPy; a teacher gets no gradient."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import bnnzoo
from bnnzoo.data.source import IGNORED
from bnnzoo.errors import ArgumentError
from bnnzoo.training import Phase
from bnnzoo.training.objective import (
    attention_loss,
    cross_entropy,
    distillation_loss,
    logits_and_stages,
    objective,
)
from tests.backend import gradient


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@pytest.fixture
def logits(rng):
    return rng.normal(size=(6, 4)).astype(np.float32), rng.normal(size=(6, 4)).astype(np.float32)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy(rng, logits, smoothing):
    labels = rng.integers(0, 4, 6)
    targets = np.eye(4)[labels] * (1 - smoothing) + smoothing / 4
    expected = -(targets * np.log(softmax(logits[0]))).sum(1).mean()
    got = float(ops.convert_to_numpy(cross_entropy(labels, logits[0], smoothing)))
    assert got == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("weights", [None, [2.0, 0.0, 1.0]])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_pixels_leaves_out_those_of_no_class(rng, smoothing, weights):
    scores = rng.normal(size=(3, 4, 5, 6)).astype(np.float32)
    masks = rng.integers(0, 6, (3, 4, 5))
    masks[0, :2], masks[2] = IGNORED, IGNORED  # the last image has no labels at all
    each = []
    for mask, image in zip(masks, softmax(scores), strict=True):
        inside = mask != IGNORED
        targets = np.eye(6)[mask[inside]] * (1 - smoothing) + smoothing / 6
        each.append(-(targets * np.log(image[inside])).sum() / max(inside.sum(), 1))
    expected = np.mean(np.array(each) * (1 if weights is None else np.array(weights)))
    given = None if weights is None else np.float32(weights)
    got = float(ops.convert_to_numpy(cross_entropy(masks, scores, smoothing, given)))
    assert got == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_distillation(logits, temperature):
    teacher, student = (softmax(x / temperature) for x in logits)
    expected = -(temperature**2) * (teacher * np.log(student)).sum(1).mean()
    got = float(ops.convert_to_numpy(distillation_loss(*logits, temperature)))
    assert got == pytest.approx(expected, rel=1e-5)


def attention(x):
    maps = (x.astype(np.float64) ** 2).sum(-1).reshape(len(x), -1)
    return maps / np.sqrt((maps**2).sum(1, keepdims=True))


def test_attention(rng):
    teacher = [rng.normal(size=(3, 4, 4, 5)), rng.normal(size=(3, 2, 2, 7))]
    student = [rng.normal(size=(3, 4, 4, 2)), rng.normal(size=(3, 2, 2, 7))]
    expected = sum(
        np.sqrt(((attention(s) - attention(t)) ** 2).sum(1)).mean()
        for s, t in zip(student, teacher, strict=True)
    )
    as_float32 = [[x.astype(np.float32) for x in maps] for maps in (teacher, student)]
    got = float(ops.convert_to_numpy(attention_loss(*as_float32)))
    assert got == pytest.approx(expected, rel=1e-4)


def test_equal_attention_has_a_finite_gradient(rng):
    x = rng.normal(size=(2, 3, 3, 2)).astype(np.float32)
    assert np.isfinite(gradient(lambda s: attention_loss([x], [s]), x)).all()


@pytest.mark.parametrize(
    "weights", [{}, {"distillation": 0.3}, {"attention": 2.0}, {"distillation": 1.0}], ids=str
)
def test_the_parts_are_weighted(rng, logits, weights):
    phase = Phase(epochs=1, teacher="t", temperature=2.0, label_smoothing=0.1, **weights)
    maps = rng.normal(size=(2, 6, 3, 3, 2)).astype(np.float32)
    teacher, student = ({"logits": y, "stages": [m]} for y, m in zip(logits, maps, strict=True))
    labels = np.zeros(6, np.int32)
    share = weights.get("distillation", 0.0)
    expected = (
        (1 - share) * cross_entropy(labels, logits[1], 0.1)
        + share * distillation_loss(*logits, 2.0)
        + weights.get("attention", 0.0) * attention_loss(maps[:1], maps[1:])
    )
    got = objective(phase, labels, student, teacher)
    assert float(got) == pytest.approx(float(expected), rel=1e-5)


def test_logits_are_what_the_softmax_takes(rng):
    network = bnnzoo.builder("binarynet_mlp")(input_shape=(4, 4, 1), num_classes=3, width=8)
    x = rng.normal(size=(5, 4, 4, 1)).astype(np.float32)
    outputs = logits_and_stages(network)(x)
    probabilities = ops.convert_to_numpy(network(x))
    np.testing.assert_allclose(
        softmax(ops.convert_to_numpy(outputs["logits"])), probabilities, atol=1e-6
    )
    assert [tuple(stage.shape) for stage in outputs["stages"]] == [(5, 8)] * 3


def test_a_network_without_softmax_is_refused():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(3, name="scores")(inputs))
    with pytest.raises(ArgumentError, match="got Dense 'scores'"):
        logits_and_stages(model)
