"""Writes larq_saved_*.h5 and larq_saved.npz: whole models that Larq's users trained and saved.

Runs in the peer's environment, once (Python 3.11):
    pip install larq==0.14.0 tensorflow-cpu==2.15.1
    python tests/data/make_larq_saved_models.py

The npz has images `x` and, by the name of each file, what Larq computes for them.
"""

from pathlib import Path

import larq as lq
import numpy as np
import tensorflow as tf

HERE = Path(__file__).parent
layers = tf.keras.layers
BINARY = {
    "input_quantizer": "ste_sign",
    "kernel_quantizer": "ste_sign",
    "kernel_constraint": "weight_clip",
    "use_bias": False,
}


def sequential() -> tf.keras.Model:
    """A classifier as in Larq's tutorials, with its first shape in its first layer."""
    first = {**BINARY, "input_quantizer": None}
    return tf.keras.Sequential(
        [
            lq.layers.QuantConv2D(8, 3, padding="same", input_shape=(12, 12, 3), **first),
            layers.MaxPooling2D((2, 2)),
            layers.BatchNormalization(momentum=0.999, scale=False),
            lq.layers.QuantConv2D(8, (3, 3), padding="same", pad_values=1, **BINARY),
            layers.BatchNormalization(momentum=0.999, scale=False),
            layers.SpatialDropout2D(0.1),
            layers.Activation("relu"),
            layers.Flatten(),
            lq.layers.QuantDense(16, **BINARY),
            layers.BatchNormalization(momentum=0.999, scale=False),
            layers.Dropout(0.2),
            lq.layers.QuantDense(5, activation="softmax", **BINARY),
        ]
    )


def functional() -> tf.keras.Model:
    """Branches, shortcuts, nested models, and every quantizer."""
    inputs = tf.keras.Input((12, 12, 3), name="images")
    x = layers.Rescaling(0.5, offset=-0.25)(inputs)
    x = layers.ZeroPadding2D(1)(x)
    x = layers.Conv2D(
        8, 3, kernel_initializer="he_normal", kernel_regularizer=tf.keras.regularizers.L2(1e-4)
    )(x)
    x = layers.BatchNormalization(gamma_constraint=tf.keras.constraints.NonNeg())(x)
    pairs = [
        ("approx_sign", "magnitude_aware_sign"),
        (lq.quantizers.SteSign(clip_value=1.25), lq.quantizers.SwishSign(beta=4.0)),
        (lq.quantizers.DoReFa(k_bit=2), "ste_tern"),
        ("dorefa_quantizer", lq.quantizers.SteTern(threshold_value=0.1)),
        ("swish_sign", "ste_sign"),
    ]
    for first, second in pairs:
        y = lq.layers.QuantConv2D(
            8,
            3,
            padding="same",
            input_quantizer=first,
            kernel_quantizer=second,
            kernel_constraint=lq.constraints.WeightClip(1.25),
            use_bias=False,
        )(x)
        y = layers.BatchNormalization(momentum=0.8)(y)
        x = layers.add([x, y])
    y = lq.layers.QuantSeparableConv2D(
        12,
        3,
        strides=2,
        padding="same",
        input_quantizer="ste_sign",
        depthwise_quantizer="ste_sign",
        pointwise_quantizer="ste_sign",
        depthwise_constraint="weight_clip",
        pointwise_constraint="weight_clip",
    )(x)
    z = layers.AveragePooling2D(2)(x)
    z = layers.DepthwiseConv2D(1, depth_multiplier=1)(layers.PReLU(shared_axes=[1, 2])(z))
    x = layers.Concatenate(name="joined")([layers.LeakyReLU(0.125)(y), z])
    inner = tf.keras.Sequential(
        [
            layers.InputLayer((6, 6, 20)),
            lq.layers.QuantDepthwiseConv2D(
                3, input_quantizer="ste_sign", depthwise_quantizer="ste_sign"
            ),
            layers.BatchNormalization(),
            layers.Activation(lq.activations.hard_tanh),
        ],
        name="inner",
    )
    x = layers.GlobalAveragePooling2D()(inner(x))
    gate = layers.Dense(20, activation="sigmoid")(x)
    x = layers.Multiply()([x, gate])
    return tf.keras.Model(inputs, layers.Softmax()(lq.layers.QuantDense(5, **BINARY)(x)))


NETWORKS = {"sequential": sequential, "functional": functional}


def main() -> None:
    tf.keras.utils.set_random_seed(8)
    rng = np.random.RandomState(8)
    images = rng.standard_normal((128, 12, 12, 3)).astype("float32")
    labels = rng.randint(0, 5, 128)
    outputs = {"x": images[:6]}
    for name, build in NETWORKS.items():
        model = build()
        optimizer = tf.keras.optimizers.Adam(0.01)
        if name == "functional":
            optimizer = lq.optimizers.CaseOptimizer(
                (lq.optimizers.Bop.is_binary_variable, lq.optimizers.Bop()),
                default_optimizer=tf.keras.optimizers.legacy.Adam(0.01),
            )
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(images, labels, epochs=3, verbose=0)
        outputs[name] = model.predict(images[:6], verbose=0)
        model.save(HERE / f"larq_saved_{name}.h5")
    np.savez_compressed(HERE / "larq_saved.npz", **outputs)


if __name__ == "__main__":
    main()
