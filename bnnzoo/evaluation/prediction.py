"""Classifies single image files."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bnnzoo.arguments import check_integer
from bnnzoo.data.images import read_image
from bnnzoo.data.preprocessing import Preprocessing
from bnnzoo.errors import ArgumentError
from bnnzoo.evaluation.scores import probabilities
from bnnzoo.evaluation.subject import open_subject
from bnnzoo.model_spec import Prediction

__all__ = ["ImagePredictions", "predict"]

BATCH_SIZE = 16


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
) -> list[ImagePredictions]:
    """Returns the best classes of each image.

    Args:
        model: Name or `name.tag` of the zoo, path of a `.keras` file or of a packed network, or a
            Keras model.
        paths: Image files.
        top: Classes per image.
        preprocessing: Id, or the thing itself. None takes the model's own.
        runtime: `keras` or `packed`. None runs packed networks packed and all else on Keras.

    Raises:
        ArgumentError: An argument is wrong, or the model's preprocessing is not known.
        UnknownModelError: There is no such model or tag, or it has no pretrained weights.
        WeightsError: The weights cannot be had.
        DataError: A file is no readable image.
    """
    top = check_integer(top, "top")
    images = [read_image(Path(path)) for path in paths]
    if not images:
        raise ArgumentError("paths must be at least one image, got none. Pass an image file.")
    subject = open_subject(model, preprocessing=preprocessing, runtime=runtime)
    score = subject.scorer(min(BATCH_SIZE, len(images)))
    names = subject.class_names or tuple(f"class {i}" for i in range(subject.num_classes))
    found = []
    for start in range(0, len(images), BATCH_SIZE):
        scores = score(subject.preprocessing(images[start : start + BATCH_SIZE]))
        for row in probabilities(scores, subject.outputs):
            best = np.argsort(-row, kind="stable")[:top]
            found.append(tuple(Prediction(int(i), names[i], float(row[i])) for i in best))
    return [ImagePredictions(str(path), best) for path, best in zip(paths, found, strict=True)]
