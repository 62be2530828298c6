"""Rebuilds a network of another framework, loads its weights, converts it, and measures it.

    python examples/bring_your_own_weights.py WEIGHTS.npz OUT.safetensors [DATA]

The network is LFC of Xilinx's BNN-PYNQ: three hidden layers of 1024 binary units for MNIST.
WEIGHTS.npz has `dense0/kernel` (inputs, units) with values -1 and +1, `dense0/bias`, and the same
for `dense1` to `dense3`. The biases are the thresholds that batch normalization is folded into.
docs/checkpoints.md explains the steps.
"""

from __future__ import annotations

import sys

import keras
import numpy as np

import bnnzoo


def build(arrays: dict[str, np.ndarray]) -> keras.Model:
    """Returns the network with its weights."""
    binary = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign"}
    hidden = [
        bnnzoo.nn.QuantDense(units, kernel_constraint="weight_clip", **binary)
        for units in (1024, 1024, 1024, 10)
    ]
    # Subtracting 127.5 makes the sign of a pixel +1 from 128 upwards.
    prepared = [keras.layers.Rescaling(1.0, offset=-127.5), keras.layers.Flatten()]
    model = keras.Sequential([keras.Input((28, 28, 1)), *prepared, *hidden])
    for index, layer in enumerate(hidden):
        layer.set_weights([arrays[f"dense{index}/{name}"] for name in ("kernel", "bias")])
    return model


def main(weights: str, out: str, data: str = "keras:mnist:test") -> None:
    """Writes the packed file, and prints its accuracy."""
    model = build(dict(np.load(weights)))
    print(bnnzoo.convert(model, out, preprocessing="raw", labels="mnist", force=True))
    report = bnnzoo.evaluate(out, data)
    print(f"{report.top1:.2f} % of {report.n:,} images")


if __name__ == "__main__":
    main(*sys.argv[1:])
