"""Writes larq_network.h5 and larq_network.npz: a user's own network, trained and saved with Larq.

Runs in the peer's environment, once (Python 3.11):
    pip install larq==0.14.0 tensorflow-cpu==2.15.1
    python tests/data/make_larq_network.py

The npz has the images `x`, the `probabilities` that Larq computes for them, and, as
`binary/<number>`, each kernel inside `larq.context.quantized_scope(True)`, in order.
docs/from_larq.md builds the same network and loads the file.
"""

from pathlib import Path

import larq as lq
import numpy as np
import tensorflow as tf

HERE = Path(__file__).parent
BINARY = {
    "input_quantizer": "ste_sign",
    "kernel_quantizer": "ste_sign",
    "kernel_constraint": "weight_clip",
    "use_bias": False,
}


def network() -> tf.keras.Model:
    """Returns the network of docs/from_larq.md."""
    return tf.keras.Sequential(
        [
            tf.keras.Input((12, 12, 1)),
            lq.layers.QuantConv2D(
                8, 3, kernel_quantizer="ste_sign", kernel_constraint="weight_clip"
            ),
            tf.keras.layers.BatchNormalization(scale=False),
            lq.layers.QuantConv2D(16, 3, strides=2, padding="same", pad_values=1.0, **BINARY),
            tf.keras.layers.BatchNormalization(scale=False),
            tf.keras.layers.Flatten(),
            lq.layers.QuantDense(10, **BINARY),
            tf.keras.layers.BatchNormalization(scale=False),
            tf.keras.layers.Activation("softmax"),
        ]
    )


def main() -> None:
    tf.keras.utils.set_random_seed(7)
    rng = np.random.RandomState(7)
    images = rng.standard_normal((256, 12, 12, 1)).astype("float32")
    labels = rng.randint(0, 10, 256)
    model = network()
    model.compile(tf.keras.optimizers.legacy.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(images, labels, epochs=5, verbose=0)
    model.save_weights(HERE / "larq_network.h5")
    with lq.context.quantized_scope(True):
        kernels = [w for w in model.get_weights() if w.ndim > 1]
    np.savez_compressed(
        HERE / "larq_network.npz",
        x=images[:8],
        probabilities=model.predict(images[:8], verbose=0),
        **{f"binary/{i}": kernel.astype("int8") for i, kernel in enumerate(kernels)},
    )


if __name__ == "__main__":
    main()
