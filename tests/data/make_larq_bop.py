"""Writes larq_bop.npz: the weights that larq's Bop makes of given gradients, for golden tests.

Runs in the peer's environment, once (Python 3.11):
    pip install larq==0.14.0 tensorflow-cpu==2.15.1
    python tests/data/make_larq_bop.py

Holds the start weights (+1 and -1), the gradient of every step and, for each case, the weights
after every step (int8) and the moving average of the gradients after the last one.
"""

from pathlib import Path

import larq
import numpy as np
import tensorflow as tf

STEPS, SHAPE = 60, (4, 3, 5)
CASES = {
    "constant": {"threshold": 1e-2, "gamma": 0.1},
    "zero_threshold": {"threshold": 0.0, "gamma": 0.5},
    "high_threshold": {"threshold": 0.2, "gamma": 0.3},
    "scheduled": {
        "threshold": tf.keras.optimizers.schedules.PiecewiseConstantDecay([20], [1e-2, 5e-2]),
        "gamma": tf.keras.optimizers.schedules.ExponentialDecay(0.3, 10, 0.5),
    },
}


def train(arguments: dict, weights: np.ndarray, gradients: np.ndarray) -> tuple:
    """Returns the weights after every step and the last moving average."""
    variable = tf.Variable(weights)
    bop = larq.optimizers.Bop(**arguments)
    history = []
    for gradient in gradients:
        bop.apply_gradients([(tf.constant(gradient), variable)])
        history.append(variable.numpy().astype("int8"))
    return np.stack(history), bop.get_slot(variable, "m").numpy()


def main() -> None:
    rng = np.random.default_rng(7)
    weights = rng.choice([-1.0, 1.0], SHAPE).astype("float32")
    # A slow drift under the noise, so that the average moves and weights flip more than once.
    drift = np.sin(np.arange(STEPS) / 6)[:, None, None, None] * rng.standard_normal(SHAPE)
    gradients = (0.3 * drift + 0.2 * rng.standard_normal((STEPS, *SHAPE))).astype("float32")
    arrays = {"weights": weights, "gradients": gradients}
    for name, arguments in CASES.items():
        arrays[f"{name}/weights"], arrays[f"{name}/m"] = train(arguments, weights, gradients)
    np.savez_compressed(Path(__file__).with_name("larq_bop.npz"), **arrays)


if __name__ == "__main__":
    main()
