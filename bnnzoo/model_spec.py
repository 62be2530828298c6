"""What a model needs to be used rightly: its name, its preprocessing, its class names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bnnzoo.arguments import check_integer
from bnnzoo.errors import ArgumentError

__all__ = ["FeatureInfo", "ModelSpec", "Prediction"]


class Prediction(NamedTuple):
    """One class with its score."""

    class_index: int
    name: str
    score: float


class FeatureInfo(NamedTuple):
    """One output of a model that was loaded with `features_only=True`.

    Attributes:
        name: Name of the layer.
        channels: Number of channels.
        reduction: Side of the input divided by the side of the feature map.
    """

    name: str
    channels: int
    reduction: int


@dataclass(frozen=True)
class ModelSpec:
    """The facts that travel with a model, through `model.save` too.

    Attributes:
        name: Canonical name of the architecture.
        input_shape: `(h, w, c)`.
        num_classes: Number of classes; None without a classifier.
        tag: Name of the pretrained weights; None for random or other ones.
        weights_sha256: Digest of the weight file that was loaded.
        preprocessing: Id of the preprocessing; None where it is not known.
        labels: Id of the class names, or the names themselves; None where they are not known.
    """

    name: str
    input_shape: tuple[int, ...]
    num_classes: int | None = None
    tag: str | None = None
    weights_sha256: str | None = None
    preprocessing: str | None = None
    labels: str | tuple[str, ...] | None = None

    def preprocess(self, images: ArrayLike | Sequence[ArrayLike]) -> NDArray[np.float32]:
        """Returns raw images as the model wants them.

        Args:
            images: uint8; `(h, w)`, `(h, w, c)`, `(n, h, w, c)`, or a list of images of any size;
                images of Pillow too.

        Returns:
            float32 `(n, h, w, c)` of the model's input shape.

        Raises:
            ArgumentError: The preprocessing of this model is not known.
            DataError: The images have another type or shape.
        """
        from bnnzoo.data import preprocessing

        if self.preprocessing is None:
            raise ArgumentError(
                f"{self.name} has no preprocessing: it was made without pretrained weights. "
                "Choose one with bnnzoo.data.preprocessing.get(id)."
            )
        return preprocessing.get(self.preprocessing, self.input_shape)(images)

    def decode_predictions(self, scores: ArrayLike, top: int = 5) -> list[list[Prediction]]:
        """Returns the best classes of each image, the best first.

        Args:
            scores: `(n, num_classes)`.
            top: Number of classes per image.

        Raises:
            ArgumentError: `scores` has another shape, or `top` is not positive.
        """
        values = np.asarray(scores, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != self.num_classes:
            raise ArgumentError(
                f"scores must be (n, {self.num_classes}), got {values.shape}. "
                "Pass what model.predict returns."
            )
        top = check_integer(top, "top")
        names = self.class_names()
        order = np.argsort(-values, axis=1, kind="stable")[:, :top]
        return [
            [Prediction(int(i), names[i], float(row[i])) for i in best]
            for row, best in zip(values, order, strict=True)
        ]

    def class_names(self) -> tuple[str, ...]:
        """Returns a name per class: the data set's, or its number where none are known."""
        from bnnzoo.data import labels

        if self.labels is not None:
            return labels.names(self.labels)
        return tuple(f"class {i}" for i in range(self.num_classes or 0))

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        labels = list(self.labels) if isinstance(self.labels, tuple) else self.labels
        return {**asdict(self), "input_shape": list(self.input_shape), "labels": labels}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> ModelSpec:
        """Returns the spec that `to_dict` wrote."""
        labels = value.get("labels")
        labels = tuple(labels) if isinstance(labels, list) else labels
        return cls(**{**value, "input_shape": tuple(value["input_shape"]), "labels": labels})
