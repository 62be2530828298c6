"""The metadata of a model: its name, preprocessing and class names."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bnnzoo.arguments import check_integer
from bnnzoo.errors import ArgumentError, MissingDependencyError

if TYPE_CHECKING:
    from bnnzoo.data.preprocessing import Preprocessing

__all__ = ["TASKS", "FeatureInfo", "ModelSpec", "Prediction", "task_of"]

# Shape of the scores of one image, by its number of axes: (classes,) or (h, w, classes).
TASKS = {"classification": 1, "segmentation": 3}


def task_of(output_shape: Sequence[int | None]) -> str:
    """Returns the task of a network with classes.

    Args:
        output_shape: `(n, classes)` for classification, `(n, h, w, classes)` for segmentation.
    """
    return "segmentation" if len(output_shape) == 4 else "classification"


class Prediction(NamedTuple):
    """A class and its score."""

    class_index: int
    name: str
    score: float


class FeatureInfo(NamedTuple):
    """An output of a model that was loaded with `features_only=True`.

    Attributes:
        name: Name of the layer.
        channels: Number of channels.
        reduction: Input size divided by the size of the feature map.
    """

    name: str
    channels: int
    reduction: int


@dataclass(frozen=True)
class ModelSpec:
    """The metadata of a model, which `model.save` keeps.

    Attributes:
        name: Canonical name of the architecture.
        input_shape: `(h, w, c)`.
        num_classes: Number of classes; None without a classifier.
        tag: Tag of the pretrained weights; None for any other weights.
        weights_sha256: SHA-256 of the loaded weight file.
        preprocessing: Id of the preprocessing; None if unknown.
        labels: Id of the class names, or the names themselves; None if unknown.
        task: `classification`, a class per image, or `segmentation`, a class per pixel.
    """

    name: str
    input_shape: tuple[int, ...]
    num_classes: int | None = None
    tag: str | None = None
    weights_sha256: str | None = None
    preprocessing: str | None = None
    labels: str | tuple[str, ...] | None = None
    task: str = "classification"

    def preprocess(self, images: ArrayLike | Sequence[ArrayLike]) -> NDArray[np.float32]:
        """Preprocesses raw images for the model.

        Args:
            images: uint8 array `(h, w)`, `(h, w, c)` or `(n, h, w, c)`, a Pillow image, or a list
                of images of any size.

        Returns:
            float32 array `(n, h, w, c)` with the model's input shape.

        Raises:
            ArgumentError: The preprocessing of the model is unknown.
            DataError: The images have the wrong type or shape.
        """
        return self._preprocessing()(images)

    def transforms(self, library: str = "numpy") -> Callable[[Any], Any]:
        """Returns a function that preprocesses one image as `preprocess` does, for a pipeline.

            dataset.map(spec.transforms("tf"))  # a tf.data.Dataset of uint8 images
            ImageFolder("photos", transform=spec.transforms("torch"))  # of torchvision

        Args:
            library: `numpy`; `tf`, for `tf.data.Dataset.map`, whose images are uint8 tensors; or
                `torch`. The result is an array or tensor of this library, float32 `(h, w, c)`.

        Raises:
            ArgumentError: The library is unknown, or the preprocessing of the model is.
            MissingDependencyError: The library is not installed.
        """
        if library not in LIBRARIES:
            known = ", ".join(LIBRARIES)
            raise ArgumentError(f"library must be one of {known}, got {library!r}. Choose one.")
        self._preprocessing()  # fails here instead of in a worker of the pipeline
        return LIBRARIES[library](self)

    def _one(self, image: Any) -> NDArray[np.float32]:
        """Preprocesses one image."""
        (result,) = self.preprocess([image])
        return np.asarray(result)

    def _preprocessing(self) -> Preprocessing:
        from bnnzoo.data import preprocessing

        if self.preprocessing is None:
            raise ArgumentError(
                f"{self.name} has no preprocessing because it has no pretrained weights. "
                "Choose one with bnnzoo.data.preprocessing.get(id)."
            )
        return preprocessing.get(self.preprocessing, self.input_shape)

    def decode_predictions(self, scores: ArrayLike, top: int = 5) -> list[list[Prediction]]:
        """Returns the classes with the highest scores for each image, highest first.

        Args:
            scores: `(n, num_classes)`.
            top: Number of classes per image.

        Raises:
            ArgumentError: `scores` has the wrong shape, or `top` is not positive.
        """
        values = np.asarray(scores, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != self.num_classes:
            raise ArgumentError(
                f"scores must be (n, {self.num_classes}), got {values.shape}. "
                "Pass the output of model.predict."
            )
        top = check_integer(top, "top")
        names = self.class_names()
        order = np.argsort(-values, axis=1, kind="stable")[:, :top]
        return [
            [Prediction(int(i), names[i], float(row[i])) for i in best]
            for row, best in zip(values, order, strict=True)
        ]

    def class_names(self) -> tuple[str, ...]:
        """Returns the name of each class, or "class 0", "class 1", ... if they are unknown."""
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


def _imported(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(module, extra, "for transforms") from error


def _numpy_transform(spec: ModelSpec) -> Callable[[Any], Any]:
    return spec._one


def _tf_transform(spec: ModelSpec) -> Callable[[Any], Any]:
    tf = _imported("tensorflow", "tensorflow")

    def transform(image: Any) -> Any:
        # Python and NumPy: with num_parallel_calls, the resizing of several images is parallel.
        result = tf.numpy_function(spec._one, [image], tf.float32)
        result.set_shape(spec.input_shape)
        return result

    return transform


class _TorchTransform:
    """A callable that workers of a `DataLoader` can unpickle."""

    def __init__(self, spec: ModelSpec) -> None:
        _imported("torch", "torch")
        self.spec = spec

    def __call__(self, image: Any) -> Any:
        return _imported("torch", "torch").from_numpy(self.spec._one(image))


LIBRARIES: dict[str, Callable[[ModelSpec], Callable[[Any], Any]]] = {
    "numpy": _numpy_transform,
    "tf": _tf_transform,
    "torch": _TorchTransform,
}
