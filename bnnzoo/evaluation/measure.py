"""Runs a model on a data set and measures its accuracy."""

from __future__ import annotations

import contextlib
import datetime
import platform
import time
from collections.abc import Callable
from os import PathLike, fspath
from typing import Any, NamedTuple

from bnnzoo.arguments import check_integer
from bnnzoo.data.labels import Labels
from bnnzoo.data.prefetch import batches
from bnnzoo.data.preprocessing import Preprocessing
from bnnzoo.data.source import Skipped, Source
from bnnzoo.data.sources import Data, as_source, check_source, has_masks
from bnnzoo.data.tables import ClassMap
from bnnzoo.errors import DataError
from bnnzoo.evaluation import scores, segmentation
from bnnzoo.evaluation.classifier import Classifier
from bnnzoo.evaluation.classifiers import open_classifier
from bnnzoo.evaluation.report import EvaluationReport, Report
from bnnzoo.evaluation.segmentation import SegmentationReport
from bnnzoo.runtime import isas
from bnnzoo.version import versions

__all__ = ["BATCH_SIZE", "evaluate"]

BATCH_SIZE = 32

Progress = Callable[[int, int], None]


class _Measure(NamedTuple):
    """How a task is measured: a batch, all batches, and the report."""

    batch: Callable[..., Any]
    join: Callable[[list[Any]], Any]
    report: Callable[..., Report]


_MEASURES = {
    "classification": _Measure(scores.predictions, scores.join, EvaluationReport),
    "segmentation": _Measure(segmentation.pixel_counts, segmentation.join, SegmentationReport),
}


class _Run(NamedTuple):
    predictions: Any
    skipped: tuple[Skipped, ...]
    seconds: float


def evaluate(
    model: Any,
    data: Data,
    *,
    labels_csv: str | PathLike[str] | None = None,
    class_map: ClassMap | None = None,
    preprocessing: str | Preprocessing | None = None,
    batch_size: int = BATCH_SIZE,
    limit: int | None = None,
    shard: tuple[int, int] | None = None,
    skip_bad: bool = False,
    random_weights: bool = False,
    runtime: str | None = None,
    labels: Labels | None = None,
    task: str | None = None,
    progress: Progress | None = None,
    command: str | None = None,
) -> Report:
    """Measures the accuracy, loss and throughput of a classifier.

        report = bnnzoo.evaluate("binarynet.fashion_mnist_small", "sample:fashion_mnist")
        report.top1, report.top1_interval, report.to_dict()

    Returns an `EvaluationReport` with top-1 and top-5; or for a network for segmentation, a
    `SegmentationReport` with the intersection over union of the classes.

    The loss is the cross-entropy in nats. The model's last layer determines whether the outputs are
    probabilities or logits: after a softmax the loss is -log(max(p, 1e-7)) as in Keras; without an
    activation it is logsumexp(scores) - score; with any other activation it is None.

    Args:
        model: `name` or `name.tag` in the zoo, path of a `.keras` or packed file, or a Keras model.
        data: A data set that `data.open_source` accepts, a `Source`, or a pair `(x, y)` of uint8
            images and integer labels.
        labels_csv: For a folder: CSV file with the columns `file,class_index`.
        class_map: For a folder of class folders: index by class name, or a CSV or JSON file of it.
        preprocessing: A `Preprocessing` or its id. Defaults to the model's own.
        batch_size: Images per call of the model.
        limit: Evaluate only this many images, from the first. The report is then marked partial.
        shard: A pair `(i, n)` evaluates every n-th image, from the one at i, counted from 0, to
            divide a data set among machines. `merging.merge_reports` merges the reports.
        skip_bad: Skip images that cannot be used, and list them in `report.skipped`.
        random_weights: Build a zoo model without its pretrained weights, to measure throughput.
        runtime: `keras` or `packed`. Defaults to `packed` for packed files, and for all models if
            Keras is not installed; otherwise to `keras`.
            With `packed`, a model without a packed file is converted in memory.
        labels: Class names, or their id. Defaults to the model's own.
        task: `classification` or `segmentation`, for a model that does not say it.
        progress: Called after every batch with the number of images done and their total.
        command: Command line to record in the report.

    Raises:
        ArgumentError: An argument is invalid, or the model's preprocessing is unknown.
        UnknownModelError: The model or tag does not exist, or has no pretrained weights.
        WeightsError: The weights cannot be fetched.
        DataError: An image, a label or the data set cannot be used.
    """
    batch_size = check_integer(batch_size, "batch_size")
    limit = None if limit is None else check_integer(limit, "limit")
    # Before a model is downloaded.
    check_source(data, labels_csv=labels_csv, class_map=class_map)
    classifier = open_classifier(
        model,
        preprocessing=preprocessing,
        random_weights=random_weights,
        runtime=runtime,
        labels=labels,
        task=task,
    )
    _check_task(data, classifier)
    source = as_source(
        data,
        labels_csv=labels_csv,
        class_map=class_map,
        label_set=classifier.labels,
        num_classes=classifier.num_classes,
        skip_bad=skip_bad,
    )
    total = len(source) + len(source.skipped)
    if shard is not None:
        source = source.shard(*shard)
    run = _run(classifier, source, batch_size, limit, skip_bad, progress)
    names = classifier.class_names or _fitting_names(source, classifier.num_classes)
    return _MEASURES[classifier.task].report(
        model=classifier.name,
        tag=classifier.tag,
        weights_sha256=classifier.weights_sha256,
        dataset=source.name,
        data=fspath(data) if isinstance(data, (str, PathLike)) else None,
        num_classes=classifier.num_classes,
        class_names=names,
        predictions=run.predictions,
        images_per_second=len(run.predictions) / run.seconds,
        partial=len(run.predictions) < total,
        shard=shard,
        random_weights=classifier.random_weights,
        preprocessing=classifier.preprocessing.id,
        batch_size=batch_size,
        skipped=(*source.skipped, *run.skipped),
        runtime=classifier.runtime,
        versions=_versions(classifier),
        command=command,
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )


