"""Converts Keras models to packed files, and proves that they compute the same."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bnnzoo.data.preprocessing import Preprocessing
from bnnzoo.data.sources import check_source
from bnnzoo.deploy import passes
from bnnzoo.deploy.conversion.describe import computing_in_float32, describe
from bnnzoo.deploy.conversion.report import (
    ConversionReport,
    DataReport,
    layer_reports,
    sizes,
)
from bnnzoo.deploy.conversion.samples import first_images, random_images
from bnnzoo.deploy.conversion.self_check import Check, check_layers, check_signs, layer_values
from bnnzoo.deploy.formats import packed
from bnnzoo.deploy.ir import Graph
from bnnzoo.deploy.keras_frontend import Trace, trace
from bnnzoo.deploy.keras_frontend.values import KerasValues
from bnnzoo.deploy.model_info import ModelInfo
from bnnzoo.errors import ArgumentError, ConversionError
from bnnzoo.evaluation import EvaluationReport, evaluate
from bnnzoo.evaluation.measure import Data
from bnnzoo.evaluation.report import same_accuracy
from bnnzoo.evaluation.subject import choose_preprocessing
from bnnzoo.loading import open_model
from bnnzoo.manifest import WeightsRecord

__all__ = ["ConversionReport", "convert"]

SUFFIX = ".safetensors"
Values = dict[str, NDArray[Any]]

logger = logging.getLogger(__name__)


def convert(
    model: Any,
    path: str | PathLike[str] | None,
    *,
    weights_dtype: str = "float32",
    check: int = 4,
    data: Data | None = None,
    preprocessing: str | Preprocessing | None = None,
    limit: int | None = None,
    force: bool = False,
    dry_run: bool = False,
    random_weights: bool = False,
    record: WeightsRecord | None = None,
) -> ConversionReport:
    """Writes a binarized Keras model as a bit-packed file for `bnnzoo.runtime`.

        report = bnnzoo.convert("binarynet.fashion_mnist_small", "binarynet.safetensors")
        report.sizes.ratio, report.layers, report.check

    The file is checked before it gets its name: each layer on equal inputs in Keras, in the oracle
    and in the runtime. Sums of signs have to be equal, real numbers within the rounding of
    float32. Nothing is written on failure.

    Args:
        model: Name or `name.tag` of the zoo, path of a `.keras` file, or a functional or
            Sequential Keras model of fixed input size.
        path: The file to write; ends in `.safetensors`. May be None with `dry_run`.
        weights_dtype: How kernels of real numbers are stored: `float32`, `float16` or `int8` (a
            scale per output channel). With `int8`, layers take their input in 8 bits too where
            integers are faster. What that costs is measured on `data` only.
        check: Number of images to compare the layers on, the first of `data` or random ones; 0
            leaves the comparison out.
        data: Real images with labels, as `evaluate` takes them. The accuracy in the runtime has
            to be Keras's to 0.1 point or one image, if the weights are stored as float32.
        preprocessing: Id, or the thing itself; its id goes into the file. None takes the model's.
        limit: Evaluate the first images of `data` only.
        force: Overwrite the file.
        dry_run: Do everything but write the file.
        random_weights: Take a zoo model without its pretrained weights.
        record: What the manifest will say of the weights, where it does not have them yet: tag,
            licence and builder arguments go into the file.

    Raises:
        ConversionError: A layer cannot be converted, or the file does not compute what the model
            computes; the message names the layer.
        ArgumentError: An argument is wrong, or the file exists already.
        BnnZooError: The model or the data cannot be had, as in `load` and `evaluate`.
    """
    target = None if path is None or dry_run else Path(path)
    _check_arguments(target, dry_run, force)
    _check_numbers(weights_dtype, check)
    if isinstance(data, (str, PathLike)):
        check_source(data)  # before a model is downloaded for nothing
    source = model if isinstance(model, (str, PathLike)) else None
    opened = open_model(source, pretrained=not random_weights) if source is not None else model
    job = _Job.of(opened, source, weights_dtype, preprocessing, record)
    found = job.compare(check, data, preprocessing)
    accuracy = None if data is None else job.measure(data, preprocessing, limit)
    if target is not None:
        job.write(target)
    return job.report(target, check, found, accuracy)


def _check_arguments(target: Path | None, dry_run: bool, force: bool) -> None:
    if target is None:
        if not dry_run:
            raise ArgumentError("path must be a file to write, got None. Or pass dry_run=True.")
        return
    if target.suffix != SUFFIX:
        raise ArgumentError(f"path must end in {SUFFIX}, got {target}. Rename it.")
    if target.is_dir() or not target.parent.is_dir():
        raise ArgumentError(f"path must be a file in a folder that exists, got {target}.")
    if target.exists() and not force:
        raise ArgumentError(f"{target} exists already. Use --force (force=True) to overwrite it.")


def _check_numbers(weights_dtype: str, check: int) -> None:
    if weights_dtype not in packed.WEIGHTS_DTYPES:
        known = ", ".join(packed.WEIGHTS_DTYPES)
        raise ArgumentError(f"weights_dtype must be one of {known}, got {weights_dtype!r}.")
    if check < 0:
        raise ArgumentError(f"check must be 0 or more, got {check}. Give a number of images.")


@dataclass(frozen=True)
class _Found:
    """What a comparison found, and what it ran on."""

    check: Check
    runtime: str | None
    output_difference: float | None
    top1_agreement: float | None


@dataclass(frozen=True)
class _Job:
    """One conversion: the model, its graph, and the bytes of its file."""

    model: keras.Model
    traced: Trace
    graph: Graph
    fired: dict[str, int]
    info: ModelInfo
    weights_dtype: str
    content: bytes

    @classmethod
    def of(
        cls,
        model: Any,
        source: str | PathLike[str] | None,
        dtype: str,
        preprocessing: str | Preprocessing | None,
        record: WeightsRecord | None,
    ) -> _Job:
        """Converts a model in memory."""
        if isinstance(model, keras.Model) and model.built:
            model = computing_in_float32(model)
        traced = trace(model)
        graph, fired = passes.apply(traced.graph, passes.STORED)
        info = describe(model, source, preprocessing, record)
        content = packed.to_bytes(graph, info, weights_dtype=dtype)
        return cls(model, traced, graph, fired, info, dtype, content)

    @property
    def exact(self) -> bool:
        """Whether the file holds the weights as they are."""
        return self.weights_dtype == "float32"

    def compare(
        self, samples: int, data: Data | None, preprocessing: str | Preprocessing | None
    ) -> _Found:
        """Compares Keras, the oracle and the runtime on some images.

        With weights of fewer bits, layers are compared before these are rounded, and the runtime
        with the oracle after.
        """
        check = Check()
        if samples == 0:
            return _Found(check, None, None, None)
        runtime = _runtime()
        stored = packed.from_bytes(self.content).graph
        images = self._images(samples, data, preprocessing)
        keras_values = KerasValues(self.traced.walk)
        each = [layer_values(self.traced, *keras_values(image)) for image in _one_by_one(images)]
        layers = stored if self.exact else self.graph
        check_layers(self.traced, layers, each, runtime is not None, check)
        check_signs(stored, each, runtime is not None, check)
        if check.failure is not None:
            raise ConversionError(
                f"{self.info.name} does not compute the same when it is packed: {check.failure}. "
                "Nothing was written. Please report this with the model."
            )
        if runtime is None:
            logger.warning("The runtime's engine is not built: only the oracle was compared.")
            return _Found(check, None, None, None)
        return _Found(check, runtime.isas()[0], *self._compare_outputs(runtime, stored, each))

    def _images(
        self, count: int, data: Data | None, preprocessing: str | Preprocessing | None
    ) -> NDArray[np.float32]:
        """Returns the first images of a data set, or random ones."""
        shape = self.graph.input_shape
        if data is None:
            return random_images(shape, count)
        own = self.info.preprocessing
        chosen = choose_preprocessing(preprocessing, own, shape, self.info.name)
        return first_images(data, chosen, count)

    def _compare_outputs(
        self, runtime: Any, stored: Graph, each: list[Values]
    ) -> tuple[float, float | None]:
        """Returns the largest difference of the whole network, and the share of equal classes."""
        compiled = runtime.compile_graph(stored)
        name = self.traced.graph.outputs[0]
        name = name if name in each[0] else name.removesuffix("/dequantize")
        expected = np.concatenate([values[name] for values in each])
        inputs = np.concatenate([values[self.graph.input] for values in each])
        found = compiled.run_values(inputs, [stored.outputs[0]])[stored.outputs[0]]
        difference = float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-30))
        if expected.ndim != 2:
            return difference, None
        return difference, float((found.argmax(axis=1) == expected.argmax(axis=1)).mean())

    def write(self, target: Path) -> None:
        """Writes the file under a temporary name and renames it."""
        try:
            packed.write(target, self.graph, self.info, weights_dtype=self.weights_dtype)
        except OSError as error:
            text = error.strerror or error
            raise ArgumentError(f"{target} cannot be written: {text}.") from error

    def measure(
        self, data: Data, preprocessing: str | Preprocessing | None, limit: int | None
    ) -> DataReport:
        """Measures the accuracy of Keras and of the file in the runtime."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{self.info.name}{SUFFIX}"
            path.write_bytes(self.content)
            options: dict[str, Any] = {"preprocessing": preprocessing, "limit": limit}
            before = evaluate(self.model, data, **options)
            after = evaluate(path, data, **options)
        report = _data_report(before, after)
        if self.exact and not same_accuracy(before, after):
            raise ConversionError(
                f"{self.info.name} must have the same accuracy when it is packed, got top-1 "
                f"{report.packed_top1:.2f} % instead of {report.keras_top1:.2f} % on "
                f"{report.dataset}. Nothing was written. Please report this with the model."
            )
        return report

    def report(
        self, target: Path | None, samples: int, found: _Found, accuracy: DataReport | None
    ) -> ConversionReport:
        """Returns everything that the conversion tells."""
        file = packed.from_bytes(self.content)
        return ConversionReport(
            model=self.info.name if self.info.tag is None else f"{self.info.name}.{self.info.tag}",
            path=None if target is None else fspath(target),
            weights_dtype=self.weights_dtype,
            sizes=sizes(file, self.model),
            layers=layer_reports(self.traced, file),
            passes=self.fired,
            runtime_passes=passes.apply(file.graph, passes.RUNTIME)[1],
            samples=samples,
            runtime=found.runtime,
            check=found.check,
            output_difference=found.output_difference,
            top1_agreement=found.top1_agreement,
            data=accuracy,
        )


def _runtime() -> Any:
    """Returns the runtime; None where its engine is not built."""
    from bnnzoo import runtime
    from bnnzoo.runtime.extension import MissingEngineError

    try:
        runtime.isas()
    except MissingEngineError:
        return None
    return runtime


def _one_by_one(images: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    return (images[k : k + 1] for k in range(len(images)))


def _data_report(before: EvaluationReport, after: EvaluationReport) -> DataReport:
    same = before.predictions.top_indices[:, 0] == after.predictions.top_indices[:, 0]
    return DataReport(
        dataset=before.dataset,
        n=before.n,
        keras_top1=before.top1,
        packed_top1=after.top1,
        agreement=100 * float(same.mean()),
    )
