"""Writes larq_user_model.h5 and .npz: a residual network of a user, trained and saved with Larq.

Runs in the peer's environment, once (Python 3.11):
    pip install larq==0.14.0 tensorflow-cpu==2.15.1
    python tests/data/make_larq_user_model.py

Its branches make the order of the layers in the file differ from the order of their creation. The
npz has the images `x` and the `probabilities` that Larq computes for them.
"""

from pathlib import Path

import larq as lq
import numpy as np
import tensorflow as tf

HERE = Path(__file__).parent


def network() -> tf.keras.Model:
    """Returns the network; tests/architectures/test_larq_user_model.py has its twin."""
    layers = tf.keras.layers
    inputs = tf.keras.Input((16, 16, 3))
    x = lq.layers.QuantConv2D(8, 3, padding="same", use_bias=False)(inputs)
    x = layers.BatchNormalization(momentum=0.8)(x)
    shortcut = layers.AvgPool2D(2)(x)
    shortcut = layers.Conv2D(16, 1, use_bias=False)(shortcut)
    shortcut = layers.BatchNormalization(momentum=0.8)(shortcut)
    x = lq.layers.QuantConv2D(
        16,
        3,
        strides=2,
        padding="same",
        input_quantizer="approx_sign",
        kernel_quantizer="magnitude_aware_sign",
        kernel_constraint="weight_clip",
        use_bias=False,
    )(x)
    x = layers.BatchNormalization(momentum=0.8)(x)
    x = layers.add([x, shortcut])
    y = lq.layers.QuantDepthwiseConv2D(
        3,
        padding="same",
        pad_values=1.0,
        input_quantizer="ste_sign",
        depthwise_quantizer="ste_sign",
        depthwise_constraint="weight_clip",
        use_bias=False,
    )(x)
    y = layers.BatchNormalization(scale=False)(y)
    y = layers.PReLU(shared_axes=[1, 2])(y)
    x = layers.concatenate([x, y])
    x = layers.GlobalAvgPool2D()(x)
    x = lq.layers.QuantDense(
        5, kernel_quantizer="ste_sign", kernel_constraint=lq.constraints.WeightClip(1.3)
    )(x)
    return tf.keras.Model(inputs, layers.Activation("softmax")(x))


def main() -> None:
    tf.keras.utils.set_random_seed(8)
    rng = np.random.RandomState(8)
    images = rng.standard_normal((256, 16, 16, 3)).astype("float32")
    labels = rng.randint(0, 5, 256)
    model = network()
    model.compile(tf.keras.optimizers.legacy.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(images, labels, epochs=5, verbose=0)
    model.save_weights(HERE / "larq_user_model.h5")
    probabilities = model.predict(images[:8], verbose=0)
    np.savez_compressed(HERE / "larq_user_model.npz", x=images[:8], probabilities=probabilities)


if __name__ == "__main__":
    main()
