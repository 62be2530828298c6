"""The optimizer of a phase."""

from __future__ import annotations

import math
from typing import Any

import keras

from bnnzoo import nn
from bnnzoo.nn.optimizers import is_binary_variable
from bnnzoo.training.recipes.schema import Phase
from bnnzoo.training.schedules import WarmupDecay

__all__ = ["decayed_variables", "make_optimizer"]

MOMENTUM = 0.9


def make_optimizer(phase: Phase, network: Any, steps_per_epoch: int) -> Any:
    """Returns a new optimizer for the network's trainable variables.

    Args:
        phase: Its learning rates, schedule, weight decay and optimizers.
        network: The network to train.
        steps_per_epoch: Steps per epoch, for the schedule.
    """
    peak = phase.learning_rate if phase.float_learning_rate is None else phase.float_learning_rate
    float_optimizer = _optimizer(
        phase, phase.float_optimizer, peak, steps_per_epoch, weight_decay=phase.weight_decay or None
    )
    if phase.weight_decay:
        decayed = {id(variable) for variable in decayed_variables(network)}
        rest = [v for v in network.trainable_variables if id(v) not in decayed]
        float_optimizer.exclude_from_weight_decay(var_list=rest)
    if phase.freeze_backbone and not any(map(is_binary_variable, network.trainable_variables)):
        return float_optimizer
    if phase.binary_optimizer == "bop":
        gamma = _schedule(phase, phase.bop_gamma, steps_per_epoch)
        binary_optimizer: Any = nn.Bop(threshold=phase.bop_threshold, gamma=gamma)
    else:
        kind = "adam" if phase.binary_optimizer == "latent" else "sgd"
        if kind == phase.float_optimizer and phase.float_learning_rate is None:
            return float_optimizer
        binary_optimizer = _optimizer(phase, kind, phase.learning_rate, steps_per_epoch)
    return nn.CaseOptimizer(
        (is_binary_variable, binary_optimizer), default_optimizer=float_optimizer
    )


def _optimizer(
    phase: Phase, kind: str, peak: float, steps_per_epoch: int, weight_decay: float | None = None
) -> Any:
    rate = _schedule(phase, peak, steps_per_epoch)
    shared = {"weight_decay": weight_decay, "global_clipnorm": phase.clip_norm}
    if kind == "sgd":
        return keras.optimizers.SGD(rate, momentum=MOMENTUM, **shared)
    return keras.optimizers.Adam(rate, epsilon=phase.epsilon, **shared)


def decayed_variables(network: Any) -> list[Any]:
    """Returns the float kernels.

    The magnitude of a latent weight does not change the output, only how soon its sign can flip;
    biases and batch norms need no decay.
    """
    return [
        variable
        for variable in network.trainable_variables
        if variable.path.rpartition("/")[2].endswith("kernel") and not is_binary_variable(variable)
    ]


def _schedule(phase: Phase, peak: float, steps_per_epoch: int) -> WarmupDecay:
    steps = phase.epochs * steps_per_epoch
    warmup = min(math.ceil(phase.warmup_epochs * steps_per_epoch), steps)
    drops = [(epoch * steps_per_epoch, share) for epoch, share in phase.drops]
    return WarmupDecay(peak, steps, warmup, phase.schedule, drops)
