"""Classifies single image files."""

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
    """The best classes of one image file, the best first.

    Scores are probabilities, of a model that ends in logits or a softmax; of another they are what
    it gives.
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
    """Returns the best classes of each image.

    Images are decoded ahead in threads, and each is brought to the network's size when it is read:
    the number and the size of the files do not matter for the memory.

    Args:
        model: Name or `name.tag` of the zoo, path of a `.keras` file or of a packed network, or a
            Keras model.
        paths: Image files.
        top: Classes per image.
        preprocessing: Id, or the thing itself. None takes the model's own.
        runtime: `keras` or `packed`. None runs packed networks packed and all else on Keras.
        skip_bad: Leave out files that are not readable images; the log names them.
        labels: Names of the classes, or their id. None takes the model's own.

    Raises:
        ArgumentError: An argument is wrong, or the model's preprocessing is not known.
        UnknownModelError: There is no such model or tag, or it has no pretrained weights.
        WeightsError: The weights cannot be had.
        DataError: A file is not a readable image.
    """
    top = check_integer(top, "top")
    if len(paths) == 0:
        raise ArgumentError("paths must be at least one image, got none. Pass an image file.")
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
    if not skip_bad:  # a missing file is named before a model is downloaded for nothing
        for path in paths:
            check_image(path)
    items = tuple(Item(str(path), 0, functools.partial(read_image, path)) for path in paths)
    return Source("images", len(items), items)
