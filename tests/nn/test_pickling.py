"""A pickled model with layers of bnnzoo opens in a process that has imported none of them."""

from __future__ import annotations

import pickle
import subprocess
import sys

import keras
import numpy as np

import bnnzoo
from bnnzoo import nn
from bnnzoo.architectures.assembly import assemble
from bnnzoo.architectures.quicknet import BlurPool

OPEN = """
import pickle, sys
models, x = pickle.load(sys.stdin.buffer)
outputs = [model.predict_on_batch(x) for model in models]
specs = [getattr(model, "model_spec", None) for model in models]
sys.stdout.buffer.write(pickle.dumps((outputs, specs)))
"""


def layers() -> list[keras.layers.Layer]:
    quantized = nn.QuantDense(
        4, input_quantizer="ste_sign", kernel_quantizer="ste_sign", kernel_constraint="weight_clip"
    )
    return [keras.layers.Flatten(), quantized]


def test_models_open_in_a_fresh_process(rng):
    inputs = keras.Input((28, 28, 1))
    outputs = inputs
    for layer in layers():
        outputs = layer(outputs)
    blurred = keras.layers.DepthwiseConv2D(3, depthwise_initializer=BlurPool())(inputs)
    models = [
        bnnzoo.load("binarynet_mlp"),
        # With an initializer of one architecture, which `bnnzoo.nn` does not import.
        assemble(inputs, blurred, stages=[blurred], name="blurred"),
        keras.Sequential([keras.Input((28, 28, 1)), *layers()]),
        keras.Model(inputs, outputs),
    ]
    x = rng.standard_normal((2, 28, 28, 1)).astype("float32")
    done = subprocess.run(
        [sys.executable, "-c", OPEN],
        input=pickle.dumps((models, x)),
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr.decode()
    outputs, specs = pickle.loads(done.stdout)
    for output, model in zip(outputs, models, strict=True):
        np.testing.assert_array_equal(output, model.predict_on_batch(x))
    assert specs == [models[0].model_spec, None, None, None]


def test_a_model_without_our_layers_needs_no_bnnzoo():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    assert b"bnnzoo" not in pickle.dumps(model)
