"""Predicts the classes of image files, or of their pixels."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bnnzoo.arguments import check_integer
from bnnzoo.data.images import check_image, read_image
from bnnzoo.data.labels import Labels
from bnnzoo.data.prefetch import Batch, batches
from bnnzoo.data.preprocessing import Preprocessing
from bnnzoo.data.source import Item, Source
from bnnzoo.errors import ArgumentError
from bnnzoo.evaluation.classifier import Classifier
from bnnzoo.evaluation.classifiers import open_classifier
from bnnzoo.evaluation.scores import probabilities
from bnnzoo.model_spec import Prediction

__all__ = ["ImageMask", "ImagePredictions", "image_files", "predict", "predict_with"]

BATCH_SIZE = 16

logger = logging.getLogger(__name__)


class ImagePredictions(NamedTuple):
    """The classes with the highest scores for an image file, highest first.

    Scores are probabilities if the model ends in logits or a softmax, and the model's outputs
    otherwise.
    """

    file: str
    predictions: tuple[Prediction, ...]


class ImageMask(NamedTuple):
    """The predicted class of each pixel of an image file.

    Attributes:
        file: The image.
        mask: Class indices in the size of the image, uint8 `(h, w)`; 255 where the preprocessing
            cuts the image off.
    """

    file: str
    mask: NDArray[np.uint8]


def predict(
    model: Any,
    paths: Sequence[str | PathLike[str]],
    *,
    top: int = 5,
    preprocessing: str | Preprocessing | None = None,
    runtime: str | None = None,
    skip_bad: bool = False,
    labels: Labels | None = None,
    task: str | None = None,
) -> list[ImagePredictions] | list[ImageMask]:
    """Returns the classes with the highest scores for each image, or a mask for segmentation.

    Threads decode images ahead and resize them to the input of the network, so that the memory
    does not depend on the number and size of the files.

    Args:
        model: `name` or `name.tag` in the zoo, path of a `.keras` or packed file, or a Keras model.
        paths: Image files.
        top: Number of classes per image.
        preprocessing: A `Preprocessing` or its id. Defaults to the model's own.
        runtime: `keras` or `packed`. Defaults to `packed` for packed files, and for all models if
            Keras is not installed; otherwise to `keras`.
            With `packed`, a model without a packed file is converted in memory.
        skip_bad: Skip files that are not readable images, and log a warning for each.
        labels: Class names, or their id. Defaults to the model's own.
        task: `classification` or `segmentation`, for a model that does not say it.

    Raises:
        ArgumentError: An argument is invalid, or the model's preprocessing is unknown.
        UnknownModelError: The model or tag does not exist, or has no pretrained weights.
        WeightsError: The weights cannot be fetched.
        DataError: A file is not a readable image.
    """
    top = check_integer(top, "top")
    source = image_files(paths, skip_bad)
    classifier = open_classifier(
        model, preprocessing=preprocessing, runtime=runtime, labels=labels, task=task
    )
    return list(predict_with(classifier, source, top=top, skip_bad=skip_bad))


def image_files(paths: Sequence[str | PathLike[str]], skip_bad: bool = False) -> Source:
    """Returns image files as a data set without labels.

    Raises:
        ArgumentError: There are none.
        DataError: A file does not exist, unless `skip_bad` is true.
    """
    if len(paths) == 0:
        raise ArgumentError("paths must have at least one image, got none. Pass an image file.")
    files = [Path(path) for path in paths]
    if not skip_bad:  # reports a missing file before a model is downloaded
        for path in files:
            check_image(path)
    items = tuple(Item(str(path), 0, functools.partial(read_image, path)) for path in files)
    return Source("images", len(items), items)


def predict_with(
    classifier: Classifier, source: Source, *, top: int = 5, skip_bad: bool = False
) -> Iterator[Any]:
    """Yields an `ImagePredictions` for each image, or an `ImageMask` for segmentation.

    Args:
        classifier: The model.
        source: The images, as `image_files` returns them.
        top: Number of classes per image.
        skip_bad: Skip files that are not readable images, and log a warning for each.

    Raises:
        DataError: A file is not a readable image.
    """
    if classifier.random_weights:
        logger.warning("%s has random weights: its predictions mean nothing.", classifier.name)
    batch_size = min(BATCH_SIZE, len(source))
    score = classifier.scorer(batch_size)
    results = _RESULTS[classifier.task]
    stream = batches(source, classifier.preprocessing, batch_size, skip_bad=skip_bad)
    with contextlib.closing(stream):
        for batch in stream:
            for skipped in batch.skipped:
                logger.warning("Skipped %s", skipped.reason)
            if batch.images is not None:
                yield from results(classifier, batch, score(batch.images), top)


def _classes(
    classifier: Classifier, batch: Batch, scores: NDArray[np.float32], top: int
) -> Iterator[ImagePredictions]:
    names = classifier.class_names or tuple(f"class {i}" for i in range(classifier.num_classes))
    for file, row in zip(batch.ids, probabilities(scores, classifier.outputs), strict=True):
        best = np.argsort(-row, kind="stable")[:top]
        classes = tuple(Prediction(int(i), names[i], float(row[i])) for i in best)
        yield ImagePredictions(file, classes)


def _masks(
    classifier: Classifier, batch: Batch, scores: NDArray[np.float32], top: int
) -> Iterator[ImageMask]:
    found = scores.argmax(axis=-1).astype(np.uint8)
    for file, mask, (height, width) in zip(batch.ids, found, batch.sizes, strict=True):
        yield ImageMask(file, classifier.preprocessing.unfit_mask(mask, height, width))


_RESULTS: dict[str, Callable[[Classifier, Batch, NDArray[np.float32], int], Iterator[Any]]] = {
    "classification": _classes,
    "segmentation": _masks,
}