def _check_task(data: Data, classifier: Classifier) -> None:
    masks = has_masks(data)
    if masks == (classifier.task == "segmentation"):
        return
    wanted, got = "masks, as folder:IMAGES,MASKS", "a label per image"
    if masks:
        wanted, got = got, "masks"
    raise DataError(
        f"Images for {classifier.name} must have {wanted}, because its task is {classifier.task}, "
        f"got {got}. Choose other data or another model."
    )


def _fitting_names(source: Source, num_classes: int) -> tuple[str, ...]:
    if source.class_names is not None and len(source.class_names) == num_classes:
        return source.class_names
    return tuple(f"class {i}" for i in range(num_classes))


def _run(
    classifier: Classifier,
    source: Source,
    batch_size: int,
    limit: int | None,
    skip_bad: bool,
    progress: Progress | None,
) -> _Run:
    total = min(len(source), limit or len(source))
    batch_size = max(min(batch_size, total), 1)
    score = classifier.scorer(batch_size)
    classifier.warm_up(batch_size)
    measure = _MEASURES[classifier.task]
    rows: list[Any] = []
    skipped: list[Skipped] = []
    start = time.perf_counter()
    stream = batches(source, classifier.preprocessing, batch_size, limit=limit, skip_bad=skip_bad)
    with contextlib.closing(stream):
        for batch in stream:
            if batch.images is not None:
                found = score(batch.images)
                rows.append(measure.batch(batch.ids, batch.labels, found, classifier.outputs))
            skipped += batch.skipped
            if progress is not None:
                progress(sum(map(len, rows)) + len(skipped), total)
    if not rows:
        raise DataError(f"{source.name} has no usable images. Check the path.")
    return _Run(measure.join(rows), tuple(skipped), time.perf_counter() - start)


def _versions(classifier: Classifier) -> dict[str, str]:
    """Returns the versions of the packages that compute, and the kind of machine.

    `isa` is the best instruction set of the processor, unless the runtime reports another one.
    Floating-point sums are rounded differently on each, which can flip a sign.
    """
    return {
        **versions(),
        "machine": platform.machine(),
        "isa": isas()[0],
        **classifier.versions,
    }
