"""Trains a small binary network as one of several processes; test_distribution runs it.

python -m tests.nn.distributed_training PORT PROCESSES PROCESS RESULT.npz
"""

from __future__ import annotations

import os
import sys

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.pop("XLA_FLAGS", None)  # one device for each process

import jax
import keras
import numpy as np

from bnnzoo import nn

GLOBAL_BATCH, STEPS, EPOCHS = 16, 4, 2


def local_data(processes: int, process: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images and labels of one process: its part of every batch."""
    rng = np.random.default_rng(9)
    x = rng.standard_normal((STEPS, GLOBAL_BATCH, 8, 8, 3)).astype("f")
    y = rng.integers(0, 4, (STEPS, GLOBAL_BATCH))
    part = GLOBAL_BATCH // processes
    own = slice(process * part, (process + 1) * part)
    return x[:, own].reshape(-1, 8, 8, 3), y[:, own].reshape(-1)


def batches(x: np.ndarray, y: np.ndarray, size: int) -> dict[str, object]:
    """Returns the arguments of `fit` that feed batches of `size`."""
    if tuple(map(int, keras.__version__.split(".")[:2])) >= (3, 11):
        return {"x": x, "y": y, "batch_size": size}
    # Until then Keras takes nothing but this when there are several processes.
    import tensorflow as tf

    return {"x": tf.data.Dataset.from_tensor_slices((x, y)).batch(size)}


def network() -> keras.Model:
    """Returns a network with a real, a binary and a Bop-trained kernel."""
    binary = {
        "input_quantizer": "ste_sign",
        "kernel_quantizer": "ste_sign",
        "kernel_constraint": "weight_clip",
    }
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(8, 3, use_bias=False),
            keras.layers.BatchNormalization(),
            # Without bias: the normalization takes it out, and Adam would train it on rounding.
            nn.QuantConv2D(8, 3, pad_values=1, padding="same", use_bias=False, **binary),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            nn.QuantDense(4, **binary),
        ]
    )
    optimizer = nn.CaseOptimizer(
        (lambda variable: variable is model.layers[-1].kernel, nn.Bop(1e-4, 1e-2)),
        default_optimizer=keras.optimizers.Adam(0.01),
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss=loss)
    return model


def main(port: int, processes: int, process: int, result: str) -> None:
    if processes > 1:
        # Newer JAX has it by default; in older JAX a CPU works alone without it.
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        addresses = ",".join([f"127.0.0.1:{port}"] * processes)
        keras.distribution.initialize(addresses, processes, process)
        distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
        keras.distribution.set_distribution(distribution)
    keras.utils.set_random_seed(4)
    model = network()
    data = batches(*local_data(processes, process), GLOBAL_BATCH // processes)
    history = model.fit(**data, epochs=EPOCHS, shuffle=False, verbose=0)
    weights = {f"weight_{i}": np.asarray(w) for i, w in enumerate(model.get_weights())}
    np.savez(result, loss=np.array(history.history["loss"]), **weights)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:4]), sys.argv[4])
