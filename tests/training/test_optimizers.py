"""Each group of variables gets its optimizer, and only float kernels decay."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import bnnzoo
from bnnzoo import nn
from bnnzoo.training import Phase
from bnnzoo.training.heads import backbone_layers
from bnnzoo.training.optimizers import decayed_variables, make_optimizer


@pytest.fixture
def network():
    return bnnzoo.builder("birealnet20")(input_shape=(8, 8, 3), num_classes=3)


def test_float_kernels_decay_and_nothing_else(network):
    names = {variable.path for variable in decayed_variables(network)}
    assert names == {
        "stem_conv/kernel",
        "stage2_block1_shortcut_conv/kernel",
        "stage3_block1_shortcut_conv/kernel",
        "logits/kernel",
    }


def test_without_gradient_only_decay_moves_weights(network):
    phase = Phase(epochs=1, learning_rate=0.5, schedule="constant", weight_decay=0.1)
    optimizer = make_optimizer(phase, network, steps_per_epoch=4)
    optimizer.build(network.trainable_variables)
    before = {v.path: ops.convert_to_numpy(v).copy() for v in network.trainable_variables}
    optimizer.apply([ops.zeros(v.shape) for v in network.trainable_variables])
    decayed = {variable.path for variable in decayed_variables(network)}
    for variable in network.trainable_variables:
        factor = 1 - 0.5 * 0.1 if variable.path in decayed else 1
        after = ops.convert_to_numpy(variable)
        np.testing.assert_allclose(after, factor * before[variable.path], rtol=1e-6)


def test_bop_trains_the_binary_kernels(network):
    phase = Phase(epochs=2, binary_optimizer="bop", bop_gamma=0.25, bop_threshold=1e-3)
    optimizer = make_optimizer(phase, network, steps_per_epoch=4)
    bop, adam = (case.optimizer for case in optimizer.cases)
    assert isinstance(bop, nn.Bop)
    assert isinstance(adam, keras.optimizers.Adam)
    assert float(ops.convert_to_numpy(bop.gamma)) == 0.25
    assert float(ops.convert_to_numpy(bop.threshold)) == pytest.approx(1e-3)
    optimizer.build(network.trainable_variables)
    optimizer.apply([ops.ones(v.shape) for v in network.trainable_variables])
    kernel = ops.convert_to_numpy(network.get_layer("stage1_block1_conv").kernel)
    assert set(np.unique(kernel)) <= {-1.0, 1.0}


@pytest.mark.parametrize("binary, other", [("sgd", "sgd"), ("latent", "adam")])
def test_one_kind_of_optimizer_trains_all_weights(binary, other):
    phase = Phase(epochs=1, binary_optimizer=binary, float_optimizer=other, clip_norm=5.0)
    optimizer = make_optimizer(phase, None, 10)
    assert type(optimizer).__name__.lower() == other
    assert optimizer.global_clipnorm == 5.0


def test_sgd_for_latent_weights_alone():
    phase = Phase(epochs=1, learning_rate=0.1, binary_optimizer="sgd", float_optimizer="adam")
    binary, other = (case.optimizer for case in make_optimizer(phase, None, 10).cases)
    assert isinstance(binary, keras.optimizers.SGD)
    assert isinstance(other, keras.optimizers.Adam)


@pytest.mark.parametrize("change", [{"binary_optimizer": "bop"}, {"float_optimizer": "sgd"}])
def test_frozen_binary_kernels_need_no_optimizer(network, change):
    for layer in backbone_layers(network):
        layer.trainable = False
    optimizer = make_optimizer(
        Phase(epochs=1, freeze_backbone=True, **change), network, steps_per_epoch=4
    )
    kinds = {"bop": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}
    assert type(optimizer) is kinds[next(iter(change.values()))]


def test_float_variables_have_an_optimizer_of_their_own(network):
    phase = Phase(epochs=2, learning_rate=0.01, float_optimizer="sgd", float_learning_rate=0.1)
    optimizer = make_optimizer(phase, network, steps_per_epoch=4)
    adam, sgd = (case.optimizer for case in optimizer.cases)
    assert isinstance(adam, keras.optimizers.Adam)
    assert isinstance(sgd, keras.optimizers.SGD)
    assert sgd.momentum == 0.9
    optimizer.build(network.trainable_variables)
    variables = network.trainable_variables
    before = [ops.convert_to_numpy(v).copy() for v in variables]
    optimizer.apply([ops.full(v.shape, 2.0) for v in variables])
    for variable, old in zip(variables, before, strict=True):
        # The first step of Adam is its learning rate, whatever the gradient; latent weights end
        # at +-1.
        step = 0.01 if nn.optimizers.is_binary_variable(variable) else 0.1 * 2.0
        expected = np.clip(old - step, -1, 1) if step == 0.01 else old - step
        np.testing.assert_allclose(ops.convert_to_numpy(variable), expected, atol=1e-5)


def test_the_papers_epsilon(network):
    optimizer = make_optimizer(Phase(epochs=1, epsilon=1e-5), network, steps_per_epoch=4)
    assert optimizer.epsilon == 1e-5


@pytest.mark.parametrize("warmup_epochs, steps", [(0.0, 0), (0.3, 2), (1.5, 6), (9.0, 8)])
def test_the_schedule_spans_the_phase(network, warmup_epochs, steps):
    phase = Phase(epochs=2, warmup_epochs=warmup_epochs)
    schedule = make_optimizer(phase, network, steps_per_epoch=4)._learning_rate
    assert (schedule.steps, schedule.warmup_steps) == (8, steps)
