"""Every shipped network gives the golden logits and the accuracy of its manifest record."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import bnnzoo
from bnnzoo import manifest

PACKAGED = {
    name: record
    for name, record in manifest.load().weights.items()
    if any(file.path for file in record.files)
}


def test_a_trained_network_is_shipped():
    assert "binarynet.fashion_mnist_small" in PACKAGED


@pytest.mark.parametrize("name", PACKAGED)
def test_golden_logits(name):
    record = PACKAGED[name]
    golden = record.golden
    model = bnnzoo.load(name, pretrained=True)
    images = [image for image, _, _ in bnnzoo.data.open_source(golden["dataset"])]
    x = model.model_spec.preprocess(images[: golden["first"]])
    # The last layer is the softmax; what comes into it are the logits.
    logits = keras.Model(model.input, model.layers[-1].input).predict(x, verbose=0)
    np.testing.assert_allclose(logits, golden["logits"], atol=golden["tolerance"], rtol=0)


@pytest.mark.parametrize("name", PACKAGED)
def test_weights_are_small_and_arguments_are_those_of_the_file(name):
    record = PACKAGED[name]
    assert all(file.bytes < 1_000_000 for file in record.files if file.path)
    model = bnnzoo.load(name, pretrained=True)
    assert model.output_shape == (None, record.num_classes)
    assert model.model_spec.class_names() == bnnzoo.data.labels.names(record.labels)


@pytest.mark.parametrize("name", PACKAGED)
def test_accuracy_on_the_sample_fits_that_of_the_full_test_set(name):
    record = PACKAGED[name]
    report = bnnzoo.evaluate(name, record.golden["dataset"])
    full = record.metrics[0]
    assert full.origin == "measured" and full.n == 10_000 and full.top1 >= 90
    # The sample is a fifth of the test set: three standard errors of 2,000 images are 2 points.
    assert abs(report.top1 - full.top1) < 2
