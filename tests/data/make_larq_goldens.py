"""Writes larq_zoo_64px/*.npz: golden outputs of the models that larq_zoo/ has none for.

Runs in the peer's environment, once (Python 3.11):
    pip install larq==0.14.0 larq-zoo==2.4.0 tensorflow-cpu==2.15.1
    python tests/data/make_larq_goldens.py

Weights follow from seeds as README.md says, and so do the images, `(2, 64, 64, 3)`: at 64 pixels
fewer numbers come near zero than at 224, so that no rounding flips a sign on any backend. The
batch-norm statistics are those of `RandomState(12).standard_normal((8, 64, 64, 3))`, gathered in
one training step without learning.
"""

import json
from pathlib import Path

import larq_zoo
import numpy as np
import tensorflow as tf

HERE = Path(__file__).parent
MODELS = {
    "BinaryDenseNet37": larq_zoo.literature.BinaryDenseNet37,
    "BinaryDenseNet37Dilated": larq_zoo.literature.BinaryDenseNet37Dilated,
    "BinaryDenseNet45": larq_zoo.literature.BinaryDenseNet45,
    "MeliusNet22": larq_zoo.literature.MeliusNet22,
    "QuickNetLarge": larq_zoo.sota.QuickNetLarge,
    "QuickNetSmall": larq_zoo.sota.QuickNetSmall,
}


def seeded(kind: str, index: int, shape: tuple) -> np.ndarray:
    """Returns weight number `index`; a batch norm starts from mean 0 and variance 1."""
    rng = np.random.RandomState(1000 + index)
    if kind == "gamma":
        magnitude = rng.uniform(0.5, 1.5, shape).astype("f")
        return magnitude * np.where(rng.uniform(size=shape) < 0.15, -1, 1).astype("f")
    if kind in ("beta", "bias"):
        return (0.3 * rng.standard_normal(shape)).astype("f")
    if kind.startswith("moving_"):
        return np.full(shape, kind == "moving_variance", "f")
    return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))).astype("f")


def set_weights(model: tf.keras.Model, layers: list) -> None:
    """Gives the seeded weights to the layers in the order of the reference."""
    index = 0
    for layer in layers:
        values = []
        for weight in layer["weights"]:
            kind = weight["name"].rpartition("/")[2].removesuffix(":0")
            values.append(seeded(kind, index, tuple(weight["shape"])))
            index += 1
        model.get_layer(layer["name"]).set_weights(values)


def statistics(model: tf.keras.Model) -> dict:
    """Returns the batch-norm statistics of one pass in training mode, which stay in the model."""
    norms = [la for la in model.layers if isinstance(la, tf.keras.layers.BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0
    model(np.random.RandomState(12).standard_normal((8, 64, 64, 3)).astype("f"), training=True)
    return {
        f"{kind}/{norm.name}": getattr(norm, kind).numpy()
        for norm in norms
        for kind in ("moving_mean", "moving_variance")
    }


def main() -> None:
    images = np.random.RandomState(11).standard_normal((2, 64, 64, 3)).astype("f")
    for name, build in MODELS.items():
        tf.keras.backend.clear_session()
        model = build(weights=None, input_shape=(64, 64, 3))
        set_weights(model, json.loads((HERE / "larq_zoo" / f"{name}.json").read_text())["layers"])
        arrays = statistics(model)
        head = tf.keras.Model(model.input, [model.layers[-1].input, model.output])
        logits, probabilities = head(images, training=False)
        np.savez_compressed(
            HERE / "larq_zoo_64px" / f"{name}.npz",
            logits=logits.numpy(),
            probabilities=probabilities.numpy(),
            **arrays,
        )


if __name__ == "__main__":
    main()
