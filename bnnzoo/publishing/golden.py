"""Golden logits: a network's output before its softmax for a few public images."""

from __future__ import annotations

import itertools
import math
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bnnzoo.data.sources import open_source

__all__ = ["golden_logits", "log_softmax"]

# Shipped with the package: the check needs no network. The network's preprocessing brings them to
# its size and channels, and what a digit classifier says of a shirt is as good a witness.
DATASET = "sample:fashion_mnist"
FIRST = 4
DIGITS = 4
MIN_TOLERANCE = 1e-3
# Other machines and backends round sums differently. Near zero this flips a sign, which changes the
# inputs of all later layers. The tolerance is therefore the change of the logits when the inputs
# are changed by a few float32 roundings, this many times.
ROUNDING = 16 * float(np.finfo(np.float32).eps)
TRIALS = 16

Floats = NDArray[np.floating[Any]]


def golden_logits(network: Any, packed: Any) -> dict[str, Any]:
    """Returns the `golden` entry of a record.

    Args:
        network: The Keras model as the record loads it, with its `model_spec`.
        packed: The same network in the packed runtime.
    """
    source = open_source(DATASET)
    images = [image for image, _, _ in itertools.islice(source, FIRST)]
    x = network.model_spec.preprocess(images)
    inner = _before_softmax(network)
    changes = np.random.default_rng(0).uniform(-ROUNDING, ROUNDING, (TRIALS, *x.shape))
    nearby = (x * (1 + changes)).astype(np.float32).reshape(-1, *x.shape[1:])
    logits, *others = np.split(_outputs(inner, np.concatenate([x, nearby])), 1 + TRIALS)
    apart = max(
        float(np.abs(np.array(others) - logits).max()),
        float(np.abs(np.log(packed(x)) - log_softmax(logits)).max()),
    )
    return {
        "dataset": DATASET,
        "first": FIRST,
        "logits": logits.round(DIGITS).tolist(),
        "tolerance": _rounded_up(max(MIN_TOLERANCE, 2 * apart)),
    }


def log_softmax(logits: Floats) -> Floats:
    """Returns the logarithm of the probabilities: x - log(sum(exp(x)))."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def _before_softmax(network: Any) -> Any:
    last = network.layers[-1]
    is_softmax = getattr(getattr(last, "activation", None), "__name__", "") == "softmax"
    return keras.Model(network.input, last.input if is_softmax else network.output)


def _outputs(model: Any, x: Floats) -> Floats:
    return np.asarray(keras.ops.convert_to_numpy(model(x, training=False)), dtype=np.float64)


def _rounded_up(value: float) -> float:
    """Returns a value with one digit that is not smaller."""
    unit = 10.0 ** math.floor(math.log10(value))
    return round(math.ceil(round(value / unit, 9)) * unit, 12)
