"""Several steps in a call are as many steps; a teacher is not changed; measuring is exact."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import bnnzoo
from bnnzoo.data.preprocessing import get
from bnnzoo.training import Phase
from bnnzoo.training.epochs import whole_batches
from bnnzoo.training.images.device_images import DeviceImages
from bnnzoo.training.images.image_arrays import ImageArrays
from bnnzoo.training.training_model import TrainingModel


@pytest.fixture
def images(rng):
    return ImageArrays(
        rng.integers(0, 256, (7, 5, 6, 3)).astype(np.uint8), rng.integers(0, 3, 7).astype(np.int32)
    )


def training_model(images, steps_per_call=1, teacher=None, phase=None):
    keras.utils.set_random_seed(1)
    network = bnnzoo.builder("binarynet_mlp")(input_shape=(5, 6, 3), num_classes=3, width=8)
    device_images = DeviceImages(images, "scale_pm1", 0)
    made = TrainingModel(network, device_images, phase or Phase(epochs=1), teacher, steps_per_call)
    made.compile(keras.optimizers.Adam(0.01))
    return made


def codes_and_labels(rng, images, n):
    codes = np.zeros((n, 4), np.int32)
    codes[:, 0] = rng.integers(0, len(images), n)
    return codes, images.labels[codes[:, 0]]


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="a train step of JAX alone has state")
def test_several_steps_in_a_call_are_as_many_steps(rng, images):
    codes, labels = codes_and_labels(rng, images, 4 * 3 * 5)
    one, several = training_model(images), training_model(images, steps_per_call=3)
    one.fit(codes, labels, batch_size=5, shuffle=False, verbose=0)
    batches = (codes.reshape(12, 5, 4), labels.reshape(12, 5))
    several.fit(*map(several.in_calls, batches), batch_size=5, shuffle=False, verbose=0)
    for ours, theirs in zip(one.network.variables, several.network.variables, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs))


def test_a_teacher_is_not_changed(rng, images):
    teacher = bnnzoo.builder("binarynet_mlp")(input_shape=(5, 6, 3), num_classes=3, width=4)
    before = [array.copy() for array in teacher.get_weights()]
    phase = Phase(epochs=1, teacher="t", distillation=0.5)
    student = training_model(images, teacher=teacher, phase=phase)
    assert len(student.trainable_variables) == len(student.network.trainable_variables)
    codes, labels = codes_and_labels(rng, images, 20)
    student.fit(codes, labels, batch_size=5, verbose=0)
    for old, new in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_measuring_leaves_the_teacher_and_the_smoothing_out(rng, images):
    phase = Phase(epochs=1, label_smoothing=0.5)
    made = training_model(images, phase=phase)
    codes, labels = codes_and_labels(rng, images, 10)
    result = made.evaluate(codes, labels, batch_size=10, verbose=0, return_dict=True)
    probabilities = made.network.predict(get("scale_pm1")(images.pixels)[codes[:, 0]], verbose=0)
    expected = -np.log(probabilities[np.arange(10), labels]).mean()
    assert result["loss"] == pytest.approx(expected, rel=1e-4)
    assert result["accuracy"] == pytest.approx((probabilities.argmax(1) == labels).mean())


def test_what_fills_a_batch_does_not_count(rng, images):
    made = training_model(images)
    codes, labels = codes_and_labels(rng, images, 12)
    indices, weights = whole_batches(np.arange(10), 4, 2)
    settings = {"verbose": 0, "return_dict": True}
    expected = made.evaluate(codes[:10], labels[:10], batch_size=10, **settings)
    chosen = indices.ravel()
    got = made.evaluate(
        codes[chosen], labels[chosen], sample_weight=weights.ravel(), batch_size=4, **settings
    )
    assert got == pytest.approx(expected, rel=1e-5)
