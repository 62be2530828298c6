"""Classifies image files."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bnnzoo.arguments import check_integer
from bnnzoo.data.images import check_image, read_image
from bnnzoo.data.labels import Labels
from bnnzoo.data.prefetch import batches
from bnnzoo.data.preprocessing import Preprocessing
from bnnzoo.data.source import Item, Source
from bnnzoo.errors import ArgumentError
from bnnzoo.evaluation.classifiers import open_classifier
from bnnzoo.evaluation.scores import probabilities
from bnnzoo.model_spec import Prediction

__all__ = ["ImagePredictions", "predict"]

BATCH_SIZE = 16

logger = logging.getLogger(__name__)


class ImagePredictions(NamedTuple):
    """The classes with the highest scores for an image file, highest first.

    Scores are probabilities if the model ends in logits or a softmax, and the model's outputs
    otherwise.
    """

    file: str
    predictions: tuple[Prediction, ...]


def predict(
    model: Any,
    paths: Sequence[str | PathLike[str]],
    *,
    top: int = 5,
    preprocessing: str | Preprocessing | None = None,
    runtime: str | None = None,
    skip_bad: bool = False,
    labels: Labels | None = None,
) -> list[ImagePredictions]:
    """Returns the classes with the highest scores for each image.

    Threads decode images ahead and resize them to the input of the network, so that the memory
    does not depend on the number and size of the files.

    Args:
        model: `name` or `name.tag` in the zoo, path of a `.keras` or packed file, or a Keras model.
        paths: Image files.
        top: Number of classes per image.
        preprocessing: A `Preprocessing` or its id. Defaults to the model's own.
        runtime: `keras` or `packed`. Defaults to `packed` for packed files, otherwise `keras`.
            With `packed`, a model without a packed file is converted in memory.
        skip_bad: Skip files that are not readable images, and log a warning for each.
        labels: Class names, or their id. Defaults to the model's own.

    Raises:
        ArgumentError: An argument is invalid, or the model's preprocessing is unknown.
        UnknownModelError: The model or tag does not exist, or has no pretrained weights.
        WeightsError: The weights cannot be fetched.
        DataError: A file is not a readable image.
    """
    top = check_integer(top, "top")
    if len(paths) == 0:
        raise ArgumentError("paths must have at least one image, got none. Pass an image file.")
    source = _source([Path(path) for path in paths], skip_bad)
    classifier = open_classifier(model, preprocessing=preprocessing, runtime=runtime, labels=labels)
    batch_size = min(BATCH_SIZE, len(source))
    score = classifier.scorer(batch_size)
    names = classifier.class_names or tuple(f"class {i}" for i in range(classifier.num_classes))
    found = []
    stream = batches(source, classifier.preprocessing, batch_size, skip_bad=skip_bad)
    with contextlib.closing(stream):
        for batch in stream:
            for skipped in batch.skipped:
                logger.warning("Skipped %s", skipped.reason)
            if batch.images is None:
                continue
            rows = probabilities(score(batch.images), classifier.outputs)
            for file, row in zip(batch.ids, rows, strict=True):
                best = np.argsort(-row, kind="stable")[:top]
                classes = tuple(Prediction(int(i), names[i], float(row[i])) for i in best)
                found.append(ImagePredictions(file, classes))
    return found


def _source(paths: Sequence[Path], skip_bad: bool) -> Source:
    if not skip_bad:  # reports a missing file before a model is downloaded
        for path in paths:
            check_image(path)
    items = tuple(Item(str(path), 0, functools.partial(read_image, path)) for path in paths)
    return Source("images", len(items), items)
